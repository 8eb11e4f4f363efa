/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_WORKER_RUNNER_RUNNER_MAIN_H
#define MILLRACE_WORKER_RUNNER_RUNNER_MAIN_H

#include "worker/templates/launcher.h"

struct runner_start {
    unsigned fds;                /* bits of enum runner_fd: what is open */
    unsigned off;                /* bits of enum defence */
    const struct launcher *warm; /* NULL: the program of the pod is cold, or forked by a template */
    uint64_t memory;             /* bytes that its runs usually have */
};

/* Be PID 1 of this pod; returns an exit code when that cannot begin. */
int runner_main(const struct runner_start *start);

#endif
