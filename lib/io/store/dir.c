/* SPDX-License-Identifier: Apache-2.0 */
/* The object store in a directory: each operation is one piece of work for uv's thread pool, a get one for each piece
   of the object. */
#include "io/store/spool_file.h"
#include "io/store/store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 128 << 10 };

struct dir_store {
    struct object_store base;
    struct store_fs fs;
};

/* While `working` everything but `cancelled`, `paused` and `base` belongs to the pool. */
struct dir_op {
    struct object_op base;
    uv_work_t work;
    void (*run)(struct dir_op *op); /* on the pool */
    bool working, cancelled, in_data;
    enum err e;
    struct errinfo info;
    struct object_meta meta;
    char key[OBJECT_KEY_MAX + 1];
    /* put */
    struct store_source source;
    bool if_absent;
    /* list */
    char cursor[OBJECT_KEY_MAX + 1];
    unsigned limit;
    struct store_page page;
    /* get */
    struct object_get get;
    struct sha256 wanted;
    struct sha256_state *hash;
    bool begun, paused, undelivered;
    uint64_t at, end; /* of the object, not of the range */
    char *piece;
    size_t piece_len;
};

static struct store_fs *fs_of(const struct dir_op *op)
{
    return &container_of(op->base.store, struct dir_store, base)->fs;
}

static void op_free(struct dir_op *op)
{
    struct object_store *store = op->base.store;
    store_source_release(&op->source);
    store_page_release(&op->page);
    sha256_drop(op->hash);
    free(op->piece);
    free(op);
    store_let_go(store);
}

static void finish(struct dir_op *op)
{
    struct object_page page = {.entries = op->page.entries,
                               .count = op->page.count,
                               .next = op->page.next[0] ? op->page.next : NULL};
    struct object_result result = {
        .e = op->e,
        .why = op->e ? (op->info.text[0] ? op->info.text : err_text(op->e)) : NULL,
        .meta = op->meta,
        .page = &page,
    };
    store_op_end(&op->base);
    op->base.done(op->base.arg, &result);
    op_free(op);
}

static void work(uv_work_t *request)
{
    struct dir_op *op = request->data;
    op->run(op);
}

static void get_deliver(struct dir_op *op);

static void worked(uv_work_t *request, int status)
{
    struct dir_op *op = request->data;
    (void)status; /* never cancelled by uv */
    op->working = false;
    if (op->cancelled)
        op_free(op);
    else if (op->piece)
        get_deliver(op);
    else
        finish(op);
}

static void start(struct dir_op *op)
{
    op->working = true;
    int failed = uv_queue_work(op->base.store->loop, &op->work, work, worked);
    assert(failed == 0); /* fails for a missing callback only */
    (void)failed;
}

static void op_cancel(struct object_op *base)
{
    struct dir_op *op = container_of(base, struct dir_op, base);
    op->cancelled = true;
    if (!op->working && !op->in_data)
        op_free(op);
}

static void get_pause(struct object_op *base)
{
    container_of(base, struct dir_op, base)->paused = true;
}

static void get_resume(struct object_op *base)
{
    struct dir_op *op = container_of(base, struct dir_op, base);
    bool was = op->paused;
    op->paused = false;
    if (was && !op->working && !op->in_data)
        start(op);
}

static enum err op_new(struct object_store *store, const char *key, void (*run)(struct dir_op *op),
                       object_cb cb, void *arg, struct object_op **ret_op)
{
    static const struct object_op_ops ops = {.cancel = op_cancel, .pause = get_pause, .resume = get_resume};
    struct dir_op *op = calloc(1, sizeof *op);
    if (!op)
        return ERR_NOMEM;
    store_op_begin(&op->base, &ops, store, cb, arg);
    store_hold(store);
    op->work.data = op;
    op->run = run;
    op->source.fd = -1;
    snprintf(op->key, sizeof op->key, "%s", key);
    *ret_op = &op->base;
    return ERR_OK;
}

static struct dir_op *dir_op(struct object_op *op)
{
    return container_of(op, struct dir_op, base);
}

/* ---- what runs on the pool ---- */

