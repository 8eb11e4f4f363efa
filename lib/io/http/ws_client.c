/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http/ws_client.h"

#include "base/base64.h"
#include "base/clock.h"
#include "io/crypto.h"
#include "io/http/ws_frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUT_MAX = 1 << 20, HEAD_MAX = 16384, BODY_MAX = 4096, READ_SIZE = 65536, READS_A_TURN = 16 };
enum {
    TICK_MS = 5000,
    PING_AFTER_MS = 10000,
    GONE_AFTER_MS = 30000,
    CONNECT_MS = 5000,
    KEY_LEN = 24,
    ACCEPT_LEN = 28
};

enum ws_state { WS_CONNECTING, WS_SHAKING, WS_OPEN, WS_OVER };

struct ws_client {
    struct ws_client_options options; /* texts are not kept */
    enum ws_state state;
    struct http_call *call;
    uv_poll_t poll;
    uv_timer_t timer;
    unsigned handles;
    bool polling, paused;
    struct buf out, head, request;
    char accept[ACCEPT_LEN + 1];
    struct ws_decoder decoder;
    int64_t heard_ns;
};

/* ---- the end ---- */

static void handle_closed(uv_handle_t *handle)
{
    struct ws_client *ws = handle->data;
    if (--ws->handles)
        return;
    ws_decoder_free(&ws->decoder);
    buf_free(&ws->out);
    buf_free(&ws->head);
    buf_free(&ws->request);
    free(ws);
}

static void shut(struct ws_client *ws)
{
    if (ws->state == WS_OVER)
        return;
    ws->state = WS_OVER;
    if (ws->polling) {
        uv_poll_stop(&ws->poll);
        uv_close((uv_handle_t *)&ws->poll, handle_closed);
    }
    uv_close((uv_handle_t *)&ws->timer, handle_closed);
    if (ws->call)
        http_call_cancel(ws->call);
    ws->call = NULL;
}

static void end(struct ws_client *ws, enum err e, unsigned code, struct str why)
{
    if (ws->state == WS_OVER)
        return;
    shut(ws);
    ws->options.on_closed(ws->options.arg, e, code, why);
}

void ws_client_drop(struct ws_client *ws)
{
    shut(ws);
}

/* ---- sending ---- */

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct ws_client *ws)
{
    int events = (ws->paused ? 0 : UV_READABLE) | (ws->out.len ? UV_WRITABLE : 0);
    if (ws->state == WS_OVER || !ws->polling)
        return;
    if (events)
        uv_poll_start(&ws->poll, events, on_poll);
    else
        uv_poll_stop(&ws->poll);
}

static void flush(struct ws_client *ws)
{
    enum err e = buf_status(&ws->out);
    bool had = ws->out.len > 0;
    while (!e && ws->out.len) {
        size_t sent = 0;
        e = http_raw_send(ws->call, buf_str(&ws->out), &sent);
        buf_consume(&ws->out, sent);
    }
    if (e && e != ERR_AGAIN) {
        end(ws, e, 0, str_of(e == ERR_FULL ? "too much waits to be sent" : "the connection broke"));
        return;
    }
    watch(ws);
    if (had && !ws->out.len && ws->state == WS_OPEN && ws->options.on_drain)
        ws->options.on_drain(ws->options.arg);
}

static void add_frame(struct ws_client *ws, enum ws_opcode opcode, struct str payload)
{
    unsigned char header[10], mask[4];
    size_t n = ws_frame_header(header, opcode, payload.n);
    header[1] |= 0x80;
    random_bytes(mask, sizeof mask);
    buf_append(&ws->out, header, n);
    buf_append(&ws->out, mask, sizeof mask);
    char *room = buf_reserve(&ws->out, payload.n);
    for (size_t i = 0; room && i < payload.n; i++)
        room[i] = (char)((unsigned char)payload.p[i] ^ mask[i & 3]);
    ws->out.len += room ? payload.n : 0;
}

bool ws_client_send(struct ws_client *ws, struct str text)
{
    if (ws->state != WS_OPEN)
        return false;
    add_frame(ws, WS_TEXT, text);
    watch(ws); /* it leaves from the loop, so that nothing calls back before this returns */
    return ws->out.len < OUT_MAX / 4 && !buf_status(&ws->out);
}

