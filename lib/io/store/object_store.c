/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store/object_store.h"

#include "io/store/spool_file.h"
#include "io/store/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- keys ---- */

/* What a key may begin with; or "". */
static bool prefix_valid(const char *prefix)
{
    size_t n = strlen(prefix);
    if (n == 0 || n > OBJECT_KEY_MAX)
        return n == 0;
    return object_key_valid((struct str){.p = prefix, .n = prefix[n - 1] == '/' ? n - 1 : n});
}

/* ---- the life of a store ---- */

void store_init(struct object_store *store, const struct store_ops *ops, uv_loop_t *loop)
{
    store->ops = ops;
    store->loop = loop;
    store->held = 1; /* until object_store_close() */
    list_init(&store->under_way);
}

void store_hold(struct object_store *store)
{
    store->held++;
}

void store_let_go(struct object_store *store)
{
    assert(store->held > 0);
    if (--store->held > 0)
        return;
    free(store->spool_folder);
    store->ops->close(store);
}

void store_spool_gone(void *store)
{
    store_let_go(store);
}

/* `closed` comes from the loop also when nothing is under way. */
static void later(uv_handle_t *handle)
{
    struct object_store *store = handle->data;
    free(handle);
    store_let_go(store);
}

void object_store_close(struct object_store *store, void (*closed)(void *arg), void *arg)
{
    store->closing = true;
    store->closed = closed;
    store->closed_arg = arg;
    while (!list_empty(&store->under_way))
        object_op_cancel(list_first(&store->under_way, struct object_op, link));
    uv_idle_t *idle = calloc(1, sizeof *idle);
    if (!idle)
        abort(); /* a few bytes at the end of the program: nothing sensible is left to do */
    uv_idle_init(store->loop, idle);
    idle->data = store;
    uv_close((uv_handle_t *)idle, later);
}

const char *object_store_name(const struct object_store *store)
{
    return store->ops->name;
}

bool object_store_can_put_if_absent(struct object_store *store)
{
    return store->ops->can_put_if_absent(store);
}

/* ---- operations ---- */

void store_op_begin(struct object_op *op, const struct object_op_ops *ops, struct object_store *store,
                    object_cb done, void *arg)
{
    *op = (struct object_op){.ops = ops, .store = store, .done = done, .arg = arg};
    list_append(&store->under_way, &op->link);
}

void store_op_end(struct object_op *op)
{
    list_remove(&op->link);
}

void object_op_cancel(struct object_op *op)
{
    list_remove(&op->link);
    op->ops->cancel(op);
}

void object_get_pause(struct object_op *op)
{
    op->ops->pause(op);
}

void object_get_resume(struct object_op *op)
{
    op->ops->resume(op);
}

enum err object_spool(struct object_store *store, uint64_t max, void (*on_room)(void *arg), void *arg,
                      struct spool **ret_spool)
{
    struct spool_options options = {
        .folder = store->spool_folder,
        .max = max,
        .named = store->spool_named,
        .prepare = store->spool_prepare,
        .prepare_arg = store->spool_prepare_arg,
        .on_room = on_room,
        .arg = arg,
        .gone = store_spool_gone,
        .gone_arg = store,
    };
    enum err e = spool_open(store->loop, &options, ret_spool);
    if (!e)
        store_hold(store);
    return e;
}

static enum err source_of_spool(struct spool *spool, struct store_source *source)
{
    const struct spool_file *file = spool_file(spool);
    source->fd = spool_file_dup(file->fd);
    source->size = spool_size(spool);
    source->sha256 = *spool_sha256(spool);
    source->has_sha256 = true;
    source->linkable = true;
    memcpy(source->name, file->name, sizeof source->name);
    return source->fd < 0 ? ERR_NOMEM : ERR_OK;
}

