/* SPDX-License-Identifier: Apache-2.0 */
/* Joins what a program writes into output events: pure, time comes in. The first output waits at most 2 ms
   for the end to come along and then goes alone; after that at most one append each 20 ms unless 16 KiB are there.
   Where nobody reads before the end, both are 100 ms, and the first 16 KiB go at once too. Order is kept; bytes of one stream that follow each other become one event of at most 16 KiB. A
   UTF-8 character is never cut between two events of a stream. */
#ifndef MILLRACE_WORKER_COALESCE_H
#define MILLRACE_WORKER_COALESCE_H

#include "base/utf8.h"
#include "schema/event.h"
#include "worker/backend.h"

enum {
    COALESCE_EVENT_MAX = 16 << 10,
    COALESCE_HIGH = 128 << 10, /* pending bytes from which the pod is read no further */
    COALESCE_BYTES_MAX = COALESCE_HIGH + FRAME_PAYLOAD_MAX + 16,
    COALESCE_EVENTS_MAX = 64,
    /* One more frame may come after coalesce_full() was false. */
    COALESCE_EVENTS_HIGH = COALESCE_EVENTS_MAX - FRAME_PAYLOAD_MAX / COALESCE_EVENT_MAX - 4,
};
#define COALESCE_FIRST_NS (2LL * 1000 * 1000)
#define COALESCE_NEXT_NS  (20LL * 1000 * 1000)
#define COALESCE_END_NS   (100LL * 1000 * 1000)

struct coalesce_batch {
    struct buf bytes;
    struct {
        enum pod_stream stream;
        uint32_t length;
    } events[COALESCE_EVENTS_MAX];
    size_t count;
};

struct coalescer {
    struct coalesce_batch pending;
    struct utf8_carry carry[POD_STREAMS];
    uint64_t total[POD_STREAMS]; /* bytes that came in */
    int64_t first_ns;            /* when the oldest pending byte came */
    int64_t sent_ns;             /* when a batch was last taken; 0 = never */
    bool at_end;                 /* set by the owner: nobody reads before the end */
};

void coalesce_init(struct coalescer *c);
void coalesce_free(struct coalescer *c);
/* At most FRAME_PAYLOAD_MAX bytes, and only while coalesce_full() is false. ERR_NOMEM, ERR_FULL. */
MUST_CHECK enum err coalesce_add(struct coalescer *c, enum pod_stream stream, struct str bytes,
                                 int64_t now_ns);
/* No more comes: what is left of cut characters goes out as it is. */
MUST_CHECK enum err coalesce_end(struct coalescer *c);

bool coalesce_empty(const struct coalescer *c);
bool coalesce_full(const struct coalescer *c);
/* Nanoseconds until the pending output is due: 0 = now, -1 = nothing is pending. */
int64_t coalesce_wait_ns(const struct coalescer *c, int64_t now_ns);

/* Moves what is pending into `batch` (which must be empty; its memory is exchanged). */
void coalesce_take(struct coalescer *c, struct coalesce_batch *batch, int64_t now_ns);
/* One draft for each event; they borrow from the batch. `drafts` has room for COALESCE_EVENTS_MAX. */
size_t coalesce_drafts(const struct coalesce_batch *batch, struct event_draft *drafts);

void coalesce_batch_init(struct coalesce_batch *batch);
void coalesce_batch_reset(struct coalesce_batch *batch);
void coalesce_batch_free(struct coalesce_batch *batch);

#endif
