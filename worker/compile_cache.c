/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/compile_cache.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1024, PART = 4 };

struct compile_cache {
    size_t limit;
    struct list recent; /* the latest last */
    struct list buckets[BUCKETS];
    struct compile_cache_stats stats;
};

struct compile_cache *compile_cache_open(size_t limit)
{
    struct compile_cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->limit = limit;
    list_init(&c->recent);
    for (size_t i = 0; i < BUCKETS; i++)
        list_init(&c->buckets[i]);
    return c;
}

static struct list *bucket_of(struct compile_cache *c, const struct sha256 *key)
{
    return &c->buckets[(key->bytes[0] | key->bytes[1] << 8) % BUCKETS];
}

static size_t size_of(const struct compiled *e)
{
    return sizeof *e + e->program.n + e->told[0].n + e->told[1].n;
}

static void drop(struct compile_cache *c, struct compiled *e)
{
    c->stats.bytes -= size_of(e);
    c->stats.entries--;
    list_remove(&e->link);
    list_remove(&e->bucket);
    free(e);
}

void compile_cache_free(struct compile_cache *c)
{
    if (!c)
        return;
    while (!list_empty(&c->recent))
        drop(c, list_first(&c->recent, struct compiled, link));
    free(c);
}

static struct compiled *look(struct compile_cache *c, const struct sha256 *key)
{
    list_each(e, bucket_of(c, key), struct compiled,
              bucket) if (memcmp(&e->key, key, sizeof *key) == 0) return e;
    return NULL;
}

const struct compiled *compile_cache_find(struct compile_cache *c, const struct sha256 *key)
{
    struct compiled *e = look(c, key);
    if (e) {
        list_remove(&e->link);
        list_append(&c->recent, &e->link);
    }
    return e;
}

size_t compile_cache_room(const struct compile_cache *c)
{
    return c->limit / PART;
}

/* The bytes lie behind the entry. */
static struct str put(char **at, struct str bytes)
{
    struct str copy = {.p = *at, .n = bytes.n};
    if (bytes.n > 0)
        memcpy(*at, bytes.p, bytes.n);
    *at += bytes.n;
    return copy;
}

void compile_cache_add(struct compile_cache *c, const struct sha256 *key, struct str program,
                       const struct str told[COMPILE_OUTPUTS])
{
    size_t size = sizeof(struct compiled) + program.n + told[0].n + told[1].n;
    if (size > compile_cache_room(c) || look(c, key))
        return;
    struct compiled *e = malloc(size);
    if (!e)
        return;
    char *at = (char *)(e + 1);
    *e = (struct compiled){.key = *key};
    e->program = put(&at, program);
    for (int i = 0; i < COMPILE_OUTPUTS; i++)
        e->told[i] = put(&at, told[i]);
    while (c->stats.bytes + size > c->limit) {
        drop(c, list_first(&c->recent, struct compiled, link));
        c->stats.evicted++;
    }
    list_append(&c->recent, &e->link);
    list_append(bucket_of(c, key), &e->bucket);
    c->stats.bytes += size;
    c->stats.entries++;
}

struct compile_cache_stats compile_cache_stats(const struct compile_cache *c)
{
    return c->stats;
}
