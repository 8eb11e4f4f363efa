/* SPDX-License-Identifier: Apache-2.0 */
/* Objects that a crash left: put, and named by nothing in Redis. For the archiver, as queue/archive.h is. What an object
   is, its key tells; one whose key is not of our making is nobody's to delete. */
#ifndef MILLRACE_QUEUE_ORPHAN_H
#define MILLRACE_QUEUE_ORPHAN_H

#include "queue/queue.h"

/* One archiver looks through the store at a time. QUEUE_OK: for `ms` it is the caller's turn; QUEUE_CONFLICT: another's. */
void orphan_turn(struct queue *q, int64_t ms, queue_done_cb cb, void *arg);
/* The turn ends in `ms`, because its work could not be done. */
void orphan_turn_over(struct queue *q, int64_t ms, queue_done_cb cb, void *arg);

/* Who this Redis is and since when. Older objects are not its own: it may have come in the place of another. */
typedef void (*orphan_store_cb)(void *arg, enum queue_answer answer, struct str epoch, int64_t created_ms);
void orphan_store(struct queue *q, orphan_store_cb cb, void *arg);

/* Who may name an object. Views of the key that was parsed. */
struct orphan_key {
    unsigned partition;
    struct str session, file; /* empty: a pack; no file */
    struct str name;          /* as the list of what will be deleted has it: a pack's id, or the key */
};
/* False: no object of ours, or of an installation with more partitions. */
bool orphan_key_parse(struct str key, unsigned partitions, struct orphan_key *ret_key);

/* QUEUE_OK: nothing named it, and in `grace_ms` it will be deleted. QUEUE_CONFLICT: it is named; QUEUE_DUP: it is among
   those that will be deleted, or a pack in use. */
void orphan_note(struct queue *q, const struct orphan_key *key, int64_t grace_ms, queue_done_cb cb,
                 void *arg);

#endif
