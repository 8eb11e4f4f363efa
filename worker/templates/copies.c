/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/templates/copies.h"

#include "base/cleanup.h"
#include "worker/templates/mappings.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { RUNS_MAX = 2048, ENTRIES = 512, LIFE_S = 20 };

#define SIZE_MAX_OF_ONE ((uintptr_t)1 << 30)

/* proc(5), pagemap: present, of no file, and mapped by nobody else. */
#define PRESENT   (1ULL << 63)
#define OF_FILE   (1ULL << 61)
#define EXCLUSIVE (1ULL << 56)

static struct {
    uintptr_t from, to;
} runs[RUNS_MAX];
static size_t runs_n;

static bool is_copy(uint64_t entry)
{
    return (entry & (PRESENT | OF_FILE | EXCLUSIVE)) == (PRESENT | EXCLUSIVE);
}

static void add_page(uintptr_t page, size_t size)
{
    if (runs_n > 0 && runs[runs_n - 1].to == page)
        runs[runs_n - 1].to += size;
    else if (runs_n < RUNS_MAX) {
        runs[runs_n].from = page;
        runs[runs_n++].to = page + size;
    }
}

static bool look_at(int pagemap, const struct mapping *m, size_t size)
{
    static uint64_t entries[ENTRIES];
    for (uintptr_t at = m->from; at < m->to;) {
        size_t n = (m->to - at) / size;
        n = n < ENTRIES ? n : ENTRIES;
        if (pread(pagemap, entries, n * sizeof *entries, (off_t)(at / size * sizeof *entries)) !=
            (ssize_t)(n * sizeof *entries))
            return false;
        for (size_t i = 0; i < n; i++, at += size)
            if (is_copy(entries[i]))
                add_page(at, size);
    }
    return true;
}

/* What is larger is a reservation, and too long to look at. */
static bool is_looked_at(const struct mapping *m)
{
    return strcmp(m->access, "rw-p") == 0 && m->to - m->from <= SIZE_MAX_OF_ONE;
}

static void look_at_child(pid_t pid, const struct mapping *all, size_t n)
{
    char path[32];
    const size_t size = (size_t)sysconf(_SC_PAGESIZE);
    snprintf(path, sizeof path, "/proc/%d/pagemap", (int)pid);
    auto_fd pagemap = open(path, O_RDONLY | O_CLOEXEC);
    bool good = pagemap >= 0;
    for (size_t i = 0; good && i < n; i++)
        good = !is_looked_at(&all[i]) || look_at(pagemap, &all[i], size);
    if (!good)
        runs_n = 0;
}

/* It stays until it was looked at. */
static _Noreturn void live_and_stay(bool (*live)(const void *), const void *arg, int told)
{
    alarm(LIFE_S);
    if (live(arg) && write(told, "", 1) == 1)
        for (;;)
            pause();
    _exit(1);
}

static void raise_child(bool (*live)(const void *), const void *arg, const struct mapping *all, size_t n)
{
    int ends[2];
    char byte;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    auto_fd told = ends[0];
    auto_fd tell = ends[1];
    pid_t pid = fork();
    if (pid == 0)
        live_and_stay(live, arg, tell);
    close(steal_fd(&tell));
    if (pid < 0)
        return;
    if (read(told, &byte, 1) == 1)
        look_at_child(pid, all, n);
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

void copies_learn(bool (*live)(const void *), const void *arg)
{
    size_t n = 0;
    struct mapping *all = mappings_read(&n);
    runs_n = 0;
    if (all == NULL)
        return;
    raise_child(live, arg, all, n);
    mappings_free(all);
}

bool copies_make(void)
{
    bool made = runs_n > 0;
    for (size_t i = 0; made && i < runs_n; i++)
        made = madvise((void *)runs[i].from, runs[i].to - runs[i].from, MADV_POPULATE_WRITE) == 0;
    return made;
}
