/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/cgroup_file.h"

#include "base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* 200 tries of up to 5 ms: a second. */
enum { REMOVE_TRIES = 200, REMOVE_PAUSE_MAX_US = 5000 };

bool cgroup_write_text(int dir, const char *file, const char *text)
{
    auto_fd fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
    size_t len = strlen(text);
    return fd >= 0 && write(fd, text, len) == (ssize_t)len;
}

bool cgroup_write_u64(int dir, const char *file, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return cgroup_write_text(dir, file, text);
}

bool cgroup_read_text(int dir, const char *file, char *text, size_t size)
{
    auto_fd fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (n < 0)
        return false;
    text[n] = '\0';
    while (n > 0 && text[n - 1] == '\n')
        text[--n] = '\0';
    return true;
}

uint64_t cgroup_read_u64(int dir, const char *file)
{
    char text[32];
    return cgroup_read_text(dir, file, text, sizeof text) ? strtoull(text, NULL, 10) : 0;
}

uint64_t cgroup_read_key(int dir, const char *file, const char *key)
{
    char text[1024];
    size_t n = strlen(key);
    if (!cgroup_read_text(dir, file, text, sizeof text))
        return 0;
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, n) == 0 && line[n] == ' ')
            return strtoull(line + n + 1, NULL, 10);
    }
    return 0;
}

bool cgroup_has_file(int dir, const char *file)
{
    return faccessat(dir, file, F_OK, 0) == 0;
}

bool cgroup_is_empty(int dir)
{
    char text[8];
    return cgroup_read_text(dir, "cgroup.procs", text, sizeof text) && text[0] == '\0';
}

bool cgroup_read_file(const char *path, struct buf *out)
{
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    for (;;) {
        char *room = buf_reserve(out, 4096);
        if (room == NULL)
            return false;
        ssize_t n = read(fd, room, 4096);
        if (n <= 0)
            return n == 0;
        out->len += (size_t)n;
    }
}

/* 0 in cgroup.procs is a process of another pid namespace: kill(0) would be ourselves. */
static void kill_members(int dir)
{
    auto_fd fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    char text[4096];
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0)
        return;
    text[n] = '\0';
    for (char *at = text; *at != '\0';) {
        long pid = strtol(at, &at, 10);
        if (*at != '\n')
            return; /* cut */
        at++;
        if (pid > 1)
            kill((pid_t)pid, SIGKILL);
    }
}

static void kill_all(int base, const char *name, bool v2)
{
    auto_fd dir = openat(base, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return;
    if (!v2 || !cgroup_write_text(dir, "cgroup.kill", "1"))
        kill_members(dir);
}

bool cgroup_remove(int base, const char *name, bool v2)
{
    for (long i = 0; i < REMOVE_TRIES; i++) {
        if (unlinkat(base, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return true;
        if (errno != EBUSY)
            return false;
        kill_all(base, name, v2);
        long us = 100 * (i + 1) < REMOVE_PAUSE_MAX_US ? 100 * (i + 1) : REMOVE_PAUSE_MAX_US;
        nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
    }
    return false;
}

bool cgroup_remove_all(const char *path, bool v2)
{
    bool clean = true;
    DIR *d = opendir(path);
    if (d == NULL)
        return errno == ENOENT;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (e->d_type == DT_DIR && e->d_name[0] != '.')
            clean = cgroup_remove(dirfd(d), e->d_name, v2) && clean;
    }
    closedir(d);
    return rmdir(path) == 0 && clean;
}
