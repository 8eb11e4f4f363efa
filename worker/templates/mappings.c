/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/templates/mappings.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define HUGE ((uintptr_t)2 << 20)

enum { MAPPINGS_MAX = 4096 };
#define SIZE (MAPPINGS_MAX * sizeof(struct mapping))

/* A line of /proc/self/maps (proc(5)): from-to access offset major:minor inode name. */
static bool read_mapping(const char *line, struct mapping *ret)
{
    char *at;
    *ret = (struct mapping){.from = strtoul(line, &at, 16)};
    if (*at != '-')
        return false;
    ret->to = strtoul(at + 1, &at, 16);
    if (strlen(at) < sizeof ret->access + 1)
        return false;
    memcpy(ret->access, at + 1, sizeof ret->access - 1);
    ret->offset = strtoul(at + sizeof ret->access, &at, 16);
    at = strchr(at, ':');
    if (at == NULL)
        return false;
    (void)strtoul(at + 1, &at, 16);
    ret->file = strtoul(at, NULL, 10);
    const char *name = strrchr(line, '/');
    ret->common = name != NULL && (strncmp(name, "/python3", 8) == 0 || strncmp(name, "/libc.so", 8) == 0);
    return true;
}

struct mapping *mappings_read(size_t *ret_n)
{
    char line[4352]; /* a path and what stands before it */
    size_t n = 0;
    struct mapping *all = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return NULL;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps != NULL && n < MAPPINGS_MAX && fgets(line, sizeof line, maps) != NULL)
        n += read_mapping(line, &all[n]);
    if (maps != NULL)
        fclose(maps);
    *ret_n = n;
    return all;
}

void mappings_free(struct mapping *all)
{
    munmap(all, SIZE);
}

static bool is(const struct mapping *m, const char *access)
{
    return strcmp(m->access, access) == 0;
}

/* The next piece of the same file, side by side in memory. */
static bool follows(const struct mapping *before, const struct mapping *m)
{
    return m->file == before->file && m->from == before->to;
}

static bool continues(const struct mapping *before, const struct mapping *m)
{
    return follows(before, m) && m->offset == before->offset + (before->to - before->from);
}

static bool protect(uintptr_t from, uintptr_t to, int access)
{
    return mprotect((void *)from, to - from, access) == 0;
}

/* A fork copies the entries of a mapping only when a page of it is not the file's any more: of the others each child faults in again what
   it reads. So one byte is written, with what it is. All of the mapping is made writable for it: a part would stay one of its own. */
static void share_entries(uintptr_t from, uintptr_t to)
{
    volatile char *byte = (volatile char *)from;
    if (!protect(from, to, PROT_READ | PROT_WRITE | PROT_EXEC))
        return;
    *byte = *byte;
    if (!protect(from, to, PROT_READ | PROT_EXEC))
        abort(); /* a program's text must not stay writable */
}

/* The copy is moved there when it is whole and runs: the text is never absent. */
static bool replace(void *text, char *copy, size_t size)
{
    if (madvise(copy, size, MADV_HUGEPAGE) != 0)
        return false;
    memcpy(copy, text, size);
    return madvise(copy, size, MADV_COLLAPSE) == 0 && mprotect(copy, size, PROT_READ | PROT_EXEC) == 0 &&
           mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, text) == text;
}

/* Whole huge pages of text become memory of the template's own with the same content: a fork then copies one entry for 512. */
static bool make_huge(uintptr_t from, uintptr_t to)
{
    const size_t size = to - from, room = size + HUGE;
    char *all = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED)
        return false;
    bool done = replace((void *)from, all + (-(uintptr_t)all & (HUGE - 1)), size);
    munmap(all, room); /* what is left of it */
    return done;
}

static void share_text(uintptr_t from, uintptr_t to)
{
    const uintptr_t begin = (from + HUGE - 1) & ~(HUGE - 1), end = to & ~(HUGE - 1);
    if (begin >= end || !make_huge(begin, end)) {
        share_entries(from, to);
        return;
    }
    if (from < begin)
        share_entries(from, begin);
    if (end < to)
        share_entries(end, to);
}

/* The pieces of one file from all[0] on, of at most n; returns how many. Nothing is lost where a call is refused: the pieces stay. */
static size_t join(const struct mapping *all, size_t n)
{
    bool runs = is(&all[0], "r-xp");
    size_t text = 1;
    for (; text < n && continues(&all[text - 1], &all[text]); text++) {
        if (!is(&all[text], "r--p") && !is(&all[text], "r-xp"))
            break;
        if (is(&all[text - 1], "r--p") && is(&all[text], "r--p"))
            break; /* two alike are kept apart only where one was writable before */
        runs = runs || is(&all[text], "r-xp");
    }
    if (!runs || (!is(&all[0], "r--p") && !is(&all[0], "r-xp")))
        return 1;
    const uintptr_t from = all[0].from, to = all[text - 1].to;
    if (protect(from, to, PROT_READ | PROT_EXEC) && all[0].common)
        share_text(from, to);
    /* What the loader wrote and then protected, before what stays writable. */
    if (text + 1 < n && follows(&all[text - 1], &all[text]) && is(&all[text], "r--p") &&
        follows(&all[text], &all[text + 1]) && is(&all[text + 1], "rw-p"))
        (void)protect(all[text].from, all[text].to, PROT_READ | PROT_WRITE);
    return text;
}

void mappings_settle(void)
{
    size_t n = 0;
    struct mapping *all = mappings_read(&n);
    if (all == NULL)
        return;
    for (size_t i = 0; i < n;)
        i += all[i].file != 0 ? join(&all[i], n - i) : 1;
    mappings_free(all);
}
