/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as they arrive, head and body: one step of progress each, false where nothing is to be done now. */
#include "base/clock.h"
#include "io/http/conn.h"

#include <stdio.h>
#include <stdlib.h>

static void refuse_large(struct http_conn *c, const struct http_request *r)
{
    char text[96];
    snprintf(text, sizeof text, "the body is larger than the %zu bytes that are taken here", r->max_body);
    conn_refuse(c, 413, text);
}

static void begin_body(struct http_conn *c, struct http_request *r)
{
    bool large = r->head.framing == HTTP_BODY_LENGTH && r->head.content_length > r->max_body;
    if (large) {
        refuse_large(c, r);
        return;
    }
    r->body_left = r->head.content_length;
    r->body_complete = r->head.framing == HTTP_BODY_NONE;
    buf_init(&r->body, r->take != NULL ? CONN_STREAM_STEP_MAX : r->max_body);
    c->body_mark = 0;
    if (r->head.expect_continue && !r->body_complete && c->in.len == 0) {
        conn_out_begin(c);
        buf_append_cstr(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
    }
    conn_set_state(c, CONN_BODY);
}

/* The head is `length` bytes at the front of c->in. */
static void begin_request(struct http_conn *c, size_t length)
{
    struct http_request *r = calloc(1, sizeof *r);
    struct http_refusal refusal = {.status = 503, .details = "out of memory"};
    if (r == NULL) {
        conn_refuse(c, refusal.status, refusal.details);
        return;
    }
    r->conn = c;
    r->arena = ARENA_INIT((size_t)4 * HTTP_HEAD_MAX);
    r->id = id_new();
    r->started_ns = clock_mono_ns();
    r->max_body = c->env->options.max_body;
    c->request = r;
    struct str text = arena_str(&r->arena, (struct str){c->in.data, length});
    buf_consume(&c->in, length);
    c->in_scanned = 0;
    enum err e = text.p == NULL ? ERR_NOMEM : http_head_parse(text, &r->head, &refusal);
    if (e == ERR_OK)
        e = http_target_parse(r->head.target, &r->arena, &r->target, &refusal);
    if (e != ERR_OK) {
        conn_refuse(c, refusal.status, refusal.details);
        return;
    }
    c->env->stats.requests++;
    r->body_complete = r->head.framing == HTTP_BODY_NONE;
    r->in_head = true;
    conn_set_state(c, CONN_HANDLER);
    if (c->env->options.on_head != NULL)
        c->env->options.on_head(c->env->options.arg, r);
    if (c->request == r && c->state == CONN_HANDLER) {
        r->in_head = false;
        begin_body(c, r);
    }
}

bool conn_step_head(struct http_conn *c)
{
    if (c->in.len == 0)
        return false;
    struct http_refusal refusal;
    size_t length = 0;
    enum err e = http_head_end(buf_str(&c->in), &c->in_scanned, &length, &refusal);
    if (e == ERR_AGAIN)
        return false;
    if (e == ERR_OK)
        begin_request(c, length);
    else
        conn_refuse(c, refusal.status, refusal.details);
    return true;
}

/* Moves body bytes from c->in. ERR_OK: complete. ERR_AGAIN. Others: refused. */
static enum err move_body(struct http_conn *c, struct http_request *r)
{
    if (r->head.framing == HTTP_BODY_CHUNKED) {
        size_t used = 0;
        enum err e = chunked_decode(&r->chunked, buf_str(&c->in), &r->body, &used);
        buf_consume(&c->in, used);
        /* A chunk says how long it will be: what cannot fit is not waited for. */
        return (e == ERR_OK || e == ERR_AGAIN) && chunked_exceeds(&r->chunked, r->max_body) ? ERR_FULL : e;
    }
    size_t n = c->in.len < r->body_left ? c->in.len : (size_t)r->body_left;
    buf_append(&r->body, c->in.data, n);
    if (n > 0)
        buf_consume(&c->in, n);
    r->body_left -= n;
    if (buf_status(&r->body) != ERR_OK)
        return ERR_FULL;
    return r->body_left == 0 ? ERR_OK : ERR_AGAIN;
}

static enum err take_body(struct http_conn *c, struct http_request *r)
{
    size_t before = r->body.len;
    enum err e = move_body(c, r);
    c->env->body_bytes += r->body.len - before;
    return e == ERR_AGAIN && c->env->body_bytes > CONN_BODIES_MOST ? ERR_NOMEM : e;
}

/* Of a streamed body. ERR_CLOSED: there is no request any more, it was answered. */
static enum err hand_body(struct http_conn *c, struct http_request *r)
{
    enum err e = move_body(c, r);
    r->taken += r->body.len;
    if (e == ERR_OK || e == ERR_AGAIN)
        e = r->taken > r->max_body ? ERR_FULL : e;
    if ((e != ERR_OK && e != ERR_AGAIN) || r->body.len == 0)
        return e;
    r->take(r->user, r, buf_str(&r->body));
    if (c->request != r || c->state != CONN_BODY)
        return ERR_CLOSED;
    if (r->taken >= c->body_mark + CONN_BODY_STEP && !r->body_paused) {
        c->body_mark = r->taken;
        conn_set_state(c, CONN_BODY);
    }
    buf_reset(&r->body);
    return e;
}

bool conn_step_body(struct http_conn *c)
{
    struct http_request *r = c->request;
    if (r->body_paused)
        return false;
    enum err e = r->take != NULL ? hand_body(c, r) : take_body(c, r);
    if (e == ERR_CLOSED)
        return true;
    if (e == ERR_AGAIN) {
        if (r->take == NULL && r->body.len >= c->body_mark + CONN_BODY_STEP) {
            c->body_mark = r->body.len;
            conn_set_state(c, CONN_BODY); /* a new deadline for the next 16 KiB */
        }
        return false;
    }
    if (e == ERR_FULL) {
        refuse_large(c, r);
    } else if (e == ERR_NOMEM) {
        conn_refuse(c, 503, "too many large bodies are being read; retry soon");
    } else if (e != ERR_OK) {
        conn_refuse(c, 400, "the chunked body is malformed");
    } else {
        r->body_complete = true;
        conn_set_state(c, CONN_HANDLER);
        c->env->options.on_request(c->env->options.arg, r);
    }
    return true;
}
