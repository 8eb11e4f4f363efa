/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_BASE_CLOCK_H
#define MILLRACE_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_mono_ns(void); /* CLOCK_MONOTONIC; for durations and deadlines */
int64_t clock_wall_ms(void); /* milliseconds since 1970; for people and the wire only */

#endif
