/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled programs by what they were made of. In the worker's memory alone, so that nobody else can write there; bounded, the
   least recently used goes first. What a key is made of: jobrun_compile.c. */
#ifndef MILLRACE_WORKER_COMPILE_CACHE_H
#define MILLRACE_WORKER_COMPILE_CACHE_H

#include "base/err.h"
#include "base/list.h"
#include "io/crypto.h"

enum { COMPILE_OUTPUTS = 2 };

struct compiled {
    struct list link, bucket;
    struct sha256 key;
    struct str program;
    struct str told[COMPILE_OUTPUTS]; /* what the compiler wrote to stdout and stderr: warnings */
};

struct compile_cache;
/* NULL: no memory. A limit of 0 keeps nothing. */
struct compile_cache *compile_cache_open(size_t limit);
void compile_cache_free(struct compile_cache *cache);

/* Valid until the next call. NULL: not there. */
const struct compiled *compile_cache_find(struct compile_cache *cache, const struct sha256 *key);
/* Everything is copied. What would fill more than a quarter of the cache is not kept; nor what is there already. */
void compile_cache_add(struct compile_cache *cache, const struct sha256 *key, struct str program,
                       const struct str told[COMPILE_OUTPUTS]);
/* The largest program that add() takes. */
size_t compile_cache_room(const struct compile_cache *cache);

struct compile_cache_stats {
    size_t entries, bytes;
    uint64_t evicted;
};
struct compile_cache_stats compile_cache_stats(const struct compile_cache *cache);

#endif
