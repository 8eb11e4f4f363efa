/* SPDX-License-Identifier: Apache-2.0 */
#include "archiver/archiver.h"

#ifdef MILLRACE_TEST_BUILD
#include "base/str.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* TEST_HOLD_AT=name with TEST_HOLD_FILE: the process stands still there until the file is gone. */
static void hold(const char *name)
{
    const char *at = getenv("TEST_HOLD_AT"), *file = getenv("TEST_HOLD_FILE");
    const struct timespec moment = {.tv_nsec = 1000000};
    struct stat st;
    while (at && file && strcmp(at, name) == 0 && stat(file, &st) == 0)
        nanosleep(&moment, NULL);
}

/* TEST_DELAY_MS=most: each point takes up to so long, so that what comes between two steps differs every time. */
static void delay(void)
{
    const char *text = getenv("TEST_DELAY_MS");
    int64_t most = 0;
    if (!text || str_to_i64(str_of(text), &most) || most <= 0)
        return;
    struct timespec t = {.tv_nsec = random() % (most * 1000000)};
    nanosleep(&t, NULL);
}

void archiver_point(const char *name)
{
    delay();
    const char *at = getenv("TEST_KILL_AT");
    if (at && strcmp(at, name) == 0)
        raise(SIGKILL);
    hold(name);
}
#else
void archiver_point(const char *name)
{
    (void)name;
}
#endif
