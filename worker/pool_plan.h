/* SPDX-License-Identifier: Apache-2.0 */
/* Which kinds of pods a worker keeps, and how many of each: from the tables and the settings. Pure. */
#ifndef MILLRACE_WORKER_POOL_PLAN_H
#define MILLRACE_WORKER_POOL_PLAN_H

#include "schema/config.h"
#include "worker/pool.h"

/* Fills one row for each kind of kinds.def, Python first; returns how many. `there`: is this file on the host? A kind whose
   file is missing is `missing`, and a language without its program counts for nothing. */
size_t pool_plan(const struct config *config, bool (*there)(const char *path),
                 struct pool_kind kinds[POOL_KINDS_MAX]);
bool pool_plan_there(const char *path);

#endif
