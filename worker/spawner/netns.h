/* SPDX-License-Identifier: Apache-2.0 */
/* Network namespaces of pods. One costs more to make and to take down than all else of a small pod, so one that a dead pod has
   left exactly as it was made serves again: no socket, and every counter and list that a program could have moved reads as in a
   new one. Any other is given up. A living pod shares its own with nobody. They belong to user namespaces of their own,
   in which no pod has any right; the owner of those is who templates run as, so that a template can join them. */
#ifndef MILLRACE_WORKER_SPAWNER_NETNS_H
#define MILLRACE_WORKER_SPAWNER_NETNS_H

#include "base/err.h"
#include "base/list.h"

#include <stdbool.h>
#include <sys/types.h>

struct netns;

struct netns_pool {
    bool on, checked; /* pods have one; one that was used is looked at */
    unsigned owner;
    int home; /* the helper's own */
    struct list idle, used;
    unsigned idle_n, watched_n;
};

/* `owner`: the id in U0 that owns them. Needs /proc. */
MUST_CHECK enum err netns_open(struct netns_pool *p, unsigned off, unsigned owner, struct errinfo *info);
/* From here to netns_leave() what the helper forks has a network namespace that nobody else has. NULL: pods have none of their own. */
MUST_CHECK enum err netns_enter(struct netns_pool *p, struct netns **ret, struct errinfo *info);
/* `pid`: the pod's first process, which was forked into it; 0 or less: none was. */
void netns_leave(struct netns_pool *p, struct netns *n, pid_t pid);
/* A child was reaped. If it was a pod's first process, nothing of the pod runs any more. */
void netns_on_exit(struct netns_pool *p, pid_t pid);

#endif
