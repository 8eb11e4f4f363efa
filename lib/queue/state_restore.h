/* SPDX-License-Identifier: Apache-2.0 */
/* A version of a state that was archived comes back to Redis, because somebody asks for it. */
#ifndef MILLRACE_QUEUE_STATE_RESTORE_H
#define MILLRACE_QUEUE_STATE_RESTORE_H

#include "queue/queue.h"

/* RESTORED: read it again (another may have been quicker, or changed it). AWAY: the object store or Redis cannot be reached.
   LOST: the object is not there, or not what was put. */
enum state_restored { STATE_RESTORED, STATE_AWAY, STATE_LOST };
typedef void (*state_restore_cb)(void *arg, enum state_restored restored);
/* `record`: as state_read() found it; `place`: its object. May call back before it returns. */
void state_restore(struct queue *q, struct id session, struct str version, struct str record,
                   struct str place, state_restore_cb cb, void *arg);

#endif
