/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of one request or one attempt, released all at once. It has a maximum; running past it (or out of
   memory) is sticky: allocate many, check once with arena_status(). Nothing in it is freed alone. */
#ifndef MILLRACE_BASE_ARENA_H
#define MILLRACE_BASE_ARENA_H

#include "base/str.h"

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used;                /* bytes asked of the system, block headers left out */
    size_t max;
    enum err failed;
};

#define ARENA_INIT(maximum) ((struct arena){.max = (maximum)})

void arena_free(struct arena *a); /* releases all; the arena may be used again */

/* Zeroed, aligned for any type. NULL on failure (sticky). */
void *arena_alloc(struct arena *a, size_t size);
void *arena_array(struct arena *a, size_t count, size_t size); /* as above; the product is checked */
const char *arena_cstr(struct arena *a, struct str s);         /* a NUL-terminated copy */
struct str arena_str(struct arena *a, struct str s);           /* a copy; {NULL, 0} on failure */
const char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

enum err arena_status(const struct arena *a);

#define auto_arena __attribute__((cleanup(arena_free))) struct arena

#endif
