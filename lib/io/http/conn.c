/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http/conn.h"

#include "base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

int64_t conn_deadline(int ms)
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
        return conn_deadline(c->in.len > 0 ? o->head_timeout_ms : o->idle_timeout_ms);
    case CONN_BODY:
        return conn_deadline(o->body_timeout_ms);
    case CONN_LINGER:
        return conn_deadline(CONN_LINGER_MS);
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

/* ---- progress ---- */

static bool step(struct http_conn *c)
{
    switch (c->state) {
    case CONN_HEAD:
        return conn_step_head(c);
    case CONN_BODY:
        return conn_step_body(c);
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
            conn_flush(c);
    } while (c->state != CONN_DEAD && capped && conn_pending(c) < CONN_PENDING_MOST);
    c->processing = false;
    conn_end_output(c);
    conn_set_reading(c);
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
    conn_refuse(c, 408, "the request did not arrive in time");
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
