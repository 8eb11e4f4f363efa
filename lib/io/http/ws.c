/* SPDX-License-Identifier: Apache-2.0 */
/* The WebSocket side of a connection. */
#include "base/clock.h"
#include "io/http/conn.h"

#include <assert.h>
#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>

/* ---- handshake ---- */

/* 16 bytes in base64: 22 characters and "==". */
static bool key_valid(struct str key)
{
    if (key.n != 24 || key.p[22] != '=' || key.p[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++) {
        char c = key.p[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
                    c == '/';
        if (!good)
            return false;
    }
    return true;
}

bool http_is_websocket(const struct http_request *r)
{
    const struct http_head *h = &r->head;
    unsigned keys = 0, versions = 0, upgrades = 0;
    struct str upgrade = http_head_find(h, STR("upgrade"), &upgrades);
    struct str version = http_head_find(h, STR("sec-websocket-version"), &versions);
    struct str key = http_head_find(h, STR("sec-websocket-key"), &keys);
    return str_eq(h->method, STR("GET")) && h->minor == 1 && h->framing == HTTP_BODY_NONE &&
           h->connection_upgrade && upgrades == 1 && str_eq_nocase(upgrade, STR("websocket")) &&
           versions == 1 && str_eq(version, STR("13")) && keys == 1 && key_valid(key);
}

/* RFC 6455 4.2.2: base64 of SHA-1 of the key and a fixed text. */
static void accept_text(struct str key, char out[40])
{
    char joined[64];
    int n = snprintf(joined, sizeof joined, STR_FMT "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", STR_ARG(key));
    unsigned char digest[20];
    lws_SHA1((const unsigned char *)joined, (size_t)n, digest);
    lws_b64_encode_string((const char *)digest, sizeof digest, out, 40);
}

struct ws *http_upgrade(struct http_request *r, const struct ws_callbacks *callbacks, void *user)
{
    struct http_conn *c = r->conn;
    assert(c->request == r && http_is_websocket(r));
    struct ws *ws = calloc(1, sizeof *ws);
    if (ws == NULL)
        abort(); /* a few hundred bytes: the kernel would have ended us first */
    ws->conn = c;
    ws->callbacks = callbacks;
    ws->user = user;
    ws->heard_ns = clock_mono_ns();
    ws_decoder_init(&ws->decoder, callbacks->max_message != 0 ? callbacks->max_message : 64 * 1024);
    char accept[40];
    accept_text(http_header(r, "sec-websocket-key"), accept);
    conn_out_begin(c);
    buf_printf(&c->out,
               "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Accept: %s\r\nX-Request-Id: %s\r\n\r\n",
               accept, r->id.text);
    c->env->stats.responses[1]++;
    c->env->stats.websockets++;
    c->ws = ws;
    conn_request_free(c);
    if (c->state != CONN_DEAD) /* else on_closed follows */
        conn_set_state(c, CONN_WS);
    conn_process(c);
    return ws;
}

/* ---- sending ---- */

static void send_frame(struct http_conn *c, enum ws_opcode opcode, struct str payload)
{
    unsigned char header[10];
    size_t n = ws_frame_header(header, opcode, payload.n);
    conn_out_begin(c);
    buf_append(&c->out, header, n);
    buf_append_str(&c->out, payload);
}

bool ws_send_text(struct ws *ws, struct str text)
{
    struct http_conn *c = ws->conn;
    if (c->state != CONN_WS || ws->close_sent)
        return false;
    send_frame(c, WS_TEXT, text);
    conn_process(c);
    if (conn_pending(c) > CONN_HIGH_WATER + CONN_OVER_MARK)
        conn_close(c);
    ws->drain_wanted = conn_pending(c) > CONN_HIGH_WATER;
    return !ws->drain_wanted;
}

static void send_close(struct http_conn *c, unsigned code, struct str reason)
{
    struct ws *ws = c->ws;
    if (ws->close_sent)
        return;
    char payload[WS_CONTROL_MAX] = {(char)(code >> 8), (char)(code & 0xff)};
    size_t n = reason.n < WS_CONTROL_MAX - 2 ? reason.n : WS_CONTROL_MAX - 2;
    if (n > 0)
        memcpy(payload + 2, reason.p, n);
    send_frame(c, WS_CLOSE, (struct str){payload, code == 1005 ? 0 : n + 2});
    ws->close_sent = true;
}

void ws_close(struct ws *ws, unsigned code, struct str reason)
{
    struct http_conn *c = ws->conn;
    if (c->state != CONN_WS || ws->close_sent)
        return;
    send_close(c, code, reason);
    c->deadline_ns = clock_mono_ns() + (int64_t)CONN_LINGER_MS * 1000000;
    conn_process(c);
}

void ws_pause_reading(struct ws *ws, bool pause)
{
    ws->read_paused = pause;
    conn_process(ws->conn);
}

/* ---- receiving ---- */

static void tell_closed(struct ws *ws, unsigned code)
{
    if (ws->told_closed)
        return;
    ws->told_closed = true;
    ws->callbacks->on_closed(ws->user, ws, code);
}

/* Our close is sent: nothing more is read, the output goes out, then FIN. */
static void finish(struct http_conn *c, unsigned code)
{
    c->in.len = 0;
    conn_set_state(c, CONN_LAST);
    tell_closed(c->ws, code);
}

static void fail(struct http_conn *c, unsigned code, const char *why)
{
    send_close(c, code, str_of(why));
    finish(c, 1006);
}

/* More than the allowed rate of messages and pings, counted by the second. */
static bool too_fast(struct ws *ws)
{
    int64_t second = clock_mono_ns() / 1000000000;
    if (second != ws->rate_second) {
        ws->rate_second = second;
        ws->rate = 0;
    }
    unsigned most = ws->callbacks->max_messages_per_second;
    return ++ws->rate > (most != 0 ? most : 500);
}

static void got(struct http_conn *c, const struct ws_event *event)
{
    struct ws *ws = c->ws;
    switch (event->kind) {
    case WS_MESSAGE:
        if (!ws->close_sent)
            ws->callbacks->on_message(ws->user, ws, event->text, event->data);
        break;
    case WS_GOT_PING:
        if (!ws->close_sent && conn_pending(c) < CONN_HIGH_WATER)
            send_frame(c, WS_PONG, event->data);
        break;
    case WS_GOT_CLOSE:
        send_close(c, event->code, (struct str){NULL, 0});
        finish(c, event->code);
        break;
    case WS_FAIL:
        fail(c, event->code, event->why);
        break;
    case WS_GOT_PONG:
    case WS_MORE:
        break;
    }
}

bool conn_step_ws(struct http_conn *c)
{
    struct ws *ws = c->ws;
    if (c->in.len == 0 || ws->read_paused)
        return false;
    ws->heard_ns = clock_mono_ns();
    struct ws_event event;
    size_t used = ws_decode(&ws->decoder, buf_str(&c->in), &event);
    if (event.kind != WS_MORE && event.kind != WS_FAIL && event.kind != WS_GOT_CLOSE && too_fast(ws))
        fail(c, 1008, "too many messages a second");
    else
        got(c, &event);
    if (c->state == CONN_WS)
        buf_consume(&c->in, used);
    return c->state == CONN_WS && c->in.len > 0;
}

/* ---- time and the end ---- */

/* Silence is asked with a ping, and ended after three. */
void conn_ws_tick(struct http_conn *c, int64_t now_ns)
{
    struct ws *ws = c->ws;
    int64_t silent_ms = (now_ns - ws->heard_ns) / 1000000;
    if (silent_ms > 3 * CONN_WS_PING_MS && !ws->read_paused) {
        conn_close(c);
    } else if (silent_ms > CONN_WS_PING_MS && !ws->pong_waits && !ws->close_sent) {
        ws->pong_waits = true;
        send_frame(c, WS_PING, (struct str){NULL, 0});
        conn_process(c);
    }
    if (silent_ms <= CONN_WS_PING_MS)
        ws->pong_waits = false;
}

void conn_ws_drained(struct http_conn *c)
{
    struct ws *ws = c->ws;
    if (!ws->drain_wanted || ws->close_sent)
        return;
    ws->drain_wanted = false;
    if (ws->callbacks->on_drain != NULL)
        ws->callbacks->on_drain(ws->user, ws);
}

void conn_ws_leave(struct http_conn *c)
{
    struct ws *ws = c->ws;
    if (ws->close_sent)
        return;
    if (ws->callbacks->on_leaving != NULL)
        ws->callbacks->on_leaving(ws->user, ws);
    ws_close(ws, 1001, STR("the server is leaving; resume elsewhere"));
}

void conn_ws_gone(struct http_conn *c)
{
    struct ws *ws = c->ws;
    if (ws == NULL)
        return;
    tell_closed(ws, 1006);
    c->ws = NULL;
    c->env->stats.websockets--;
    ws_decoder_free(&ws->decoder);
    free(ws);
}
