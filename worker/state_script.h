/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that are executed (shells) keep their state by a script that is read before them: pure. */
#ifndef MILLRACE_WORKER_STATE_SCRIPT_H
#define MILLRACE_WORKER_STATE_SCRIPT_H

#include "worker/plan.h"

/* Puts the script of the plan's language, and the variable that names it, into plan->spec. A language whose interpreter is
   kept warm has none: then nothing is put. `max_bytes`: of the raw state; what Bash saves is bounded lower. */
void state_script_put(struct run_plan *plan, const json_t *env, uint64_t max_bytes, bool on_error);

#endif
