/* SPDX-License-Identifier: Apache-2.0 */
/* The object store of a program, from its settings, with what is known of its health. `store` is for io/store/object_store.h. */
#ifndef MILLRACE_QUEUE_OBJECTS_H
#define MILLRACE_QUEUE_OBJECTS_H

#include "base/buf.h"
#include "io/store/object_store.h"
#include "schema/config.h"

struct objects {
    struct object_store *store;
    uv_timer_t timer; /* asks every ten seconds; does not keep the loop alive */
    bool asked, ok;
    char why[200]; /* "" when ok */
    void (*closed)(void *arg);
    void *arg;
};

/* Away is no failure here: it is told in the log and in objects_write_health(). */
MUST_CHECK enum err objects_open(struct objects *o, uv_loop_t *loop, const struct config *config,
                                 struct errinfo *info);
/* `closed` on the loop, when nothing is left on it. */
void objects_close(struct objects *o, void (*closed)(void *arg), void *arg);
/* {"store":"directory","ok":true,"why":null} */
void objects_write_health(const struct objects *o, struct buf *out);

#endif
