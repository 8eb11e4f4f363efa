/* SPDX-License-Identifier: Apache-2.0 */
#include "io/redis/pending.h"

#include <stdlib.h>

static struct redis_waiter *at(const struct redis_pending *p, size_t i)
{
    return &p->ring[(p->first + i) % p->cap];
}

static enum err grow(struct redis_pending *p)
{
    size_t cap = p->cap ? p->cap * 2 : 64;
    struct redis_waiter *ring = calloc(cap, sizeof *ring);
    if (!ring)
        return ERR_NOMEM;
    for (size_t i = 0; i < p->count; i++)
        ring[i] = *at(p, i);
    free(p->ring);
    *p = (struct redis_pending){.ring = ring, .count = p->count, .cap = cap};
    return ERR_OK;
}

enum err redis_pending_push(struct redis_pending *p, struct redis_waiter waiter)
{
    if (p->count == REDIS_PENDING_MOST)
        return ERR_FULL;
    enum err e = p->count == p->cap ? grow(p) : ERR_OK;
    if (e)
        return e;
    p->count++;
    *at(p, p->count - 1) = waiter;
    return ERR_OK;
}

void redis_pending_take_back(struct redis_pending *p)
{
    p->count--;
}

struct redis_waiter *redis_pending_oldest(const struct redis_pending *p)
{
    return at(p, 0);
}

struct redis_waiter redis_pending_pop(struct redis_pending *p)
{
    struct redis_waiter waiter = *at(p, 0);
    p->first = (p->first + 1) % p->cap;
    p->count--;
    return waiter;
}

void redis_pending_free(struct redis_pending *p)
{
    free(p->ring);
    *p = (struct redis_pending){.ring = NULL};
}
