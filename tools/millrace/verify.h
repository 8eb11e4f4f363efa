/* SPDX-License-Identifier: Apache-2.0 */
/* `replay --verify`: everything that the store holds beside its logs, in Redis or archived, is computed again from them, and compared. It only
   reads. A system at work changes between two questions, so what differs is looked at again: it counts when it stands
   unchanged in several looks. On a quiet system every figure is compared. */
#ifndef MILLRACE_TOOLS_VERIFY_H
#define MILLRACE_TOOLS_VERIFY_H

#include <stddef.h>

/* Prints each difference as a line on stdout and a summary on stderr. The exit code: 0 none, 1 some, 125 it could not
   be done. */
int verify_run(const char *only, const char *file, const char *const *sets, size_t set_count);

#endif
