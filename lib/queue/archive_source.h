/* SPDX-License-Identifier: Apache-2.0 */
/* The events of an archived log, in order, from the object store; each only after its block's hash was checked. */
#ifndef MILLRACE_QUEUE_ARCHIVE_SOURCE_H
#define MILLRACE_QUEUE_ARCHIVE_SOURCE_H

#include "queue/archive.h"

struct archive_source;

/* Nothing follows SOURCE_END (the whole record was told and is the one that the place names) and SOURCE_FAILED (the
   store is away, or what it gave is not the record: that is logged). */
enum source_state { SOURCE_EVENT, SOURCE_END, SOURCE_FAILED };
typedef void (*archive_source_cb)(void *arg, enum source_state state, const struct event *event);

/* NULL: there is no object store, or no memory. */
struct archive_source *archive_source_open(struct queue *q, struct id job, const struct archive_place *place,
                                           archive_source_cb cb, void *arg);
/* Inside the callback too; nothing more is told until resume, from which it may be told at once. */
void archive_source_pause(struct archive_source *s);
void archive_source_resume(struct archive_source *s);
void archive_source_close(struct archive_source *s); /* inside the callback too; NULL is fine */

#endif