static void run_put(struct dir_op *op)
{
    op->e = store_fs_put(fs_of(op), op->key, &op->source, op->if_absent, &op->info);
    op->meta.size = op->source.size;
}

static void run_head(struct dir_op *op)
{
    int fd = -1;
    op->e = store_fs_get(fs_of(op), op->key, &fd, &op->meta, &op->info);
    if (!op->e)
        close(fd);
}

static void run_delete(struct dir_op *op)
{
    op->e = store_fs_delete(fs_of(op), op->key, &op->info);
}

static void run_list(struct dir_op *op)
{
    op->e = store_fs_list(fs_of(op), op->key, op->cursor, op->limit, &op->page, &op->info);
}

static void run_sweep(struct dir_op *op)
{
    op->e = store_fs_prepare(fs_of(op), &op->info);
    if (!op->e)
        spool_folder_sweep(fs_of(op)->tmp_fd);
}

static void run_check(struct dir_op *op)
{
    op->e = store_fs_check(fs_of(op), &op->info);
}

/* The first piece of work of a get also opens the object. */
static void open_object(struct dir_op *op)
{
    op->e = store_fs_get(fs_of(op), op->key, &op->source.fd, &op->meta, &op->info);
    if (op->e)
        return;
    uint64_t size = op->meta.size, length = op->get.length;
    if (op->get.from > size) {
        op->e = errinfo_set(&op->info, ERR_RANGE, 0, "the object ends before what was asked for");
        return;
    }
    op->source.size = size;
    op->at = op->get.from;
    op->end = length && length < size - op->at ? op->at + length : size;
}

static void run_get(struct dir_op *op)
{
    if (op->undelivered)
        return;
    if (op->source.fd < 0)
        open_object(op);
    if (op->e)
        return;
    op->piece_len = op->end - op->at < PIECE ? (size_t)(op->end - op->at) : PIECE;
    op->e = store_source_read(&op->source, op->at, op->piece, op->piece_len, &op->info);
    op->at += op->piece_len;
    if (!op->hash)
        return;
    sha256_add(op->hash, (struct str){.p = op->piece, .n = op->piece_len});
    if (op->e || op->at < op->end)
        return;
    struct sha256 got = sha256_end(op->hash);
    op->hash = NULL;
    if (memcmp(got.bytes, op->wanted.bytes, SHA256_LEN))
        op->e = errinfo_set(&op->info, ERR_CORRUPT, 0, "the object has another SHA-256 than it should have");
}

/* ---- get, on the loop ---- */

/* Paused meanwhile: what was read waits; the resume takes the way over the pool, where nothing is done. */
static bool get_holds(struct dir_op *op)
{
    op->undelivered = op->paused && !op->cancelled;
    return op->undelivered;
}

static void get_tell(struct dir_op *op)
{
    op->in_data = true;
    bool first = !op->begun;
    op->begun = true;
    if (first && op->get.begin)
        op->get.begin(op->base.arg, &op->meta);
    if (!op->cancelled && !get_holds(op) && op->piece_len > 0)
        op->get.data(op->base.arg, (struct str){.p = op->piece, .n = op->piece_len});
    op->in_data = false;
}

static void get_deliver(struct dir_op *op)
{
    if (get_holds(op))
        return;
    if (op->e) {
        finish(op);
        return;
    }
    get_tell(op);
    if (op->cancelled)
        op_free(op);
    else if (op->paused)
        return;
    else if (op->at < op->end)
        start(op);
    else
        finish(op);
}

/* ---- the operations ---- */

static enum err dir_put(struct object_store *store, const char *key, struct store_source *source,
                        bool if_absent, object_cb cb, void *arg, struct object_op **ret_op)
{
    enum err e = op_new(store, key, run_put, cb, arg, ret_op);
    if (e)
        return e;
    struct dir_op *op = dir_op(*ret_op);
    op->source = *source;
    op->if_absent = if_absent;
    start(op);
    return ERR_OK;
}

