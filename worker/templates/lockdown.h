/* SPDX-License-Identifier: Apache-2.0 */
/* What a process does to itself before it runs a user's code: steps 17 to 22 of the pod recipe, in that
   order. libc only; for the forked interpreters, and for whatever else becomes a program inside a pod. */
#ifndef MILLRACE_WORKER_TEMPLATES_LOCKDOWN_H
#define MILLRACE_WORKER_TEMPLATES_LOCKDOWN_H

#include "base/err.h"

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

enum { LOCKDOWN_RLIMITS_MAX = 16 };

struct lockdown {
    uint32_t uid, gid, umask;
    bool landlock; /* fails where the kernel has none */
    const char *work_dir;
    struct {
        int resource;
        struct rlimit limit; /* a hard limit above the present one is cut to it */
    } rlimits[LOCKDOWN_RLIMITS_MAX];
    unsigned rlimit_count;
    struct sock_filter *filter; /* NULL: no seccomp; for tests */
    unsigned short filter_count;
};

/* Put in, out, err at 0, 1, 2 and `keep` (or -1) at 3, close-on-exec; close everything else. Every source is
 * above 3. */
MUST_CHECK enum err lockdown_descriptors(int in, int out, int err, int keep, struct errinfo *info);

/* Needs CAP_SETUID, CAP_SETGID, CAP_SETPCAP in the present user namespace, and one thread. After a failure
   the process is half locked: it must end. info->text names the step. */
MUST_CHECK enum err lockdown_apply(const struct lockdown *l, struct errinfo *info);

/* Lower one limit; what is lower already stays as it is. */
MUST_CHECK enum err lockdown_lower(int resource, uint64_t soft, uint64_t hard, struct errinfo *info);

#endif
