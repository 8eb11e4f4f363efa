/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled programs by what they were made of. In the worker's memory alone, the larger ones in sealed memory files, so that nobody
   else can write there; bounded, the least recently used goes first. What a key is made of: jobrun_compile.c. */
#ifndef MILLRACE_WORKER_COMPILE_CACHE_H
#define MILLRACE_WORKER_COMPILE_CACHE_H

#include "base/err.h"
#include "base/list.h"
#include "io/crypto.h"
#include "worker/backend.h"

/* From this size on a descriptor is handed over sooner than the bytes are sent: more than one frame. */
enum { COMPILE_OUTPUTS = 2, COMPILE_FILE_MIN = FRAME_PAYLOAD_MAX };

struct compiled {
    struct list link, bucket;
    struct sha256 key;
    struct pod_program program;
    struct str told[COMPILE_OUTPUTS]; /* what the compiler wrote to stdout and stderr: warnings */
    size_t size;                      /* that counts */
    unsigned users;                   /* the cache, and who holds it */
};

struct compile_cache;
/* NULL: no memory. A limit of 0 keeps nothing. As many programs as `files` says are kept in files, further ones as bytes. */
struct compile_cache *compile_cache_open(size_t limit, size_t files);
void compile_cache_free(struct compile_cache *cache);

/* Stays valid, also without its cache, until it is let go. NULL: not there. */
struct compiled *compile_cache_hold(struct compile_cache *cache, const struct sha256 *key);
void compiled_let_go(struct compiled *held); /* or NULL */
/* Everything is copied. What would fill more than a quarter of the cache is not kept; nor what is there already. */
void compile_cache_add(struct compile_cache *cache, const struct sha256 *key, struct str program,
                       const struct str told[COMPILE_OUTPUTS]);
/* The largest program that add() takes. */
size_t compile_cache_room(const struct compile_cache *cache);

struct compile_cache_stats {
    size_t entries, bytes, files;
    uint64_t evicted;
};
struct compile_cache_stats compile_cache_stats(const struct compile_cache *cache);

#endif
