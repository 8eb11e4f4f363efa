/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"

#ifdef MILLRACE_TEST_BUILD
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

extern const char __ehdr_start[] __attribute__((visibility("hidden"))); /* where the linker put this file */

static struct fault_switch *shared;
static enum fault_scope current;
static bool struck;   /* this process, or the one that it was forked from */
enum { HIGH = 64 };   /* the helper occupies the low ones */
static int file = -1; /* kept open for who is executed without an environment */

static bool map(int fd)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (size_t)st.st_size < sizeof *shared)
        return false;
    void *at = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return false;
    shared = at;
    return shared->magic == FAULT_MAGIC;
}

static void open_switch(void)
{
    static bool opened;
    const char *path = getenv("TEST_FAIL_STEP");
    if (opened)
        return;
    opened = true;
    if (path == NULL) {
        if (!map(STDIN_FILENO)) /* a template's */
            shared = NULL;
        return;
    }
    int fd = open(path, O_RDWR | O_CLOEXEC);
    file = fcntl(fd, F_DUPFD_CLOEXEC, HIGH);
    close(fd);
    if (!map(file))
        shared = NULL;
}

void fault_enter(enum fault_scope scope)
{
    current = FAULT_NONE;
    open_switch();
    current = scope;
}

void fault_user_code(void)
{
    if (shared != NULL) {
        shared->ran++;
        shared->ran_after_hit += shared->hit;
        shared->ran_struck += struck;
    }
    current = FAULT_NONE;
}

const char *fault_environment(void)
{
    static char text[512];
    const char *path = getenv("TEST_FAIL_STEP");
    if (path == NULL || (size_t)snprintf(text, sizeof text, "TEST_FAIL_STEP=%s", path) >= sizeof text)
        return NULL;
    return text;
}

int fault_stdin(int otherwise)
{
    return file >= 0 ? file : otherwise;
}

static bool seen(uint64_t site)
{
    for (uint32_t i = 0; i < shared->sites_n; i++)
        if (shared->sites[i] == site)
            return true;
    if (shared->sites_n < FAULT_SITES_MAX)
        shared->sites[shared->sites_n++] = site;
    return false;
}

int fault_strikes(const char *name, const void *caller)
{
    if (current == FAULT_NONE || shared == NULL || shared->scope != (uint32_t)current)
        return 0;
    uint64_t site = (uint64_t)((const char *)caller - __ehdr_start);
    bool every = shared->at == FAULT_EVERY;
    if ((shared->once != 0 && seen(site)) ||
        (__atomic_add_fetch(&shared->count, 1, __ATOMIC_SEQ_CST) != shared->at && !every)) {
        if ((current == FAULT_PROGRAM || current == FAULT_TEMPLATE_EXEC) && strcmp(name, "execve") == 0)
            fault_user_code();
        return 0;
    }
    snprintf(shared->name, sizeof shared->name, "%s", name);
    shared->caller = site;
    shared->hit = 1;
    struck = true;
    errno = (int)shared->error;
    return 1;
}
#else
void fault_enter(enum fault_scope scope)
{
    (void)scope;
}

void fault_user_code(void) {}

const char *fault_environment(void)
{
    return 0;
}

int fault_stdin(int otherwise)
{
    return otherwise;
}
#endif
