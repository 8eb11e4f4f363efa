/* SPDX-License-Identifier: Apache-2.0 */
/* What this host gives, found out by trying. Fails closed: what is missing is fatal or has to be accepted by name. */
#ifndef MILLRACE_WORKER_SPAWNER_PREFLIGHT_H
#define MILLRACE_WORKER_SPAWNER_PREFLIGHT_H

#include "worker/spawner/cgroup.h"

enum preflight {
#define P(NAME, name, fatal, text) PREFLIGHT_##NAME,
#include "worker/spawner/preflight.def"
#undef P
    PREFLIGHT_COUNT
};

/* Bits of what is missing. */
uint64_t preflight_look(const struct cgroups *c, bool privileged);
/* Bit of `name`; 0 for an unknown name or a fatal row: those cannot be accepted. */
uint64_t preflight_acceptable(const char *name);
/* "landlock, swap_limit", or "" */
void preflight_names(uint64_t missing, char *text, size_t size);
/* The table, one line each, on stderr. */
void preflight_print(uint64_t missing, uint64_t accepted);
/* May pods be made? */
bool preflight_passes(uint64_t missing, uint64_t accepted);

#endif
