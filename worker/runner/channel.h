/* SPDX-License-Identifier: Apache-2.0 */
/* The runner's end of the control socket: frames in, frames out, neither ever blocking. At most one chunk of
   output waits to be sent; while it does the program's pipes are not read, so the program blocks in its write. */
#ifndef MILLRACE_WORKER_RUNNER_CHANNEL_H
#define MILLRACE_WORKER_RUNNER_CHANNEL_H

#include "worker/frame.h"

enum {
    CHANNEL_CHUNK_MAX = FRAME_PAYLOAD_MAX,
    CHANNEL_SMALL_MAX = 2048, /* room for the short frames of one run, behind a full chunk */
};

struct channel {
    int fd;
    int passed; /* a descriptor that came and was not taken; -1 */
    bool full;  /* the last flush left something: the socket took no more */
    size_t in_len, out_at, out_len;
    char in[FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX];
    char out[FRAME_HEADER_SIZE + CHANNEL_CHUNK_MAX + CHANNEL_SMALL_MAX];
};

bool channel_idle(const struct channel *c); /* nothing waits to be sent */
/* Send what can be sent now. ERR_CLOSED when the worker is gone. */
MUST_CHECK enum err channel_flush(struct channel *c);
/* Send what the turn has queued, but not what waits for POLLOUT: that wakes up who had more to send and stopped at a full socket; sent from here, it
   would not, and nobody would go on. */
MUST_CHECK enum err channel_end_turn(struct channel *c);
/* Queue a short frame; it goes with the next flush. ERR_FULL cannot happen in a run's sequence of frames; it ends the pod. */
MUST_CHECK enum err channel_queue(struct channel *c, enum frame_type type, const void *payload,
                                  size_t length);
/* The same, and flush. */
MUST_CHECK enum err channel_put(struct channel *c, enum frame_type type, const void *payload, size_t length);
/* How long a chunk may be now, behind what is queued. 0: flush first, and then wait until channel_idle(). */
size_t channel_room(const struct channel *c);
/* Where a chunk may be read to: channel_room() bytes, which are CHANNEL_CHUNK_MAX when channel_idle(). */
char *channel_chunk(struct channel *c);
/* Queue the chunk that is there; it goes with the next flush. */
void channel_queue_chunk(struct channel *c, enum frame_type type, size_t length);
/* The same, and flush. */
MUST_CHECK enum err channel_put_chunk(struct channel *c, enum frame_type type, size_t length);
/* Read what has come. ERR_CLOSED, or ERR_AGAIN when there was nothing. */
MUST_CHECK enum err channel_fill(struct channel *c);
/* The descriptor that came last, which is the caller's now; -1: none. */
int channel_take_passed(struct channel *c);
/* The next whole frame, valid until the next call. ERR_AGAIN, ERR_PROTOCOL. */
MUST_CHECK enum err channel_next(struct channel *c, struct frame *ret_frame, size_t *ret_used);
void channel_drop(struct channel *c, size_t used);

#endif
