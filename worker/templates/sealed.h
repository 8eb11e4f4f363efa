/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_WORKER_TEMPLATES_SEALED_H
#define MILLRACE_WORKER_TEMPLATES_SEALED_H

#include <stddef.h>

/* A sealed memfd with these bytes at descriptor `at`, not close-on-exec. 0 or a negative errno. */
int sealed_place(const char *name, const char *bytes, size_t len, int at);

#endif
