/* SPDX-License-Identifier: Apache-2.0 */
#include "base/point.h"

#ifdef MILLRACE_TEST_BUILD
#include "base/str.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void hold(const char *name)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    const char *folder = getenv("TEST_HOLD_AT");
    char file[PATH_MAX], held[PATH_MAX];
    if (!folder || (size_t)snprintf(file, sizeof file, "%s/%s", folder, name) >= sizeof file ||
        (size_t)snprintf(held, sizeof held, "%s/%s.held", folder, name) >= sizeof held)
        return;
    if (rename(file, held) != 0)
        return; /* not this step, or another process stands there */
    while (access(held, F_OK) == 0)
        nanosleep(&moment, NULL);
}

static void delay(void)
{
    const char *text = getenv("TEST_DELAY_MS");
    int64_t most = 0;
    if (!text || str_to_i64(str_of(text), &most) || most <= 0)
        return;
    struct timespec now, t = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    t.tv_nsec = now.tv_nsec % (most * 1000000);
    nanosleep(&t, NULL);
}

void test_point(const char *name)
{
    delay();
    const char *at = getenv("TEST_KILL_AT");
    if (at && strcmp(at, name) == 0)
        raise(SIGKILL);
    hold(name);
}
#else
void test_point(const char *name)
{
    (void)name;
}
#endif
