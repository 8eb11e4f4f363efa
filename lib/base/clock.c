/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <time.h>

#ifdef MILLRACE_TEST_BUILD
#include "base/str.h"

#include <stdlib.h>

/* A process whose clock is wrong. */
static int64_t ahead_ms(void)
{
    int64_t ms = 0;
    return str_to_i64(str_of(getenv("TEST_CLOCK_AHEAD_MS")), &ms) ? 0 : ms;
}
#else
static int64_t ahead_ms(void)
{
    return 0;
}
#endif

int64_t clock_mono_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_wall_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + ahead_ms();
}
