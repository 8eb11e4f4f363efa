/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http_conn.h"

#include "base/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t ms_from_now(int ms)
{
    return clock_mono_ns() + (int64_t)ms * 1000000;
}

/* ---- states ---- */

/* From when a connection in this state is given up; 0: never by time alone. */
static int64_t state_deadline(const struct http_conn *c, enum conn_state state)
{
    const struct http_server_options *o = &c->env->options;
    switch (state) {
    case CONN_HEAD:
        return ms_from_now(c->in.len > 0 ? o->head_timeout_ms : o->idle_timeout_ms);
    case CONN_BODY:
        return ms_from_now(o->body_timeout_ms);
    case CONN_LINGER:
        return ms_from_now(CONN_LINGER_MS);
    case CONN_HANDLER:
    case CONN_STREAM:
    case CONN_WS:
    case CONN_LAST:
    case CONN_DEAD:
        break;
    }
    return 0;
}

void conn_set_state(struct http_conn *c, enum conn_state state)
{
    c->state = state;
    c->deadline_ns = state_deadline(c, state);
}

void conn_close(struct http_conn *c)
{
    if (c->state == CONN_DEAD)
        return;
    conn_set_state(c, CONN_DEAD);
    c->env->ops->close(c->wire);
}

struct http_conn *conn_new(struct conn_env *env, void *wire, const char *peer)
{
    struct http_conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->magic = CONN_MAGIC;
    c->env = env;
    c->wire = wire;
    c->reading = true;
    buf_init(&c->in, HTTP_HEAD_MAX + CONN_IN_MAX + 256 * 1024);
    buf_init(&c->out, CONN_REPLY_MAX);
    snprintf(c->peer, sizeof c->peer, "%s", peer);
    list_append(&env->conns, &c->node);
    env->stats.accepted++;
    env->stats.connections++;
    conn_set_state(c, CONN_HEAD);
    return c;
}

void conn_request_free(struct http_conn *c)
{
    struct http_request *r = c->request;
    if (r == NULL)
        return;
    c->request = NULL;
    c->env->body_bytes -= r->take != NULL ? 0 : r->body.len;
    arena_free(&r->arena);
    buf_free(&r->body);
    free(r);
}

/* ---- output ---- */

size_t conn_pending(const struct http_conn *c)
{
    return c->out.len > c->out_at ? c->out.len - c->out_at : 0;
}

/* Call before appending to c->out: keeps the free bytes in front. */
void conn_out_begin(struct http_conn *c)
{
    static const char zeros[CONN_OUT_PRE];
    if (c->out.len == 0) {
        buf_append(&c->out, zeros, sizeof zeros);
        c->out_at = sizeof zeros;
    }
}

static void out_emptied(struct http_conn *c)
{
    if (c->out.cap > 16 * 1024)
        buf_free(&c->out);
    else
        buf_reset(&c->out);
    c->out_at = 0;
    c->write_deadline_ns = 0;
}

/* Bytes already written go when they are more than what is left, so each byte is moved at most once. */
static void out_compact(struct http_conn *c)
{
    if (c->out_at - CONN_OUT_PRE < conn_pending(c) || c->out_at < CONN_WRITE_PIECE)
        return;
    buf_consume(&c->out, c->out_at - CONN_OUT_PRE);
    c->out_at = CONN_OUT_PRE;
}

/* Hands to the transport what it takes. */
static void flush(struct http_conn *c)
{
    if (buf_status(&c->out) != ERR_OK) {
        conn_close(c); /* a reply that did not fit: never a cut one */
        return;
    }
    while (c->state != CONN_DEAD && !c->blocked && conn_pending(c) > 0) {
        size_t n = conn_pending(c) < CONN_WRITE_PIECE ? conn_pending(c) : CONN_WRITE_PIECE;
        if (!c->env->ops->write(c->wire, c->out.data + c->out_at, n, &c->blocked)) {
            conn_close(c);
            return;
        }
        c->out_at += n;
        c->env->stats.bytes_out += n;
    }
    if (conn_pending(c) == 0 && !c->blocked) {
        out_emptied(c);
        return;
    }
    if (c->write_deadline_ns == 0)
        c->write_deadline_ns = ms_from_now(c->env->options.write_timeout_ms);
    out_compact(c);
    c->env->ops->want_writable(c->wire);
}

