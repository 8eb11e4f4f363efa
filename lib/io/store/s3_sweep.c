/* SPDX-License-Identifier: Apache-2.0 */
/* Ends uploads in parts that their writers left behind. One page of them at a time; the next sweep takes the next. (MinIO
   lists none without their whole key, and ends them itself after a day.) */
#include "io/store/s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SWEEP_MAX = 100 };

struct left {
    char key[OBJECT_KEY_MAX + 1], upload_id[S3_UPLOAD_ID_MAX + 1];
};

struct sweep {
    int64_t before_ms;
    char prefix[OBJECT_KEY_MAX + 1];
    struct left *left;
    size_t count, at;
};

static struct sweep *sweep_of(const struct s3_op *op)
{
    return op->kind;
}

static enum err on_upload(void *arg, const struct s3_listed *listed)
{
    struct sweep *s = arg;
    if (listed->time_ms >= s->before_ms || s->count == SWEEP_MAX)
        return ERR_OK;
    struct left *left = &s->left[s->count++];
    snprintf(left->key, sizeof left->key, "%s", listed->key);
    snprintf(left->upload_id, sizeof left->upload_id, "%s", listed->upload_id);
    return ERR_OK;
}

static void abort_next(struct s3_op *op);

static void on_aborted(struct s3_op *op, int status, struct str body)
{
    (void)status, (void)body;
    op->meta.size++;
    abort_next(op);
}

static void abort_next(struct s3_op *op)
{
    struct sweep *s = sweep_of(op);
    if (s->at == s->count) {
        s3_op_finish(op, ERR_OK, NULL);
        return;
    }
    const struct left *left = &s->left[s->at++];
    s3_request(op, "DELETE", left->key);
    s3_query(op, "uploadId", left->upload_id);
    s3_send(op, on_aborted);
}

static void on_listed(struct s3_op *op, int status, struct str body)
{
    bool truncated = false;
    if (status != 200)
        s3_unexpected(op, status);
    else if (s3_read_list(body, &truncated, on_upload, sweep_of(op)))
        s3_op_fail(op, ERR_CORRUPT, "the store's list of uploads is malformed");
    else
        abort_next(op);
}

static void begin(struct s3_op *op)
{
    struct sweep *s = sweep_of(op);
    s->count = s->at = 0;
    s3_request(op, "GET", NULL);
    if (s->prefix[0])
        s3_query(op, "prefix", s->prefix);
    s3_query(op, "uploads", "");
    s3_send(op, on_listed);
}

static void release(struct s3_op *op)
{
    free(sweep_of(op)->left);
}

enum err s3_sweep(struct object_store *store, const char *prefix, int64_t before_ms, object_cb cb, void *arg,
                  struct object_op **ret_op)
{
    struct sweep *s = calloc(1, sizeof *s);
    struct left *left = calloc(SWEEP_MAX, sizeof *left);
    struct s3_op *op;
    if (!s || !left || s3_op_new(store, "", begin, cb, arg, &op)) {
        free(s);
        free(left);
        return ERR_NOMEM;
    }
    *s = (struct sweep){.before_ms = before_ms, .left = left};
    snprintf(s->prefix, sizeof s->prefix, "%s", prefix);
    op->kind = s;
    op->release = release;
    *ret_op = &op->base;
    s3_op_start(op);
    return ERR_OK;
}
