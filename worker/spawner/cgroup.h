/* SPDX-License-Identifier: Apache-2.0 */
/* The cgroups of the pods: limits before anybody enters, exact usage afterwards, nothing left at the end. Version 1, 2
   or both, per controller. An emptied v1 cgroup is used again (dying memory cgroups pile up otherwise). */
#ifndef MILLRACE_WORKER_SPAWNER_CGROUP_H
#define MILLRACE_WORKER_SPAWNER_CGROUP_H

#include "base/list.h"
#include "worker/spawner/cgroup_path.h"
#include "worker/spawner/proto.h"

enum cgroup_controller { CG_MEMORY, CG_PIDS, CG_CPU, CG_CPUACCT, CG_CONTROLLERS };

/* One hierarchy with one or more of our controllers. */
struct cgroup_tree {
    bool v2;
    unsigned has; /* bits of enum cgroup_controller */
    int base;     /* directory of this spawner; -1: none */
    char path[2 * CGROUP_PATH_MAX];
};

struct cgroups {
    struct cgroup_tree trees[CG_CONTROLLERS];
    size_t trees_n;
    unsigned has; /* controllers in all */
    bool swap_accounted;
    struct list idle; /* struct cgroup: empty, to be used again */
    unsigned next, idle_n;
};

/* The cgroup of one pod: a directory in each tree. */
struct cgroup {
    struct list node;
    unsigned number;
    int dir[CG_CONTROLLERS];   /* by tree */
    int procs[CG_CONTROLLERS]; /* by tree: cgroup.procs for writing */
    /* cpuacct.usage or cpu.stat; memory.oom_control or memory.events; memory.max_usage_in_bytes or memory.peak;
       -1: not there */
    int cpu, memory, peak;
    struct pod_limits limits; /* as they are set */
    struct pod_usage base;    /* counters that cannot be set to zero, as the last pod left them */
    struct pod_usage seen;    /* as they were when last looked at */
};

/* Make the base directories, named `name`. `below` NULL: at the top of each hierarchy when `privileged`, else in our own
   cgroup. What is not writable is left out of `has`. What an earlier spawner of this name left is removed first. */
MUST_CHECK enum err cgroups_open(struct cgroups *c, const char *name, bool privileged, struct errinfo *info);
/* Remove everything of ours; bounded. False when something is left. */
bool cgroups_close(struct cgroups *c);
/* Put a process of ours (the helper) into the cgroup outside every pod. */
MUST_CHECK enum err cgroups_adopt(struct cgroups *c, int pid, struct errinfo *info);

MUST_CHECK enum err cgroup_take(struct cgroups *c, const struct pod_limits *limits, unsigned off,
                                struct cgroup **ret, struct errinfo *info);
MUST_CHECK enum err cgroup_set_limits(struct cgroups *c, struct cgroup *g, const struct pod_limits *limits,
                                      unsigned off, struct errinfo *info);
void cgroup_usage(struct cgroups *c, struct cgroup *g, struct pod_usage *ret);
/* All processes of it are dead (or nearly: retried), and cgroup_usage() has been called since. */
void cgroup_give_back(struct cgroups *c, struct cgroup *g);

#endif