static void tell_drained(struct http_conn *c)
{
    if (conn_pending(c) > CONN_HIGH_WATER / 2)
        return;
    struct http_request *r = c->request;
    if (c->state == CONN_STREAM && r->drain_wanted && r->drain != NULL) {
        r->drain_wanted = false;
        r->drain(r->user, r);
    } else if (c->state == CONN_WS) {
        conn_ws_drained(c);
    }
}

/* The last reply is out: FIN, then wait for the peer's, so that it can read the reply (a close with unread
   bytes would be a reset that destroys it). */
static void end_output(struct http_conn *c)
{
    if (c->state != CONN_LAST || conn_pending(c) > 0 || c->blocked)
        return;
    c->env->ops->finish_writing(c->wire);
    conn_set_state(c, CONN_LINGER);
}

static void set_reading(struct http_conn *c)
{
    bool full = c->in.len >= CONN_IN_MAX || (c->ws != NULL && c->ws->read_paused);
    bool on = c->state != CONN_DEAD && !c->blocked && !(full && c->state != CONN_LINGER);
    if (on == c->reading || c->state == CONN_DEAD)
        return;
    c->reading = on;
    c->env->ops->read_on(c->wire, on);
}

void conn_writable(struct http_conn *c)
{
    if (c->state == CONN_DEAD)
        return;
    c->blocked = false;
    c->write_deadline_ns = 0; /* the peer took something */
    flush(c);
    tell_drained(c);
    conn_process(c);
}

/* ---- replies ---- */

