/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store/spool.h"

#include "base/buf.h"
#include "io/store/spool_file.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 128 << 10, PUSH_MAX = 1 << 20, PENDING_MAX = PUSH_MAX + PIECE };

/* `file`, `hash`, `writing` and `failed` belong to the pool while `busy`. */
struct spool {
    uv_work_t work;
    uv_loop_t *loop;
    struct spool_options options;
    char *folder;
    struct buf filling, writing;
    uint64_t size;
    struct spool_file file;
    struct sha256_state *hash;
    struct sha256 sha256;
    struct errinfo failed;
    bool busy, ending, ended, wants_room, dropped;
    spool_cb cb;
    void *cb_arg;
};

enum err spool_open(uv_loop_t *loop, const struct spool_options *options, struct spool **ret_spool)
{
    struct spool *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    *s = (struct spool){.loop = loop, .options = *options, .file = SPOOL_FILE_NONE};
    s->folder = options->folder ? strdup(options->folder) : NULL;
    if (options->has_fd)
        s->file.fd = spool_file_dup(options->fd);
    if ((options->folder && !s->folder) || (options->has_fd && s->file.fd < 0)) {
        spool_file_close(&s->file);
        free(s->folder);
        free(s);
        return ERR_NOMEM;
    }
    s->hash = sha256_begin();
    buf_init(&s->filling, PENDING_MAX);
    buf_init(&s->writing, PENDING_MAX);
    s->work.data = s;
    *ret_spool = s;
    return ERR_OK;
}

static void spool_free(struct spool *s)
{
    spool_file_close(&s->file);
    sha256_drop(s->hash);
    buf_free(&s->filling);
    buf_free(&s->writing);
    free(s->folder);
    void (*gone)(void *arg) = s->options.gone;
    void *gone_arg = s->options.gone_arg;
    free(s);
    if (gone)
        gone(gone_arg);
}

/* On the pool. */
static void write_piece(uv_work_t *work)
{
    struct spool *s = work->data;
    if (s->failed.code)
        return;
    if (s->file.fd < 0) {
        if (s->options.prepare)
            s->options.prepare(s->options.prepare_arg);
        if (spool_file_open(&s->file, s->folder, s->options.named, &s->failed))
            return;
    }
    sha256_add(s->hash, buf_str(&s->writing));
    enum err e = spool_file_write(&s->file, buf_str(&s->writing), &s->failed);
    (void)e; /* it is in `failed` */
}

static void start(struct spool *s);

static void finish(struct spool *s)
{
    s->ended = true;
    s->sha256 = sha256_end(s->hash);
    s->hash = NULL;
    buf_free(&s->filling);
    buf_free(&s->writing);
    s->cb(s->cb_arg, s->failed.code, s->failed.code ? s->failed.text : NULL);
}

static void written(uv_work_t *work, int status)
{
    struct spool *s = work->data;
    (void)status; /* never cancelled */
    s->busy = false;
    buf_reset(&s->writing);
    if (s->dropped) {
        spool_free(s);
        return;
    }
    if (!s->failed.code && (s->filling.len >= PIECE || (s->ending && s->filling.len > 0))) {
        start(s);
    } else if (s->ending) {
        finish(s);
        return;
    }
    if (s->wants_room && (s->failed.code || s->filling.len < PIECE)) {
        s->wants_room = false;
        if (s->options.on_room)
            s->options.on_room(s->options.arg);
    }
}

static void start(struct spool *s)
{
    struct buf full = s->filling;
    s->filling = s->writing;
    s->writing = full;
    s->busy = true;
    int failed = uv_queue_work(s->loop, &s->work, write_piece, written);
    assert(failed == 0); /* fails for a missing callback only */
    (void)failed;
}

enum err spool_push(struct spool *s, struct str bytes)
{
    assert(!s->ending);
    if (!s->busy && s->failed.code)
        return s->failed.code;
    if (bytes.n > PUSH_MAX || bytes.n > s->options.max - s->size)
        return ERR_FULL;
    buf_append_str(&s->filling, bytes);
    if (buf_status(&s->filling))
        return buf_status(&s->filling);
    s->size += bytes.n;
    if (!s->busy && s->filling.len >= PIECE)
        start(s);
    s->wants_room = s->busy && s->filling.len >= PIECE;
    return s->wants_room ? ERR_AGAIN : ERR_OK;
}

void spool_end(struct spool *s, spool_cb cb, void *arg)
{
    assert(!s->ending);
    s->ending = true;
    s->wants_room = false;
    s->cb = cb;
    s->cb_arg = arg;
    /* Also with nothing to write: the file has to exist, and the callback comes from the loop. */
    if (!s->busy)
        start(s);
}

uint64_t spool_size(const struct spool *s)
{
    return s->size;
}

const struct sha256 *spool_sha256(struct spool *s)
{
    assert(s->ended);
    return &s->sha256;
}

int spool_fd(const struct spool *s)
{
    assert(s->ended);
    return s->file.fd;
}

const struct spool_file *spool_file(const struct spool *s)
{
    assert(s->ended);
    return &s->file;
}

void spool_drop(struct spool *s)
{
    if (!s)
        return;
    s->dropped = true;
    if (!s->busy)
        spool_free(s);
}
