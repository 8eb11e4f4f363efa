/* SPDX-License-Identifier: Apache-2.0 */
/* Reading an object of S3. A connection that breaks in the middle is taken up where it broke (Range, If-Match), so
   nothing comes twice. */
#include "io/store/s3.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct s3_getting {
    struct object_get get;
    struct sha256 wanted;
    struct sha256_state *hash;
    uint64_t at, end; /* what comes next, and where it ends; `end` is known when `begun` */
    bool sized, begun, paused, waiting, ended;
    char range[64], etag[S3_ETAG_MAX + 1];
};

static struct s3_getting *getting(const struct s3_op *op)
{
    return op->kind;
}

static void release(struct s3_op *op)
{
    sha256_drop(getting(op)->hash);
    getting(op)->hash = NULL;
}

/* ---- the end ---- */

static void finish(struct s3_op *op)
{
    struct s3_getting *g = getting(op);
    if (g->hash) {
        struct sha256 got = sha256_end(g->hash);
        g->hash = NULL;
        if (memcmp(got.bytes, g->wanted.bytes, SHA256_LEN)) {
            s3_op_fail(op, ERR_CORRUPT, "the object has another SHA-256 than it should have");
            return;
        }
    }
    s3_op_finish(op, ERR_OK, NULL);
}

/* ---- the beginning ---- */

/* What the header says of the object; false: it does not fit to what was asked or was said before. */
static bool take_head(struct s3_op *op, bool partial)
{
    struct s3_getting *g = getting(op);
    const struct s3_head *h = &op->head;
    uint64_t size = partial ? h->range_size : h->length;
    bool ranged = g->range[0] != '\0';
    if (partial != ranged || (partial && (!h->has_range || h->range_from != g->at)) ||
        (!partial && !h->has_length))
        return false;
    if (g->sized)
        return size == op->meta.size && !strcmp(g->etag, h->etag);
    g->sized = true;
    memcpy(g->etag, h->etag, sizeof g->etag);
    op->meta = (struct object_meta){.size = size, .time_ms = h->time_ms};
    uint64_t length = g->get.length;
    g->end = length && length < size - g->at ? g->at + length : size;
    return true;
}

/* False: cancelled or paused by the callback. */
static bool tell_begin(struct s3_op *op)
{
    struct s3_getting *g = getting(op);
    if (!g->begun && g->get.begin)
        g->get.begin(op->base.arg, &op->meta);
    g->begun = true;
    return !op->cancelled && !g->paused;
}

static bool on_data(struct s3_op *op, struct str bytes)
{
    struct s3_getting *g = getting(op);
    if (g->ended)
        return true; /* it is refused at the end */
    if (!g->sized && !take_head(op, op->head.has_range)) {
        g->ended = true;
        return true;
    }
    if (g->paused || !tell_begin(op)) {
        g->waiting = true;
        return false;
    }
    if (bytes.n > g->end - g->at) {
        g->ended = true; /* more than there should be */
        return true;
    }
    g->at += bytes.n;
    if (g->hash)
        sha256_add(g->hash, bytes);
    g->get.data(op->base.arg, bytes);
    return true;
}

/* All is there. `begin` may cancel or pause. */
static void end_now(struct s3_op *op)
{
    struct s3_getting *g = getting(op);
    op->in_call = true;
    bool goes_on = !g->paused && tell_begin(op);
    op->in_call = false;
    g->ended = true;
    if (op->cancelled)
        s3_op_free(op);
    else if (goes_on)
        finish(op);
}

static void on_resumed(uv_timer_t *timer)
{
    end_now(timer->data);
}

static void send_get(struct s3_op *op);

/* A range that lies behind the end: the size tells whether it begins right at it. */
static void on_size(struct s3_op *op, int status, struct str body)
{
    struct s3_getting *g = getting(op);
    (void)body;
    if (!s3_headed(op, status))
        return;
    if (g->get.from != op->meta.size) {
        s3_op_fail(op, ERR_RANGE, "the object ends before what was asked for");
        return;
    }
    end_now(op);
}

static void on_answered(struct s3_op *op, int status, struct str body)
{
    struct s3_getting *g = getting(op);
    (void)body;
    if (status == 404) {
        s3_op_fail(op, ERR_NOT_FOUND, "no such object");
    } else if (status == 412) {
        s3_op_fail(op, ERR_CORRUPT, "the object was replaced while it was read");
    } else if (status == 416 && !g->sized) {
        s3_request(op, "HEAD", op->key);
        op->again = NULL;
        s3_send(op, on_size);
    } else if (status != 200 && status != 206) {
        s3_unexpected(op, status);
    } else if (g->ended || (!g->sized && !take_head(op, op->head.has_range)) || g->at != g->end) {
        s3_op_fail(op, ERR_CORRUPT, "the store's answer has another length or place than it says");
    } else {
        end_now(op);
    }
}

/* Only what is missing is asked for again. */
static bool again(struct s3_op *op)
{
    struct s3_getting *g = getting(op);
    if (g->ended) {
        errinfo_set(&op->info, ERR_CORRUPT, 0, "the store's answer has another length or place than it says");
        return false;
    }
    unsigned tries = op->tries;
    send_get(op);
    op->tries = tries;
    return true;
}

static void send_get(struct s3_op *op)
{
    struct s3_getting *g = getting(op);
    s3_request(op, "GET", op->key)->streams = true;
    g->range[0] = '\0';
    if (g->at > 0 && g->sized && g->end < op->meta.size)
        snprintf(g->range, sizeof g->range, "bytes=%" PRIu64 "-%" PRIu64, g->at, g->end - 1);
    else if (g->get.length)
        snprintf(g->range, sizeof g->range, "bytes=%" PRIu64 "-%" PRIu64, g->at,
                 g->get.from + g->get.length - 1);
    else if (g->at > 0)
        snprintf(g->range, sizeof g->range, "bytes=%" PRIu64 "-", g->at);
    if (g->range[0])
        s3_header(op, "range", g->range);
    if (g->sized && g->etag[0])
        s3_header(op, "if-match", g->etag);
}

static void begin(struct s3_op *op)
{
    send_get(op);
    s3_send(op, on_answered);
}

static void get_pause(struct object_op *base)
{
    struct s3_op *op = container_of(base, struct s3_op, base);
    getting(op)->paused = true;
}

static void get_resume(struct object_op *base)
{
    struct s3_op *op = container_of(base, struct s3_op, base);
    struct s3_getting *g = getting(op);
    g->paused = false;
    if (g->ended && !op->call)
        uv_timer_start(&op->timer, on_resumed, 0, 0);
    else if (g->waiting && op->call)
        http_call_receive_on(op->call);
    g->waiting = false;
}

enum err s3_get(struct object_store *store, const struct object_get *get, object_cb cb, void *arg,
                struct object_op **ret_op)
{
    static const struct object_op_ops ops = {
        .cancel = s3_op_cancel, .pause = get_pause, .resume = get_resume};
    struct s3_getting *g = calloc(1, sizeof *g);
    struct s3_op *op;
    if (!g || s3_op_new(store, get->key, begin, cb, arg, &op)) {
        free(g);
        return ERR_NOMEM;
    }
    g->get = *get;
    g->get.key = NULL;
    g->get.sha256 = NULL;
    g->at = get->from;
    if (get->sha256) {
        g->wanted = *get->sha256;
        g->hash = sha256_begin();
    }
    op->base.ops = &ops;
    op->kind = g;
    op->release = release;
    op->on_data = on_data;
    op->again = again;
    *ret_op = &op->base;
    s3_op_start(op);
    return ERR_OK;
}