void ws_client_pause(struct ws_client *ws)
{
    ws->paused = true;
    watch(ws);
}

/* ---- receiving ---- */

static void take_event(struct ws_client *ws, const struct ws_event *event)
{
    if (event->kind == WS_MESSAGE)
        ws->options.on_message(ws->options.arg, event->data);
    else if (event->kind == WS_GOT_PING)
        add_frame(ws, WS_PONG, event->data);
    else if (event->kind == WS_GOT_CLOSE)
        end(ws, ERR_CLOSED, event->code, event->data);
    else if (event->kind == WS_FAIL)
        end(ws, ERR_PROTOCOL, event->code, str_of(event->why));
}

static void take_frames(struct ws_client *ws, struct str in)
{
    while (in.n && ws->state == WS_OPEN) {
        struct ws_event event;
        size_t used = ws_decode(&ws->decoder, in, &event);
        in = (struct str){in.p + used, in.n - used};
        take_event(ws, &event);
    }
}

static struct str find_header(struct str head, struct str name)
{
    struct str rest = head;
    while (rest.p) {
        struct str line = str_split(&rest, '\n'), value = line;
        if (value.n && value.p[value.n - 1] == '\r')
            value.n--;
        if (str_eq_nocase(str_split(&value, ':'), name) && value.p)
            return str_trim(value);
    }
    return (struct str){0};
}

static void refused(struct ws_client *ws, struct str head, struct str body)
{
    int64_t status = 0;
    struct str line = head;
    str_split(&line, ' ');
    if (str_to_i64(str_split(&line, ' '), &status))
        status = 0;
    end(ws, ERR_DENIED, (unsigned)status, body);
}

/* The answer to the handshake is in `head`; what follows it are frames. */
static void take_head(struct ws_client *ws)
{
    char *stop = memmem(buf_cstr(&ws->head), ws->head.len, "\r\n\r\n", 4);
    if (buf_status(&ws->head) || (!stop && ws->head.len == HEAD_MAX)) {
        end(ws, ERR_PROTOCOL, 0, STR("the answer to the handshake is too long"));
        return;
    }
    if (!stop)
        return;
    struct str head = {ws->head.data, (size_t)(stop - ws->head.data) + 2};
    struct str rest = {stop + 4, ws->head.len - head.n - 2};
    if (!str_starts(head, STR("HTTP/1.1 101 "))) {
        refused(ws, head, rest);
        return;
    }
    if (!str_eq(find_header(head, STR("sec-websocket-accept")), str_of(ws->accept))) {
        end(ws, ERR_PROTOCOL, 0, STR("the server does not speak WebSocket"));
        return;
    }
    ws->state = WS_OPEN;
    ws->options.on_open(ws->options.arg);
    take_frames(ws, rest);
}

