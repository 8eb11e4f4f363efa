/* SPDX-License-Identifier: Apache-2.0 */
/* Pods made by the spawner on this machine (spawner/proto.h). Holds at most LOCAL_PODS_MAX of them. */
#ifndef MILLRACE_WORKER_BACKEND_LOCAL_H
#define MILLRACE_WORKER_BACKEND_LOCAL_H

#include "worker/backend.h"

#include <uv.h>

enum { LOCAL_PODS_MAX = 1536 };

struct local_options {
    int fd; /* the SOCK_SEQPACKET socket to the spawner; taken over */
    void (*on_hello)(void *arg, uint64_t missing, uint64_t accepted, bool rootless);
    /* The spawner is gone, and with it all pods: each that is not destroyed now tells LOST next. Once. */
    void (*on_gone)(void *arg, const char *why);
    void *arg;
};

MUST_CHECK enum err local_open(uv_loop_t *loop, const struct local_options *options,
                               struct pod_backend **ret_backend, struct errinfo *info);
/* Every pod must be gone or lost. Freed on the loop. */
void local_close(struct pod_backend *backend);

#endif