static enum err dir_get(struct object_store *store, const struct object_get *get, object_cb cb, void *arg,
                        struct object_op **ret_op)
{
    enum err e = op_new(store, get->key, run_get, cb, arg, ret_op);
    if (e)
        return e;
    struct dir_op *op = dir_op(*ret_op);
    op->get = *get;
    op->get.key = NULL;
    op->get.sha256 = NULL;
    if (get->sha256) {
        op->wanted = *get->sha256;
        op->hash = sha256_begin();
    }
    op->piece = malloc(PIECE);
    if (!op->piece) {
        store_op_end(&op->base);
        op_free(op);
        return ERR_NOMEM;
    }
    start(op);
    return ERR_OK;
}

static enum err start_new(struct object_store *store, const char *key, void (*run)(struct dir_op *op),
                          object_cb cb, void *arg, struct object_op **ret_op)
{
    enum err e = op_new(store, key, run, cb, arg, ret_op);
    if (!e)
        start(dir_op(*ret_op));
    return e;
}

static enum err dir_head(struct object_store *store, const char *key, object_cb cb, void *arg,
                         struct object_op **ret_op)
{
    return start_new(store, key, run_head, cb, arg, ret_op);
}

static enum err dir_remove(struct object_store *store, const char *key, object_cb cb, void *arg,
                           struct object_op **ret_op)
{
    return start_new(store, key, run_delete, cb, arg, ret_op);
}

static enum err dir_check(struct object_store *store, object_cb cb, void *arg, struct object_op **ret_op)
{
    return start_new(store, "", run_check, cb, arg, ret_op);
}

static enum err dir_sweep(struct object_store *store, const char *prefix, int64_t before_ms, object_cb cb,
                          void *arg, struct object_op **ret_op)
{
    (void)prefix;
    (void)before_ms; /* a lock tells who lives */
    return start_new(store, "", run_sweep, cb, arg, ret_op);
}

static enum err dir_list(struct object_store *store, const char *prefix, const char *cursor, unsigned limit,
                         object_cb cb, void *arg, struct object_op **ret_op)
{
    enum err e = op_new(store, prefix, run_list, cb, arg, ret_op);
    if (e)
        return e;
    struct dir_op *op = dir_op(*ret_op);
    snprintf(op->cursor, sizeof op->cursor, "%s", cursor);
    op->limit = limit;
    start(op);
    return ERR_OK;
}

static bool dir_can_put_if_absent(struct object_store *store)
{
    (void)store;
    return true;
}

static void dir_close(struct object_store *store)
{
    struct dir_store *d = container_of(store, struct dir_store, base);
    void (*closed)(void *arg) = store->closed;
    void *arg = store->closed_arg;
    store_fs_close(&d->fs);
    free(d);
    if (closed)
        closed(arg);
}

static void prepare_spool(void *arg)
{
    struct errinfo info = {0};
    struct store_fs *fs = arg;
    enum err e = store_fs_prepare(fs, &info);
    (void)e; /* then the spool cannot be opened either, and says so */
}

enum err store_dir_open(uv_loop_t *loop, const struct object_store_options *options,
                        struct object_store **ret_store, struct errinfo *info)
{
    static const struct store_ops ops = {
        .name = "directory",
        .put = dir_put,
        .get = dir_get,
        .head = dir_head,
        .remove = dir_remove,
        .list = dir_list,
        .check = dir_check,
        .sweep = dir_sweep,
        .can_put_if_absent = dir_can_put_if_absent,
        .close = dir_close,
    };
    if (!options->path || options->path[0] != '/')
        return errinfo_set(info, ERR_INVALID, 0, "the folder of the object store must be an absolute path");
    struct dir_store *d = calloc(1, sizeof *d);
    size_t n = strlen(options->path) + sizeof "/.tmp";
    char *spools = d ? malloc(n) : NULL;
    if (!spools || store_fs_open(&d->fs, options->path, options->no_tmpfile)) {
        free(spools);
        free(d);
        return errinfo_set(info, ERR_NOMEM, 0, "out of memory");
    }
    snprintf(spools, n, "%s/.tmp", options->path);
    store_init(&d->base, &ops, loop);
    d->base.spool_folder = spools;
    d->base.spool_named = options->no_tmpfile;
    d->base.spool_prepare = prepare_spool;
    d->base.spool_prepare_arg = &d->fs;
    *ret_store = &d->base;
    return ERR_OK;
}
