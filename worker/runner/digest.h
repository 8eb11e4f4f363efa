/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4) of a short text, for a program that links libc alone. */
#ifndef MILLRACE_WORKER_RUNNER_DIGEST_H
#define MILLRACE_WORKER_RUNNER_DIGEST_H

#include <stddef.h>
#include <stdint.h>

enum { DIGEST_SIZE = 32, DIGEST_TEXT_MAX = 119 };

/* `len` is at most DIGEST_TEXT_MAX: two blocks. */
void digest_of(const void *bytes, size_t len, uint8_t ret_digest[DIGEST_SIZE]);

#endif
