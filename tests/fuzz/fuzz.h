/* SPDX-License-Identifier: Apache-2.0 */
/* What every fuzz target has: one function over one input. It must accept any bytes, keep nothing between two
   inputs, and abort when a promise is broken. */
#ifndef MILLRACE_TESTS_FUZZ_H
#define MILLRACE_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stays on in every build. */
#define MUST(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

#endif
