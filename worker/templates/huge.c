/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/templates/huge.h"

#include "worker/templates/python_api.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define HUGE ((size_t)2 << 20)
#define ROOM ((size_t)256 << 20)

static struct {
    char *base, *next, *end; /* next == end: no more arenas are taken from it */
} region;

static void *map(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void *new_arena(void *context, size_t size)
{
    (void)context;
    if (size > (size_t)(region.end - region.next))
        return map(size);
    region.next += size;
    return region.next - size;
}

static void free_arena(void *context, void *arena, size_t size)
{
    (void)context;
    munmap(arena, size);
}

static char *round_up(char *p)
{
    return p + (-(uintptr_t)p & (HUGE - 1));
}

void millrace_gather(void)
{
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

/* Whole huge pages of malloc's heap. */
static void collapse_heap(void)
{
    char line[256];
    uintptr_t from = 0, to = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        char *dash = NULL;
        if (strstr(line, "[heap]") == NULL)
            continue;
        from = strtoul(line, &dash, 16);
        to = strtoul(dash + 1, NULL, 16);
    }
    if (maps != NULL)
        fclose(maps);
    from = (from + HUGE - 1) & ~(HUGE - 1);
    to &= ~(HUGE - 1);
    if (from < to)
        (void)madvise((void *)from, to - from, MADV_COLLAPSE); /* a kernel that cannot leaves single pages */
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
