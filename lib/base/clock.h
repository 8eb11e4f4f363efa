/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_BASE_CLOCK_H
#define MILLRACE_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_mono_ns(void); /* CLOCK_MONOTONIC; for durations and deadlines */
/* Milliseconds since 1970; for people and the wire only: what is kept in a store is as old as the store's own clock says. In a test
   build TEST_CLOCK_AHEAD_MS of the environment is added. */
int64_t clock_wall_ms(void);

#endif
