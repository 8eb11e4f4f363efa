/* SPDX-License-Identifier: Apache-2.0 */
/* Replies: whole, in pieces, and those that the server gives itself. */
#include "base/clock.h"
#include "io/http/conn.h"

#include <assert.h>
#include <inttypes.h>
#include <time.h>

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
    if (c->env->options.write_fields != NULL)
        c->env->options.write_fields(c->env->options.arg, c->request, &c->out);
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

void conn_refuse(struct http_conn *c, int status, const char *details)
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
