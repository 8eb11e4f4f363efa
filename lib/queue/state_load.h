/* SPDX-License-Identifier: Apache-2.0 */
/* A stored state, checked: its seal, and its blob from the store or from an object. */
#ifndef MILLRACE_QUEUE_STATE_LOAD_H
#define MILLRACE_QUEUE_STATE_LOAD_H

#include "io/state_blob.h"
#include "io/store/object_store.h"
#include "queue/state.h"

/* Is view->of a version of this session, sealed by us; and, when its blob lies in the store, is view->blob the sealed one?
   NULL: good; else why not, one line. */
MUST_CHECK const char *state_open(const struct state_keys *keys, struct str tenant, struct id session,
                                  const struct state_view *view, struct state_seal *ret_seal);
bool state_is_object(const struct state_view *view);

/* Reads the object of a state that was opened. The callback comes once, unless it is cancelled, and may keep what is in `blob`
   (leave BUF_INIT(0)), which is the sealed one with ERR_OK; ERR_CORRUPT says that it is not, ERR_NOT_FOUND that there is none. NULL: no memory, or no such object can be. */
struct state_load;
typedef void (*state_load_cb)(void *arg, enum err e, struct buf *blob);
struct state_load *state_load(struct object_store *store, struct str place, const struct state_seal *seal,
                              size_t max, state_load_cb cb, void *arg);
void state_load_cancel(struct state_load *load); /* NULL is fine */

/* Writes a blob whose hash is known, once, under a name of its own. `blob` may go when this has returned. */
MUST_CHECK enum err state_store(struct object_store *store, struct str place, struct str blob,
                                const struct sha256 *hash, object_cb cb, void *arg,
                                struct object_op **ret_op);

/* The name of the object of a state that `job`'s attempt makes, or (without a job) an upload or fork: nobody else writes it. */
MUST_CHECK enum err state_object_name(struct str tenant, struct id session, struct str maker,
                                      struct buf *out);

#endif
