/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs do alike when they start. */
#ifndef MILLRACE_IO_PROGRAM_H
#define MILLRACE_IO_PROGRAM_H

#include "base/err.h"

/* No core dumps, nobody may trace us, and nothing that we start gains a right. */
void program_harden(void);
/* The port as text. Written beside and renamed, so that who waits for it never reads half of it. `path` NULL: nothing. */
MUST_CHECK enum err program_write_port(const char *path, int port, struct errinfo *info);

#endif
