/* SPDX-License-Identifier: Apache-2.0 */
/* Steps 17 to 22 of the pod recipe: what a process does to itself before it becomes the user's program. One table of steps for the
   program that PID 1 forks, for the interpreter that it starts ahead, and for what a template forks. libc only. A step that
   fails names itself, so that the reason reaches the client; none is optional unless a test build takes its defence out. */
#ifndef MILLRACE_WORKER_LOCKDOWN_H
#define MILLRACE_WORKER_LOCKDOWN_H

#include "base/err.h"
#include "worker/spec.h"

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

enum { LOCKDOWN_RLIMITS_MAX = 16 };

struct lockdown {
    uint32_t uid, gid, umask;
    unsigned off;       /* bits of enum defence */
    bool need_landlock; /* fail where the kernel has none */
    bool
        given; /* by a container engine: ids, groups and capabilities are as they are, and are only read back */
    const char *work_dir;
    struct {
        int resource;
        struct rlimit limit; /* cut to the present hard limit */
    } rlimits[LOCKDOWN_RLIMITS_MAX];
    unsigned rlimit_count;
    struct sock_filter *filter;
    unsigned short filter_count;
};

/* The rows of worker/rlimits.def. */
void lockdown_fixed_rlimits(struct lockdown *l);

/* Put from[i] at descriptor i: 0 to 2 inherited, the rest close-on-exec. Everything above is closed. */
MUST_CHECK enum err lockdown_descriptors(const int *from, int n, unsigned off, struct errinfo *info);

/* What needs no job: session, limits, ids, capabilities, no_new_privs, the working folder. Needs CAP_SETUID, CAP_SETGID and
   CAP_SETPCAP in the present user namespace (`given`: none), and one thread. After a failure the process is half locked: it must end. */
MUST_CHECK enum err lockdown_identity(const struct lockdown *l, struct errinfo *info);

/* Landlock and the system call filter: last, for little is allowed behind them. */
MUST_CHECK enum err lockdown_scope(const struct lockdown *l, struct errinfo *info);

/* Lower the limits that the job asks for, of this process (pid 0) or of another of the pod that cannot do it itself. */
MUST_CHECK enum err lockdown_limits(int pid, const struct spec *spec, unsigned off, struct errinfo *info);

#endif
