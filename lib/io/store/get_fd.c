/* SPDX-License-Identifier: Apache-2.0 */
/* A get of any store into a descriptor: its pieces go through a spool, which writes on the thread pool. */
#include "io/store/store.h"

#include <stdlib.h>

struct get_fd {
    struct object_op base;
    struct object_op *get; /* NULL when it has ended */
    struct spool *spool;
    struct object_meta meta;
};

static void release(struct get_fd *g)
{
    spool_drop(g->spool);
    free(g);
}

static void cancel(struct object_op *op)
{
    struct get_fd *g = container_of(op, struct get_fd, base);
    if (g->get)
        object_op_cancel(g->get);
    release(g);
}

static void tell(struct get_fd *g, enum err e, const char *why)
{
    struct object_result result = {.e = e, .why = why, .meta = g->meta};
    store_op_end(&g->base);
    g->base.done(g->base.arg, &result);
    release(g);
}

static void on_written(void *arg, enum err e, const char *why)
{
    tell(arg, e, why);
}

static void on_data(void *arg, struct str bytes)
{
    struct get_fd *g = arg;
    enum err e = spool_push(g->spool, bytes);
    if (e == ERR_AGAIN)
        object_get_pause(g->get);
    if (e == ERR_OK || e == ERR_AGAIN)
        return;
    /* The descriptor takes no more; the end of the spool tells why. */
    object_op_cancel(g->get);
    g->get = NULL;
    spool_end(g->spool, on_written, g);
}

static void on_room(void *arg)
{
    struct get_fd *g = arg;
    if (g->get)
        object_get_resume(g->get);
}

static void on_got(void *arg, const struct object_result *result)
{
    struct get_fd *g = arg;
    g->get = NULL;
    g->meta = result->meta;
    if (result->e)
        tell(g, result->e, result->why);
    else
        spool_end(g->spool, on_written, g);
}

enum err object_get_to_fd(struct object_store *store, const struct object_get *get, int fd, object_cb done,
                          void *arg, struct object_op **ret_op)
{
    static const struct object_op_ops ops = {.cancel = cancel};
    struct get_fd *g = calloc(1, sizeof *g);
    if (!g)
        return ERR_NOMEM;
    struct spool_options options = {.fd = fd,
                                    .has_fd = true,
                                    .max = UINT64_MAX,
                                    .on_room = on_room,
                                    .arg = g,
                                    .gone = store_spool_gone,
                                    .gone_arg = store};
    struct object_get inner = *get;
    inner.begin = NULL;
    inner.data = on_data;
    enum err e = spool_open(store->loop, &options, &g->spool);
    if (!e)
        store_hold(store);
    e = e ? e : object_get(store, &inner, on_got, g, &g->get);
    if (e) {
        release(g);
        return e;
    }
    list_remove(&g->get->link); /* it is ours to cancel */
    store_op_begin(&g->base, &ops, store, done, arg);
    if (ret_op)
        *ret_op = &g->base;
    return ERR_OK;
}
