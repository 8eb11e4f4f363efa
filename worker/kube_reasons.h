/* SPDX-License-Identifier: Apache-2.0 */
/* What a job is told when the cluster, and not its program, ended it or gave no pod. Pure. */
#ifndef MILLRACE_WORKER_KUBE_REASONS_H
#define MILLRACE_WORKER_KUBE_REASONS_H

#include "kube/object.h"
#include "kube/reason.h"
#include "schema/reasons.h"

/* `starting`: the pod was never ready. */
enum reason kube_trouble_reason(enum kube_trouble trouble, bool starting);
/* Of an API server's answer to the making of a pod. */
enum reason kube_answer_reason(enum kube_reason answer);

#endif
