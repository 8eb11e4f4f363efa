/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection writes: bytes wait here until the transport takes them. */
#include "io/http/conn.h"

size_t conn_pending(const struct http_conn *c)
{
    return c->out.len > c->out_at ? c->out.len - c->out_at : 0;
}

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
void conn_flush(struct http_conn *c)
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
        c->write_deadline_ns = conn_deadline(c->env->options.write_timeout_ms);
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
void conn_end_output(struct http_conn *c)
{
    if (c->state != CONN_LAST || conn_pending(c) > 0 || c->blocked)
        return;
    c->env->ops->finish_writing(c->wire);
    conn_set_state(c, CONN_LINGER);
}

void conn_set_reading(struct http_conn *c)
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
    conn_flush(c);
    tell_drained(c);
    conn_process(c);
}
