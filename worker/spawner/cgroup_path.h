/* SPDX-License-Identifier: Apache-2.0 */
/* Where the cgroup hierarchies are: from the text of /proc/self/mountinfo and /proc/self/cgroup. Pure. */
#ifndef MILLRACE_WORKER_SPAWNER_CGROUP_PATH_H
#define MILLRACE_WORKER_SPAWNER_CGROUP_PATH_H

#include "base/str.h"

enum { CGROUP_PATH_MAX = 256 };

struct cgroup_place {
    bool v2;
    char mount[CGROUP_PATH_MAX]; /* the hierarchy's top as seen here */
    char own[CGROUP_PATH_MAX];   /* our own cgroup below it, "" for the top */
};

/* The hierarchy that has `controller` ("memory"): a v1 mount with it; else the v2 mount. For v2 the caller checks
   cgroup.controllers. ERR_NOT_FOUND, or ERR_RANGE for paths over the bound. */
MUST_CHECK enum err cgroup_find(struct str mountinfo, struct str own_cgroups, struct str controller,
                                struct cgroup_place *ret_place);
/* Is `word` one of the words of `list`, separated by `sep`? */
bool cgroup_has_word(struct str list, char sep, struct str word);

#endif
