/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod is told to run a request: pure. */
#ifndef MILLRACE_WORKER_PLAN_H
#define MILLRACE_WORKER_PLAN_H

#include "schema/languages.h"
#include "worker/backend.h"
#include "worker/request.h"

struct run_plan {
    struct buf spec;
    const char *kind; /* of pod; static */
    enum language lang;
};

/* `stdin_open`: more standard input follows the START. ERR_NOT_FOUND: unknown language; ERR_FULL: more than a
   pod takes. The plan borrows nothing. */
MUST_CHECK enum err run_plan_build(const struct run_request *request, bool stdin_open,
                                   struct run_plan *ret_plan, struct errinfo *info);
void run_plan_free(struct run_plan *plan);

#endif
