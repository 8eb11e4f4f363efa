/* SPDX-License-Identifier: Apache-2.0 */
/* Fork the calling process into a pod (DECISIONS 6). A process that joined a pid namespace stays outside of
   it itself, only its children are born inside; so two helpers come between, both on stacks of their own in
   the caller's memory, with the caller stopped (CLONE_VM | CLONE_VFORK), and only the last step copies an
   address space:

     template --clone--> M: cgroups, setns --clone--> N: first one inside --fork--> P: the program
                                                       N ends: P is the child of the pod's PID 1.  */
#ifndef MILLRACE_WORKER_TEMPLATES_FORK_INTO_H
#define MILLRACE_WORKER_TEMPLATES_FORK_INTO_H

#include "base/err.h"

#include <sys/types.h>

struct fork_into {
    int pidfd;          /* of the pod's PID 1 */
    const int *cgroups; /* cgroup.procs, open for writing */
    unsigned cgroup_count;
    unsigned namespaces; /* CLONE_NEW*: which to join, and CLONE_NEWCGROUP to make */
};

/* Like fork(): *ret_pid is 0 in P (which is in the pod, with all capabilities of the pod's user namespace and
   the caller's open descriptors), in the caller it is P's pid as the pod sees it. The caller must have
   exactly one thread and must not be waited for by anybody else. On failure there is no P. Not reentrant. */
MUST_CHECK enum err fork_into_pod(const struct fork_into *into, pid_t *ret_pid, struct errinfo *info);

#endif
