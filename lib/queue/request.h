/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that a client may cancel by an id of its own, at any api (PROTOCOL.md 4, Kr:). Nothing of a run that has none. */
#ifndef MILLRACE_QUEUE_REQUEST_H
#define MILLRACE_QUEUE_REQUEST_H

#include "queue/queue.h"

struct request_ref {
    struct str tenant, user;
    struct str id; /* the client's */
};

/* QUEUE_CONFLICT: the id is in use; QUEUE_FENCED: it was cancelled already; QUEUE_NOT_FOUND: it is somebody else's. */
void request_open(struct queue *q, const struct request_ref *ref, struct id job, queue_done_cb cb, void *arg);
/* The answer was given: nobody is told whether it worked, the record ends by itself. */
void request_close(struct queue *q, const struct request_ref *ref);
/* QUEUE_OK: it was open with `job`, or ("") is not known yet and will find itself cancelled. QUEUE_DUP: it has its answer.
   QUEUE_NOT_FOUND: somebody else's. */
typedef void (*request_cancel_cb)(void *arg, enum queue_answer answer, struct id job);
void request_cancel(struct queue *q, const struct request_ref *ref, request_cancel_cb cb, void *arg);

#endif
