/* SPDX-License-Identifier: Apache-2.0 */
/* The program of a cold pod: a child of the runner, forked when the pod is made, that prepares itself, says that it is
   ready on the go socket, waits there for its run specification, locks itself down and executes it. It speaks
   the go protocol of worker/templates/template_proto.h, as a program forked from a template does. */
#ifndef MILLRACE_WORKER_RUNNER_PROGRAM_H
#define MILLRACE_WORKER_RUNNER_PROGRAM_H

#include "worker/templates/launcher.h"

#include <stdbool.h>
#include <stdint.h>

struct program_start {
    int go;                      /* its end of the go socket */
    int stdio[3];                /* its ends of the pipes */
    unsigned fds;                /* bits of enum runner_fd that are open */
    unsigned off;                /* bits of enum defence */
    bool contained;              /* by a container engine, which made the namespaces and gave the ids */
    bool second;                 /* the run behind a compile step: the source is there already */
    uint64_t memory;             /* bytes that its runs usually have; of a warm one */
    const struct launcher *warm; /* an interpreter that is executed before the job is known; NULL: cold */
};

/* Never returns. */
_Noreturn void program_main(const struct program_start *start);

#endif