static const char *date_now(struct conn_env *env)
{
    int64_t second = clock_wall_ms() / 1000;
    if (second != env->date_second) {
        time_t t = (time_t)second;
        struct tm tm;
        strftime(env->date, sizeof env->date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
        env->date_second = second;
    }
    return env->date;
}

static void count_response(struct conn_env *env, int status)
{
    int class = status / 100;
    env->stats.responses[class >= 0 && class < 6 ? class : 0]++;
}

static void write_head(struct http_conn *c, int status, const char *type, const struct http_field *fields,
                       const char *request_id)
{
    conn_out_begin(c);
    buf_printf(&c->out,
               "HTTP/1.1 %d %s\r\nDate: %s\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n",
               status, http_status_text(status), date_now(c->env));
    if (request_id[0] != '\0')
        buf_printf(&c->out, "X-Request-Id: %s\r\n", request_id);
    if (type != NULL)
        buf_printf(&c->out, "Content-Type: %s\r\n", type);
    for (; fields != NULL && fields->name != NULL; fields++)
        buf_printf(&c->out, "%s: %s\r\n", fields->name, fields->value);
    count_response(c->env, status);
}

static void write_connection(struct http_conn *c, unsigned minor, bool keep)
{
    if (!keep)
        buf_append_cstr(&c->out, "Connection: close\r\n");
    else if (minor == 0)
        buf_append_cstr(&c->out, "Connection: keep-alive\r\n");
}

/* Whether another request may follow on this connection. */
static bool may_keep(const struct http_request *r)
{
    return r->head.keep_alive && r->body_complete && !r->conn->env->draining;
}

static void after_reply(struct http_conn *c, bool keep)
{
    conn_request_free(c);
    conn_set_state(c, keep ? CONN_HEAD : CONN_LAST);
    conn_process(c);
}

void http_reply(struct http_request *r, int status, const char *content_type, const struct http_field *fields,
                struct str body)
{
    struct http_conn *c = r->conn;
    assert(c->request == r && c->state != CONN_STREAM);
    if (c->state == CONN_DEAD) {
        conn_request_free(c);
        return;
    }
    bool keep = may_keep(r);
    write_head(c, status, content_type, fields, r->id.text);
    if (status != 204 && status != 304) /* they have no body, and a length would be another answer's */
        buf_printf(&c->out, "Content-Length: %zu\r\n", body.n);
    write_connection(c, r->head.minor, keep);
    buf_append_cstr(&c->out, "\r\n");
    if (!str_eq(r->head.method, STR("HEAD")))
        buf_append_str(&c->out, body);
    after_reply(c, keep);
}

/* Can the client tell the end of the reply without a close? */
static bool has_end(const struct http_request *r)
{
    return r->chunked_reply || r->sized_reply;
}

static void begin_stream(struct http_request *r, int status, const char *content_type,
                         const struct http_field *fields)
{
    struct http_conn *c = r->conn;
    assert(c->request == r && c->state != CONN_STREAM && r->body_complete);
    if (c->state == CONN_DEAD)
        return; /* the writes say false, and "gone" follows */
    write_head(c, status, content_type, fields, r->id.text);
    if (r->sized_reply)
        buf_printf(&c->out, "Content-Length: %" PRIu64 "\r\n", r->reply_left);
    if (r->chunked_reply)
        buf_append_cstr(&c->out, "Transfer-Encoding: chunked\r\n");
    write_connection(c, r->head.minor, may_keep(r) && has_end(r));
    buf_append_cstr(&c->out, "\r\n");
    conn_set_state(c, CONN_STREAM);
    conn_process(c);
}

void http_stream_begin(struct http_request *r, int status, const char *content_type,
                       const struct http_field *fields)
{
    r->chunked_reply = r->head.minor == 1;
    begin_stream(r, status, content_type, fields);
}

void http_stream_begin_sized(struct http_request *r, int status, const char *content_type,
                             const struct http_field *fields, uint64_t length)
{
    r->sized_reply = true;
    r->reply_left = length;
    begin_stream(r, status, content_type, fields);
}

bool http_stream_write(struct http_request *r, struct str piece)
{
    struct http_conn *c = r->conn;
    assert(c->request == r && (c->state == CONN_STREAM || c->state == CONN_DEAD));
    if (c->state == CONN_DEAD)
        return false;
    if (r->sized_reply) {
        assert(piece.n <= r->reply_left);
        r->reply_left -= piece.n;
    }
    if (piece.n > 0 && !str_eq(r->head.method, STR("HEAD"))) {
        conn_out_begin(c);
        if (r->chunked_reply)
            buf_printf(&c->out, "%zx\r\n", piece.n);
        buf_append_str(&c->out, piece);
        if (r->chunked_reply)
            buf_append_cstr(&c->out, "\r\n");
        conn_process(c);
    }
    if (conn_pending(c) > CONN_HIGH_WATER + CONN_OVER_MARK)
        conn_close(c);
    r->drain_wanted = conn_pending(c) > CONN_HIGH_WATER;
    return !r->drain_wanted;
}

void http_stream_end(struct http_request *r)
{
    struct http_conn *c = r->conn;
    assert(c->request == r && (c->state == CONN_STREAM || c->state == CONN_DEAD));
    if (c->state == CONN_DEAD) {
        conn_request_free(c);
        return;
    }
    if (r->sized_reply && r->reply_left > 0 && !str_eq(r->head.method, STR("HEAD"))) {
        conn_request_free(c);
        conn_close(c); /* so that nobody takes it for whole */
        return;
    }
    bool keep = may_keep(r) && has_end(r);
    conn_out_begin(c);
    if (r->chunked_reply && !str_eq(r->head.method, STR("HEAD")))
        buf_append_cstr(&c->out, "0\r\n\r\n");
    after_reply(c, keep);
}

/* An answer that the server gives itself. Nothing more is read from this connection. */
static void refuse(struct http_conn *c, int status, const char *details)
{
    struct id id = c->request != NULL ? c->request->id : id_new();
    auto_buf body = BUF_INIT(4096);
    if (c->env->options.write_error != NULL)
        c->env->options.write_error(status, details, id.text, &body);
    else
        buf_printf(&body, "{\"error\":\"%s\",\"request_id\":\"%s\"}\n", details, id.text);
    static const struct http_field later[] = {{.name = "Retry-After", .value = "1"}, {NULL, NULL}};
    write_head(c, status, "application/json", status == 503 ? later : NULL, id.text);
    buf_printf(&c->out, "Content-Length: %zu\r\nConnection: close\r\n\r\n", body.len);
    buf_append_str(&c->out, buf_str(&body));
    c->env->stats.refused_heads++;
    c->in.len = 0;
    if (c->request != NULL && c->request->gone != NULL)
        c->request->gone(c->request->user, c->request);
    conn_request_free(c);
    conn_set_state(c, CONN_LAST);
}

/* ---- requests: one step of progress each; false: nothing to be done now ---- */

static void begin_body(struct http_conn *c, struct http_request *r)
{
    bool large = r->head.framing == HTTP_BODY_LENGTH && r->head.content_length > r->max_body;
    if (large) {
        refuse(c, 413, "the body is larger than this route takes");
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
        refuse(c, refusal.status, refusal.details);
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
        refuse(c, refusal.status, refusal.details);
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

static bool step_head(struct http_conn *c)
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
        refuse(c, refusal.status, refusal.details);
    return true;
}

/* Moves body bytes from c->in. ERR_OK: complete. ERR_AGAIN. Others: refused. */
static enum err move_body(struct http_conn *c, struct http_request *r)
{
    if (r->head.framing == HTTP_BODY_CHUNKED) {
        size_t used = 0;
        enum err e = chunked_decode(&r->chunked, buf_str(&c->in), &r->body, &used);
        buf_consume(&c->in, used);
        return e;
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

static bool step_body(struct http_conn *c)
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
        refuse(c, 413, "the body is larger than this route takes");
    } else if (e == ERR_NOMEM) {
        refuse(c, 503, "too many large bodies are being read; retry soon");
    } else if (e != ERR_OK) {
        refuse(c, 400, "the chunked body is malformed");
    } else {
        r->body_complete = true;
        conn_set_state(c, CONN_HANDLER);
        c->env->options.on_request(c->env->options.arg, r);
    }
    return true;
}

static bool step(struct http_conn *c)
{
    switch (c->state) {
    case CONN_HEAD:
        return step_head(c);
    case CONN_BODY:
        return step_body(c);
    case CONN_WS:
        return conn_step_ws(c);
    case CONN_LAST:
    case CONN_LINGER:
        c->lingered += c->in.len;
        c->in.len = 0;
        if (c->lingered > CONN_LINGER_BYTES)
            conn_close(c);
        return false;
    case CONN_HANDLER:
    case CONN_STREAM:
    case CONN_DEAD:
        return false;
    }
    return false;
}

/* Makes all progress that is possible. Replies given inside a handler only note what they did; this loop goes
 * on. */
void conn_process(struct http_conn *c)
{
    if (c->processing)
        return;
    c->processing = true;
    /* A client that does not read its answers is not served more of them. */
    bool capped;
    do {
        while (c->state != CONN_DEAD && conn_pending(c) < CONN_PENDING_MOST && step(c))
            ;
        capped = conn_pending(c) >= CONN_PENDING_MOST;
        if (c->state != CONN_DEAD)
            flush(c);
    } while (c->state != CONN_DEAD && capped && conn_pending(c) < CONN_PENDING_MOST);
    c->processing = false;
    end_output(c);
    set_reading(c);
}

void conn_received(struct http_conn *c, struct str bytes)
{
    if (c->state == CONN_DEAD)
        return;
    c->env->stats.bytes_in += bytes.n;
    bool fresh = c->state == CONN_HEAD && c->in.len == 0;
    buf_append_str(&c->in, bytes);
    if (buf_status(&c->in) != ERR_OK) {
        conn_close(c);
        return;
    }
    if (fresh)
        conn_set_state(c, CONN_HEAD); /* the head's deadline, from its first byte */
    conn_process(c);
    if (c->in.len == 0 && c->in.cap > 16 * 1024)
        buf_free(&c->in);
}

/* ---- time and the end ---- */

static void expired(struct http_conn *c)
{
    c->env->stats.timeouts++;
    bool begun = c->state == CONN_BODY || (c->state == CONN_HEAD && c->in.len > 0);
    if (!begun) {
        conn_close(c);
        return;
    }
    refuse(c, 408, "the request did not arrive in time");
    conn_process(c);
}

void conn_tick(struct http_conn *c, int64_t now_ns)
{
    if (c->state == CONN_DEAD)
        return;
    if (c->write_deadline_ns != 0 && now_ns > c->write_deadline_ns) {
        c->env->stats.timeouts++;
        conn_close(c);
    } else if (c->deadline_ns != 0 && now_ns > c->deadline_ns) {
        expired(c);
    } else if (c->state == CONN_WS) {
        conn_ws_tick(c, now_ns);
    }
}

void conn_drain(struct http_conn *c)
{
    if (c->state == CONN_HEAD && c->in.len == 0 && conn_pending(c) == 0)
        conn_close(c);
    else if (c->state == CONN_WS)
        conn_ws_leave(c);
}

void conn_gone(struct http_conn *c)
{
    assert(c->magic == CONN_MAGIC && !c->processing);
    c->state = CONN_DEAD;
    list_remove(&c->node);
    c->env->stats.connections--;
    struct http_request *r = c->request;
    if (r != NULL && r->gone != NULL)
        r->gone(r->user, r);
    conn_request_free(c);
    conn_ws_gone(c);
    buf_free(&c->in);
    buf_free(&c->out);
    c->magic = 0;
    free(c);
}

/* ---- accessors ---- */

struct str http_method(const struct http_request *r)
{
    return r->head.method;
}

struct str http_path(const struct http_request *r)
{
    return r->target.path;
}

struct str http_target(const struct http_request *r)
{
    return r->head.target;
}

struct str http_header(const struct http_request *r, const char *name)
{
    return http_head_find(&r->head, str_of(name), NULL);
}

unsigned http_header_count(const struct http_request *r, const char *name)
{
    unsigned count = 0;
    http_head_find(&r->head, str_of(name), &count);
    return count;
}

struct str http_query(const struct http_request *r, const char *name, bool *ret_present)
{
    for (unsigned i = 0; i < r->target.query_count; i++) {
        if (!str_eq(r->target.query[i].name, str_of(name)))
            continue;
        if (ret_present != NULL)
            *ret_present = true;
        return r->target.query[i].value;
    }
    if (ret_present != NULL)
        *ret_present = false;
    return (struct str){NULL, 0};
}

struct str http_body(const struct http_request *r)
{
    return buf_str(&r->body);
}

bool http_has_body(const struct http_request *r)
{
    return r->head.framing != HTTP_BODY_NONE;
}

const char *http_request_id(const struct http_request *r)
{
    return r->id.text;
}

const char *http_peer(const struct http_request *r)
{
    return r->conn->peer;
}

int64_t http_started_ns(const struct http_request *r)
{
    return r->started_ns;
}

void http_request_limit(struct http_request *r, size_t max_body)
{
    assert(r->in_head);
    r->max_body = max_body;
}

void http_body_stream(struct http_request *r,
                      void (*take)(void *user, struct http_request *r, struct str bytes))
{
    assert(r->in_head);
    r->take = take;
}

void http_body_pause(struct http_request *r, bool paused)
{
    struct http_conn *c = r->conn;
    if (r->body_paused == paused)
        return;
    r->body_paused = paused;
    if (c->state != CONN_BODY)
        return;
    conn_set_state(c, CONN_BODY);
    if (paused)
        c->deadline_ns = 0;
    else
        conn_process(c);
}

void http_set_user(struct http_request *r, void *user)
{
    r->user = user;
}

void *http_user(const struct http_request *r)
{
    return r->user;
}

void http_on_gone(struct http_request *r, void (*gone)(void *user, struct http_request *r))
{
    r->gone = gone;
}

void http_on_drain(struct http_request *r, void (*drain)(void *user, struct http_request *r))
{
    r->drain = drain;
}

size_t http_stream_pending(const struct http_request *r)
{
    return conn_pending(r->conn);
}
