/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/runner/pod_fds.h"
#include "worker/runner/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool read_counter(const struct runner *r, int fd, char *text, size_t size)
{
    if ((r->fds & 1U << fd) == 0)
        return false;
    ssize_t n = pread(fd, text, size - 1, 0);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return true;
}

/* v1 is one number of nanoseconds; v2 begins with "usage_usec N". */
bool usage_cpu_ns(const struct runner *r, uint64_t *ret_ns)
{
    static const char v2[] = "usage_usec ";
    char text[512];
    if (!read_counter(r, RUNNER_FD_CPU, text, sizeof text))
        return false;
    if (strncmp(text, v2, sizeof v2 - 1) == 0)
        *ret_ns = strtoull(text + sizeof v2 - 1, NULL, 10) * 1000;
    else
        *ret_ns = strtoull(text, NULL, 10);
    return true;
}

/* Both versions have a line "oom_kill N". */
bool usage_oom_kills(const struct runner *r, uint64_t *ret_count)
{
    static const char key[] = "\noom_kill ";
    char text[512];
    if (!read_counter(r, RUNNER_FD_MEMORY, text, sizeof text))
        return false;
    const char *at = strstr(text, key);
    if (at == NULL)
        return false;
    *ret_count = strtoull(at + sizeof key - 1, NULL, 10);
    return true;
}

bool usage_pids(const struct runner *r, uint64_t *ret_count)
{
    char text[32];
    if (!read_counter(r, RUNNER_FD_PIDS, text, sizeof text))
        return false;
    *ret_count = strtoull(text, NULL, 10);
    return true;
}

bool usage_peak_bytes(const struct runner *r, uint64_t *ret_bytes)
{
    char text[32];
    if (!read_counter(r, RUNNER_FD_PEAK, text, sizeof text))
        return false;
    *ret_bytes = strtoull(text, NULL, 10);
    return true;
}

bool usage_is_counted(const struct runner *r)
{
    const unsigned all = 1U << RUNNER_FD_CPU | 1U << RUNNER_FD_MEMORY | 1U << RUNNER_FD_PEAK;
    return (r->fds & all) == all && r->newest_base != 0;
}

/* Pids are given in order, so they count what was started, also what its own parent reaped. 0: not known. */
static uint64_t newest_pid(const struct runner *r)
{
    char text[128];
    ssize_t n = r->loadavg < 0 ? -1 : pread(r->loadavg, text, sizeof text - 1, 0);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    const char *last = strrchr(text, ' ');
    return last == NULL ? 0 : strtoull(last, NULL, 10);
}

void usage_tasks_begin(struct runner *r)
{
    r->newest_base = newest_pid(r);
}

void usage_tasks(const struct runner *r, uint32_t *ret_count)
{
    uint64_t newest = newest_pid(r);
    if (newest < r->newest_base) /* the numbers began again */
        newest = r->newest_base;
    *ret_count = (uint32_t)(newest - r->newest_base) + 1;
}
