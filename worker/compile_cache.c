/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/compile_cache.h"

#include "worker/spawner/memfd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUCKETS = 1024, PART = 4, PAGE = 4096 };

struct compile_cache {
    size_t limit, files;
    struct list recent; /* the latest last */
    struct list buckets[BUCKETS];
    struct compile_cache_stats stats;
};

struct compile_cache *compile_cache_open(size_t limit, size_t files)
{
    struct compile_cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->limit = limit;
    c->files = files;
    list_init(&c->recent);
    for (size_t i = 0; i < BUCKETS; i++)
        list_init(&c->buckets[i]);
    return c;
}

static struct list *bucket_of(struct compile_cache *c, const struct sha256 *key)
{
    return &c->buckets[(key->bytes[0] | key->bytes[1] << 8) % BUCKETS];
}

void compiled_let_go(struct compiled *held)
{
    if (!held || --held->users > 0)
        return;
    if (held->program.fd >= 0)
        close(held->program.fd);
    free(held);
}

static void drop(struct compile_cache *c, struct compiled *e)
{
    c->stats.bytes -= e->size;
    c->stats.entries--;
    c->stats.files -= e->program.fd >= 0;
    list_remove(&e->link);
    list_remove(&e->bucket);
    compiled_let_go(e);
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

struct compiled *compile_cache_hold(struct compile_cache *c, const struct sha256 *key)
{
    struct compiled *e = look(c, key);
    if (e) {
        e->users++;
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

static size_t pages(size_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

/* NULL: no memory. */
static struct compiled *make(const struct compile_cache *c, const struct sha256 *key, struct str program,
                             const struct str told[COMPILE_OUTPUTS])
{
    size_t before = sizeof(struct compiled) + told[0].n + told[1].n;
    bool large = program.n >= COMPILE_FILE_MIN && c->stats.files < c->files;
    int fd = large ? memfd_of("program", program) : -1; /* without one it is kept as bytes */
    struct compiled *e = malloc(before + (fd < 0 ? program.n : 0));
    if (!e) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    char *at = (char *)(e + 1);
    *e = (struct compiled){.key = *key, .program.fd = fd, .users = 1};
    e->size = before + (fd < 0 ? program.n : pages(program.n));
    for (int i = 0; i < COMPILE_OUTPUTS; i++)
        e->told[i] = put(&at, told[i]);
    if (fd < 0)
        e->program.bytes = put(&at, program);
    return e;
}

void compile_cache_add(struct compile_cache *c, const struct sha256 *key, struct str program,
                       const struct str told[COMPILE_OUTPUTS])
{
    if (sizeof(struct compiled) + program.n + told[0].n + told[1].n > compile_cache_room(c) || look(c, key))
        return;
    struct compiled *e = make(c, key, program, told);
    if (!e)
        return;
    while (c->stats.bytes + e->size > c->limit) {
        drop(c, list_first(&c->recent, struct compiled, link));
        c->stats.evicted++;
    }
    list_append(&c->recent, &e->link);
    list_append(bucket_of(c, key), &e->bucket);
    c->stats.bytes += e->size;
    c->stats.entries++;
    c->stats.files += e->program.fd >= 0;
}

struct compile_cache_stats compile_cache_stats(const struct compile_cache *c)
{
    return c->stats;
}
