/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_SIZE = 4096, ALIGNMENT = _Alignof(max_align_t) };

struct arena_block {
    struct arena_block *older;
    size_t used, size;
    _Alignas(max_align_t) char data[];
};

void arena_free(struct arena *a)
{
    for (struct arena_block *block = a->blocks, *older; block != NULL; block = older) {
        older = block->older;
        free(block);
    }
    *a = ARENA_INIT(a->max);
}

static struct arena_block *add_block(struct arena *a, size_t wanted)
{
    size_t left = a->max - a->used;
    size_t size = wanted > BLOCK_SIZE ? wanted : BLOCK_SIZE;
    if (size > left)
        size = left;
    if (size < wanted) {
        a->failed = ERR_FULL;
        return NULL;
    }
    struct arena_block *block = calloc(1, sizeof *block + size);
    if (block == NULL) {
        a->failed = ERR_NOMEM;
        return NULL;
    }
    block->size = size;
    block->older = a->blocks;
    a->blocks = block;
    a->used += size;
    return block;
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (a->failed != ERR_OK)
        return NULL;
    size_t wanted;
    if (__builtin_add_overflow(size, ALIGNMENT - 1, &wanted)) {
        a->failed = ERR_FULL;
        return NULL;
    }
    wanted = wanted / ALIGNMENT * ALIGNMENT;
    struct arena_block *block = a->blocks;
    if (block == NULL || block->size - block->used < wanted)
        block = add_block(a, wanted);
    if (block == NULL)
        return NULL;
    void *start = block->data + block->used;
    block->used += wanted;
    return start;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    size_t all;
    if (__builtin_mul_overflow(count, size, &all)) {
        a->failed = ERR_FULL;
        return NULL;
    }
    return arena_alloc(a, all);
}

struct str arena_str(struct arena *a, struct str s)
{
    const char *copy = arena_cstr(a, s);
    return (struct str){.p = copy, .n = copy != NULL ? s.n : 0};
}

const char *arena_cstr(struct arena *a, struct str s)
{
    char *copy = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;
    if (copy != NULL && s.n > 0)
        memcpy(copy, s.p, s.n);
    return copy;
}

const char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *text = n >= 0 ? arena_alloc(a, (size_t)n + 1) : NULL;
    if (text != NULL)
        vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return text;
}

enum err arena_status(const struct arena *a)
{
    return a->failed;
}
