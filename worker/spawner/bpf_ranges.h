/* SPDX-License-Identifier: Apache-2.0 */
/* A set of system call numbers as BPF: a balanced search over the borders of its ranges, so that a call takes few steps (the
   kernel walks the filter once for every number when it is loaded, which is most of the cost of loading). Pure. */
#ifndef MILLRACE_WORKER_SPAWNER_BPF_RANGES_H
#define MILLRACE_WORKER_SPAWNER_BPF_RANGES_H

#include "base/err.h"

#include <linux/filter.h>
#include <stddef.h>

enum { BPF_RANGES_MAX = 512 };

/* With the number in the accumulator: a number of `numbers` (any order, negative ones are left out) returns `verdict`,
   any other goes on behind the last instruction. ERR_FULL: more than BPF_RANGES_MAX instructions or borders. */
MUST_CHECK enum err bpf_ranges(const int *numbers, size_t n, unsigned verdict,
                               struct sock_filter out[BPF_RANGES_MAX], size_t *ret_count);

#endif
