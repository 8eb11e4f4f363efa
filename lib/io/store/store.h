/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the object store: what object_store.c and the kinds of store share. */
#ifndef MILLRACE_IO_STORE_STORE_H
#define MILLRACE_IO_STORE_STORE_H

#include "base/list.h"
#include "io/store/fs.h"
#include "io/store/object_store.h"

struct object_op_ops {
    void (*cancel)(struct object_op *op); /* it is off its store's list already */
    void (*pause)(struct object_op *op);  /* NULL: no get */
    void (*resume)(struct object_op *op);
};

/* The head of every operation. */
struct object_op {
    const struct object_op_ops *ops;
    struct object_store *store;
    struct list link; /* store->under_way, until it ended or was cancelled */
    object_cb done;
    void *arg;
};

/* Options are checked already; those with `ret_op` set it before anything else can happen. Ownership of `source` passes
   with ERR_OK. */
struct store_ops {
    const char *name;
    enum err (*put)(struct object_store *store, const char *key, struct store_source *source, bool if_absent,
                    object_cb cb, void *arg, struct object_op **ret_op);
    enum err (*get)(struct object_store *store, const struct object_get *get, object_cb cb, void *arg,
                    struct object_op **ret_op);
    enum err (*head)(struct object_store *store, const char *key, object_cb cb, void *arg,
                     struct object_op **ret_op);
    enum err (*remove)(struct object_store *store, const char *key, object_cb cb, void *arg,
                       struct object_op **ret_op);
    enum err (*list)(struct object_store *store, const char *prefix, const char *cursor, unsigned limit,
                     object_cb cb, void *arg, struct object_op **ret_op);
    enum err (*check)(struct object_store *store, object_cb cb, void *arg, struct object_op **ret_op);
    enum err (*sweep)(struct object_store *store, const char *prefix, int64_t before_ms, object_cb cb,
                      void *arg, struct object_op **ret_op);
    bool (*can_put_if_absent)(struct object_store *store);
    void (*close)(struct object_store *store); /* nothing is under way: free it, then call store->closed */
};

struct object_store {
    const struct store_ops *ops;
    uv_loop_t *loop;
    struct list under_way;
    unsigned held; /* by work that still runs on the pool or the network */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
    char *spool_folder;
    bool spool_named;
    void (*spool_prepare)(void *arg);
    void *spool_prepare_arg;
};

MUST_CHECK enum err store_dir_open(uv_loop_t *loop, const struct object_store_options *options,
                                   struct object_store **ret_store, struct errinfo *info);

MUST_CHECK enum err store_s3_open(uv_loop_t *loop, const struct object_store_options *options,
                                  struct object_store **ret_store, struct errinfo *info);

void store_init(struct object_store *store, const struct store_ops *ops, uv_loop_t *loop);
/* Something of the store is or is no longer busy outside of the loop's callbacks; the last one closes it. */
void store_hold(struct object_store *store);
void store_let_go(struct object_store *store);
void store_spool_gone(void *store); /* store_let_go(), for a spool */

void store_op_begin(struct object_op *op, const struct object_op_ops *ops, struct object_store *store,
                    object_cb done, void *arg);
/* Off the list; the caller frees the operation. */
void store_op_end(struct object_op *op);

#endif
