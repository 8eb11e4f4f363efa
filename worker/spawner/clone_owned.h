/* SPDX-License-Identifier: Apache-2.0 */
/* A fork into new namespaces, by the helper. */
#ifndef MILLRACE_WORKER_SPAWNER_CLONE_OWNED_H
#define MILLRACE_WORKER_SPAWNER_CLONE_OWNED_H

#include "base/err.h"

/* As fork(): the pid, 0 in the child, or -1 with errno. The creator's effective id owns the user namespace; a template of that
   id may join it and what belongs to it. `ret_pidfd` is written with CLONE_PIDFD among the flags. */
MUST_CHECK int clone_owned(unsigned owner, unsigned long flags, int *ret_pidfd);

#endif