static enum err source_of_bytes(struct str bytes, struct store_source *source)
{
    if (bytes.n > OBJECT_PUT_BYTES_MAX)
        return ERR_INVALID;
    source->size = bytes.n;
    source->bytes = malloc(bytes.n + 1);
    if (source->bytes && bytes.n)
        memcpy(source->bytes, bytes.p, bytes.n);
    return source->bytes ? ERR_OK : ERR_NOMEM;
}

static enum err source_of_fd(const struct object_put *put, struct store_source *source)
{
    source->fd = spool_file_dup(put->fd);
    source->from = put->from;
    source->size = put->size;
    return source->fd < 0 ? ERR_INVALID : ERR_OK;
}

static enum err make_source(const struct object_put *put, struct store_source *source)
{
    *source = (struct store_source){.fd = -1};
    enum err e = put->spool    ? source_of_spool(put->spool, source)
                 : put->has_fd ? source_of_fd(put, source)
                               : source_of_bytes(put->bytes, source);
    if (e || !put->sha256)
        return e;
    if (put->spool)
        return memcmp(source->sha256.bytes, put->sha256->bytes, SHA256_LEN) ? ERR_CORRUPT : ERR_OK;
    source->check = source->has_sha256 = true;
    source->sha256 = *put->sha256;
    return ERR_OK;
}

enum err object_put(struct object_store *store, const struct object_put *put, object_cb cb, void *arg,
                    struct object_op **ret_op)
{
    struct object_op *op;
    struct store_source source;
    if (!object_key_valid(str_of(put->key)))
        return ERR_INVALID;
    enum err e = make_source(put, &source);
    e = e ? e : store->ops->put(store, put->key, &source, put->if_absent, cb, arg, ret_op ? ret_op : &op);
    if (e)
        store_source_release(&source);
    return e;
}

enum err object_get(struct object_store *store, const struct object_get *get, object_cb done, void *arg,
                    struct object_op **ret_op)
{
    struct object_op *op;
    if (!object_key_valid(str_of(get->key)) || (get->sha256 && (get->from || get->length)) ||
        get->from > INT64_MAX || get->length > INT64_MAX)
        return ERR_INVALID;
    return store->ops->get(store, get, done, arg, ret_op ? ret_op : &op);
}

enum err object_head(struct object_store *store, const char *key, object_cb cb, void *arg,
                     struct object_op **ret_op)
{
    struct object_op *op;
    return object_key_valid(str_of(key)) ? store->ops->head(store, key, cb, arg, ret_op ? ret_op : &op)
                                         : ERR_INVALID;
}

enum err object_delete(struct object_store *store, const char *key, object_cb cb, void *arg,
                       struct object_op **ret_op)
{
    struct object_op *op;
    return object_key_valid(str_of(key)) ? store->ops->remove(store, key, cb, arg, ret_op ? ret_op : &op)
                                         : ERR_INVALID;
}

enum err object_list(struct object_store *store, const char *prefix, const char *cursor, unsigned limit,
                     object_cb cb, void *arg, struct object_op **ret_op)
{
    struct object_op *op;
    cursor = cursor ? cursor : "";
    if (!prefix_valid(prefix) || (cursor[0] != '\0' && !object_key_valid(str_of(cursor))) || limit < 1 ||
        limit > OBJECT_LIST_MAX)
        return ERR_INVALID;
    return store->ops->list(store, prefix, cursor, limit, cb, arg, ret_op ? ret_op : &op);
}

enum err object_sweep(struct object_store *store, const char *prefix, int64_t before_ms, object_cb cb,
                      void *arg, struct object_op **ret_op)
{
    struct object_op *op;
    return !prefix_valid(prefix)
               ? ERR_INVALID
               : store->ops->sweep(store, prefix, before_ms, cb, arg, ret_op ? ret_op : &op);
}

enum err object_check(struct object_store *store, object_cb cb, void *arg, struct object_op **ret_op)
{
    struct object_op *op;
    return store->ops->check(store, cb, arg, ret_op ? ret_op : &op);
}
