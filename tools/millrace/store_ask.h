/* SPDX-License-Identifier: Apache-2.0 */
/* One command to Redis after the other, each waited for: for operators' commands that have nothing else to do. */
#ifndef MILLRACE_TOOLS_STORE_ASK_H
#define MILLRACE_TOOLS_STORE_ASK_H

#include "base/arena.h"
#include "io/redis/redis.h"
#include "schema/config.h"

struct store {
    uv_loop_t loop;
    struct redis *redis;
    struct config config;
    bool up, lost;
    char why[256];
};

/* Loads the configuration (`--config`, `--set`, environment) and connects. Prints what is wrong itself. */
MUST_CHECK enum err store_open(struct store *s, const char *file, const char *const *sets, size_t set_count);
void store_close(struct store *s);

/* The arguments end with NULL. The answer lives in `memory`. NULL: the store is lost (printed), or `memory` is full.
   An answer of type REDIS_ERROR is printed and NULL too. */
const struct redis_value *store_ask(struct store *s, struct arena *memory, ...);

#endif
