/* SPDX-License-Identifier: Apache-2.0 */
/* What the other workers can make pods of, by what they offer: a job that has none here is for them. Pure. */
#ifndef MILLRACE_WORKER_OTHERS_H
#define MILLRACE_WORKER_OTHERS_H

#include "queue/queue.h"
#include "worker/pool.h"

/* Bits by the place in `stats`: the kinds of which another worker than `self` has pods, or knows no reason why not. */
uint32_t others_can(const struct queue_offered *list, size_t count, struct str self,
                    const struct pool_stats *stats, size_t n);

#endif
