/* SPDX-License-Identifier: Apache-2.0 */
/* Steps 17 to 22 of the pod recipe: what a process does to itself before it becomes the user's program. Every step
   names itself when it fails, so that the reason reaches the client; nothing is optional unless a test build says so. */
#ifndef MILLRACE_WORKER_RUNNER_LOCKDOWN_H
#define MILLRACE_WORKER_RUNNER_LOCKDOWN_H

#include "base/err.h"

#include <stdint.h>

/* Everything that does not depend on the job: limits, ids, capabilities, no_new_privs. */
MUST_CHECK enum err lockdown_identity(unsigned off, struct errinfo *info);
/* Lower the limits that the job asked for; 0 keeps what there is. */
MUST_CHECK enum err lockdown_limits(uint64_t nofile, uint64_t fsize, uint64_t nproc, uint64_t cpu_ms,
                                    unsigned off, struct errinfo *info);
/* The same limits for another process of the pod (a warm interpreter that cannot do it itself). */
MUST_CHECK enum err lockdown_limits_of(int pid, uint64_t nofile, uint64_t fsize, uint64_t nproc,
                                       uint64_t cpu_ms, unsigned off, struct errinfo *info);
/* File and network scope; does nothing where the kernel has no Landlock (the preflight has said so). */
MUST_CHECK enum err lockdown_landlock(unsigned off, struct errinfo *info);
/* The system call filter from `fd` (struct sock_filter[]); last, because little is allowed behind it. */
MUST_CHECK enum err lockdown_seccomp(int fd, unsigned off, struct errinfo *info);

#endif
