/* SPDX-License-Identifier: Apache-2.0 */
/* The Landlock policy of every program: the system read-only, its own three trees, no TCP, no signal and no abstract socket
   beyond the pod. As much of it as the kernel's ABI has; what a mount mistake lets in stays out of reach. */
#ifndef MILLRACE_WORKER_LANDLOCK_H
#define MILLRACE_WORKER_LANDLOCK_H

#include <stdbool.h>

int landlock_abi(void); /* 0: this kernel has none */

/* Needs no_new_privs. Returns 0, or -1 with errno. A kernel without Landlock: 0, or EOPNOTSUPP when it is `needed`. */
int landlock_confine(const char *work_dir, bool needed);

#endif
