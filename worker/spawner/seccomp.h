/* SPDX-License-Identifier: Apache-2.0 */
/* The system call filter of every program, as BPF for the pod side to load. */
#ifndef MILLRACE_WORKER_SPAWNER_SECCOMP_H
#define MILLRACE_WORKER_SPAWNER_SECCOMP_H

#include "base/err.h"

#include <stdbool.h>

/* *ret_fd: a sealed memfd of struct sock_filter[]. Without `internet` there are no sockets but AF_UNIX: for pods whose network
   namespace is not ours to empty. */
MUST_CHECK enum err seccomp_build(bool internet, int *ret_fd, struct errinfo *info);

#endif
