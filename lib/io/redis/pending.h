/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of one connection that wait for their reply, in the order in which they were sent. */
#ifndef MILLRACE_IO_REDIS_PENDING_H
#define MILLRACE_IO_REDIS_PENDING_H

#include "io/redis/redis.h"

struct redis_waiter {
    redis_cb cb; /* or NULL */
    void *arg;
    uint64_t deadline; /* by uv_now */
};

/* A ring that grows up to REDIS_PENDING_MOST; all zero is an empty one. */
struct redis_pending {
    struct redis_waiter *ring;
    size_t first, count, cap;
};

enum { REDIS_PENDING_MOST = 1 << 16 };

/* ERR_FULL, ERR_NOMEM. */
MUST_CHECK enum err redis_pending_push(struct redis_pending *p, struct redis_waiter waiter);
void redis_pending_take_back(struct redis_pending *p); /* the one just pushed */

/* Only while `count` is above 0. */
struct redis_waiter *redis_pending_oldest(const struct redis_pending *p);
struct redis_waiter redis_pending_pop(struct redis_pending *p);

void redis_pending_free(struct redis_pending *p);

#endif
