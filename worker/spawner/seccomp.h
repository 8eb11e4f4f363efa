/* SPDX-License-Identifier: Apache-2.0 */
/* The system call filter of every program, as BPF for the pod side to load. */
#ifndef MILLRACE_WORKER_SPAWNER_SECCOMP_H
#define MILLRACE_WORKER_SPAWNER_SECCOMP_H

#include "base/err.h"

/* *ret_fd: a sealed memfd of struct sock_filter[]. */
MUST_CHECK enum err seccomp_build(int *ret_fd, struct errinfo *info);

#endif
