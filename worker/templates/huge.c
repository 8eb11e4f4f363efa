/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/templates/huge.h"

#include "worker/templates/python_api.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define HUGE ((size_t)2 << 20)
#define ROOM ((size_t)256 << 20)

static struct {
    char *base, *next, *end; /* next == end: no more arenas are taken from it */
    void *spare;             /* one that was given back: the stack of a thread state, as a rule */
    size_t spare_size;
} region;

static char *heap_begin; /* NULL: not at a boundary */

static void *map(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static char *round_up(char *p)
{
    return p + (-(uintptr_t)p & (HUGE - 1));
}

static void *new_arena(void *context, size_t size)
{
    (void)context;
    if (region.spare != NULL && region.spare_size == size) {
        void *arena = region.spare;
        region.spare = NULL;
        return arena;
    }
    if (size > (size_t)(region.end - region.next))
        return map(size);
    region.next += size;
    return region.next - size;
}

static void free_arena(void *context, void *arena, size_t size)
{
    (void)context;
    if ((char *)arena < region.base || (char *)arena >= region.end) {
        munmap(arena, size);
        return;
    }
    region.spare = arena; /* never unmapped: a hole would make two mappings of one */
    region.spare_size = size;
}

/* malloc's heap begins at a boundary, so that all of it can be huge. */
static void align_heap(void)
{
    char *end = sbrk(0);
    if (sbrk(round_up(end) - end) == end) /* refused: it begins where it is, and stays as it is */
        heap_begin = round_up(end);
}

/* Before the interpreter makes its first object: it is preloaded into a template, and into nothing else. */
__attribute__((constructor)) static void gather(void)
{
    if (getenv("LD_PRELOAD") == NULL)
        return;
    align_heap();
    PyObjectArenaAllocator allocator = {.alloc = new_arena, .free = free_arena};
    char *room = map(ROOM + HUGE);
    if (room == NULL)
        return;
    region.base = region.next = round_up(room);
    region.end = region.base + ROOM;
    if (madvise(region.base, ROOM, MADV_HUGEPAGE) == 0)
        PyObject_SetArenaAllocator(&allocator);
    else
        region.end = region.next;
}

/* The heap up to the next boundary: what malloc does not take of it is never touched. */
static void collapse_heap(void)
{
    char *end = sbrk(0), *boundary = round_up(end);
    if (heap_begin != NULL && sbrk(boundary - end) == end && heap_begin < boundary)
        (void)madvise(heap_begin, (size_t)(boundary - heap_begin),
                      MADV_COLLAPSE); /* a kernel that cannot leaves single pages */
}

void huge_settle(void)
{
    if (region.base != NULL) {
        char *used = round_up(region.next);
        munmap(used, (size_t)(region.end - used));
        region.end = region.next;
        /* What is huge stays so; but no child's memory shall ever become so by itself. */
        (void)madvise(region.base, (size_t)(used - region.base), MADV_NOHUGEPAGE);
    }
    collapse_heap();
}
