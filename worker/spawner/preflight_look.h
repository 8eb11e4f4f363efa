/* SPDX-License-Identifier: Apache-2.0 */
/* What this host gives, found out by trying. Fails closed: what cannot be found out is missing. */
#ifndef MILLRACE_WORKER_SPAWNER_PREFLIGHT_LOOK_H
#define MILLRACE_WORKER_SPAWNER_PREFLIGHT_LOOK_H

#include "worker/spawner/cgroup.h"
#include "worker/spawner/preflight.h"

/* `state`: a file system of ours. In a test build MILLRACE_TEST_MISSING=name,... takes single rows away. */
void preflight_look(const struct cgroups *c, bool privileged, int state, struct preflight_facts *ret_facts);

#endif
