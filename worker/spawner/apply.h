/* SPDX-License-Identifier: Apache-2.0 */
/* Carry a plan out. Targets are relative to the current directory, which is the new root. */
#ifndef MILLRACE_WORKER_SPAWNER_APPLY_H
#define MILLRACE_WORKER_SPAWNER_APPLY_H

#include "base/err.h"
#include "worker/spawner/plan.h"

/* Stops at the first operation that fails: a half-made root is never used. No heap: runs in a child that shares our memory. */
MUST_CHECK enum err apply_plan(const struct plan *plan, struct errinfo *info);

#endif
