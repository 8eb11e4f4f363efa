/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod is told to run a request: pure. */
#ifndef MILLRACE_WORKER_PLAN_H
#define MILLRACE_WORKER_PLAN_H

#include "schema/languages.h"
#include "worker/backend.h"
#include "worker/request.h"

enum { SOURCE_NAME_MAX = 112 };

struct run_plan {
    struct buf spec;
    struct buf collect;                /* payload of FRAME_COLLECT; empty: no file is given back */
    const char *kind;                  /* of pod; static */
    char source_name[SOURCE_NAME_MAX]; /* another than the language's when an input has that */
    enum language lang;
};

/* `stdin_open`: more standard input follows the START. ERR_NOT_FOUND: unknown language; ERR_FULL: more than a
   pod takes. The plan borrows nothing. */
MUST_CHECK enum err run_plan_build(const struct run_request *request, bool stdin_open,
                                   struct run_plan *ret_plan, struct errinfo *info);
/* What is given back: within `bounds`, whose `skip` becomes the source and what is made of it. */
void run_plan_collect(struct run_plan *plan, const struct frame_collect *bounds);
void run_plan_free(struct run_plan *plan);

#endif
