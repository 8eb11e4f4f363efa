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

enum { PAGE = 4096, MAPPINGS_MAX = 32 };

static struct {
    char *base, *next, *end; /* next == end: no more arenas are taken from it */
    void *spare;             /* one that was given back: the stack of a thread state, as a rule */
    size_t spare_size;
} region;

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
    (void)sbrk(round_up(end) - end); /* refused: it begins where it is */
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

struct mapping {
    uintptr_t from, to;
    char access[5];
    bool heap, file;
};

static bool read_mapping(FILE *maps, struct mapping *ret)
{
    char line[512], *at;
    if (fgets(line, sizeof line, maps) == NULL)
        return false;
    *ret = (struct mapping){.from = strtoul(line, &at, 16)};
    ret->to = strtoul(at + 1, &at, 16);
    memcpy(ret->access, at + 1, sizeof ret->access - 1);
    ret->heap = strstr(at, "[heap]") != NULL;
    const char *name = strrchr(at, '/');
    ret->file = name != NULL && (strncmp(name, "/python3", 8) == 0 || strncmp(name, "/libc.so", 8) == 0);
    return true;
}

/* The heap up to the next boundary: what malloc does not take of it is never touched. */
static void collapse_heap(const struct mapping *m)
{
    char *end = sbrk(0), *boundary = round_up(end);
    uintptr_t from = (uintptr_t)round_up((char *)m->from);
    if (sbrk(boundary - end) == end && from < (uintptr_t)boundary)
        (void)madvise((void *)from, (uintptr_t)boundary - from,
                      MADV_COLLAPSE); /* a kernel that cannot leaves single pages */
}

/* A fork copies the entries of a mapping only when a page of it is not the file's any more: of the others each child faults in
   again what it reads. So one byte of what every program runs is written, with what it is. */
static void share_entries(const struct mapping *m)
{
    volatile char *byte = (volatile char *)m->from;
    const int access = PROT_READ | (m->access[2] == 'x' ? PROT_EXEC : 0);
    if (m->access[0] != 'r' || m->access[1] == 'w' ||
        mprotect((void *)m->from, PAGE, PROT_READ | PROT_WRITE) != 0)
        return;
    *byte = *byte;
    if (mprotect((void *)m->from, PAGE, access) != 0)
        abort(); /* the first page of a program's text must not stay writable */
}

static void each_mapping(void)
{
    struct mapping all[MAPPINGS_MAX];
    size_t n = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps != NULL && n < MAPPINGS_MAX && read_mapping(maps, &all[n]))
        n += all[n].heap || all[n].file;
    if (maps != NULL)
        fclose(maps);
    for (size_t i = 0; i < n; i++) {
        if (all[i].heap)
            collapse_heap(&all[i]);
        else
            share_entries(&all[i]);
    }
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
    each_mapping();
}
