/* SPDX-License-Identifier: Apache-2.0 */
/* What a handler reads of a request and asks of it. */
#include "io/http/conn.h"

#include <assert.h>

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

void http_body_take(struct http_request *r, struct buf *ret_body)
{
    r->conn->env->body_bytes -= r->body.len;
    *ret_body = r->body;
    buf_init(&r->body, r->max_body);
}

void http_body_give(struct http_request *r, struct buf *body)
{
    r->conn->env->body_bytes += body->len;
    buf_free(&r->body);
    r->body = *body;
    buf_init(body, 0);
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