/* Reads until there is nothing, or somebody paused us, or for a while: the loop has other things to do too. */
static void receive(struct ws_client *ws)
{
    static char room[READ_SIZE];
    for (int i = 0; i < READS_A_TURN && ws->state != WS_OVER && !ws->paused; i++) {
        size_t got = 0;
        enum err e = http_raw_receive(ws->call, room, sizeof room, &got);
        if (e == ERR_AGAIN)
            return;
        if (e || !got) {
            end(ws, ERR_IO, 0, STR("the connection broke"));
            return;
        }
        ws->heard_ns = clock_mono_ns();
        if (ws->state == WS_OPEN) {
            take_frames(ws, (struct str){room, got});
        } else {
            buf_append(&ws->head, room, got);
            take_head(ws);
        }
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct ws_client *ws = poll->data;
    if (status < 0) {
        end(ws, ERR_IO, 0, STR("the connection broke"));
        return;
    }
    if (events & UV_READABLE)
        receive(ws);
    if (ws->state != WS_OVER)
        flush(ws);
}

void ws_client_resume(struct ws_client *ws)
{
    ws->paused = false;
    watch(ws);
}

/* ---- connecting ---- */

static void on_tick(uv_timer_t *timer)
{
    struct ws_client *ws = timer->data;
    int64_t quiet_ms = (clock_mono_ns() - ws->heard_ns) / 1000000;
    if (ws->paused)
        ws->heard_ns = clock_mono_ns();
    else if (quiet_ms > GONE_AFTER_MS || (ws->state == WS_SHAKING && quiet_ms > CONNECT_MS))
        end(ws, ERR_TIMEOUT, 0, STR("the server does not answer"));
    else if (quiet_ms > PING_AFTER_MS && ws->state == WS_OPEN) {
        add_frame(ws, WS_PING, (struct str){0});
        watch(ws);
    }
}

static void on_connected(void *arg, enum err e, const char *why, const struct http_answer *answer)
{
    (void)answer;
    struct ws_client *ws = arg;
    if (e) {
        ws->call = NULL;
        end(ws, e, 0, str_of(why));
        return;
    }
    if (uv_poll_init_socket(uv_handle_get_loop((uv_handle_t *)&ws->timer), &ws->poll,
                            http_raw_fd(ws->call))) {
        end(ws, ERR_IO, 0, STR("cannot watch the connection"));
        return;
    }
    ws->poll.data = ws;
    ws->polling = true;
    ws->handles++;
    ws->state = WS_SHAKING;
    ws->heard_ns = clock_mono_ns();
    buf_append_str(&ws->out, buf_str(&ws->request));
    flush(ws);
}

/* "http://host:port/path" in its parts. */
static enum err split_url(const char *url, struct str *ret_host, const char **ret_path)
{
    const char *host = strstr(url, "://");
    if (!host)
        return ERR_INVALID;
    host += 3;
    size_t n = strcspn(host, "/?#");
    *ret_host = (struct str){host, n};
    *ret_path = host[n] == '/' ? host + n : "/";
    return n ? ERR_OK : ERR_INVALID;
}

static enum err build_request(struct ws_client *ws)
{
    struct str host;
    const char *path;
    unsigned char random[16], hash[20];
    char joined[KEY_LEN + 40];
    auto_buf key = BUF_INIT(64), accept = BUF_INIT(64);
    if (split_url(ws->options.url, &host, &path))
        return ERR_INVALID;
    random_bytes(random, sizeof random);
    base64_encode(&key, (struct str){(const char *)random, sizeof random});
    snprintf(joined, sizeof joined, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", buf_cstr(&key));
    sha1_of(str_of(joined), hash);
    base64_encode(&accept, (struct str){(const char *)hash, sizeof hash});
    snprintf(ws->accept, sizeof ws->accept, "%s", buf_cstr(&accept));
    buf_printf(&ws->request,
               "GET %s HTTP/1.1\r\nHost: " STR_FMT "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n",
               path, STR_ARG(host), buf_cstr(&key));
    for (const char *const *h = ws->options.headers; h && *h; h++)
        buf_printf(&ws->request, "%s\r\n", *h);
    buf_append_cstr(&ws->request, "\r\n");
    return buf_status(&ws->request);
}

enum err ws_client_open(uv_loop_t *loop, struct http_client *http, const struct ws_client_options *options,
                        struct ws_client **ret_ws)
{
    struct ws_client *ws = calloc(1, sizeof *ws);
    if (!ws)
        return ERR_NOMEM;
    ws->options = *options;
    buf_init(&ws->out, OUT_MAX);
    buf_init(&ws->head, HEAD_MAX);
    buf_init(&ws->request, HEAD_MAX);
    ws_decoder_init(&ws->decoder, options->max_message ? options->max_message : 1 << 20);
    ws->decoder.from_server = true;
    struct http_call_options call = {.method = "GET",
                                     .url = options->url,
                                     .ca_file = options->ca_file,
                                     .connect_timeout_ms = CONNECT_MS,
                                     .connect_only = true};
    enum err e = build_request(ws);
    e = e ? e : http_client_send(http, &call, on_connected, ws, &ws->call);
    if (e) {
        ws_decoder_free(&ws->decoder);
        buf_free(&ws->request);
        free(ws);
        return e;
    }
    ws->heard_ns = clock_mono_ns();
    uv_timer_init(loop, &ws->timer);
    ws->timer.data = ws;
    ws->handles = 1;
    uv_timer_start(&ws->timer, on_tick, TICK_MS, TICK_MS);
    *ret_ws = ws;
    return ERR_OK;
}
