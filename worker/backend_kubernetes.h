/* SPDX-License-Identifier: Apache-2.0 */
/* Pods of a Kubernetes cluster (docs/KUBERNETES.md). Made and deleted through the API server, at most one request each; what
   becomes of them is known from one watch, and each is reached by one connection to its runner. Destroying a pod closes that
   connection and asks for its deletion behind everybody's back.

   Every pod belongs to a lease: a ConfigMap that its worker renews. The lease of a worker that died is taken over by another:
   its pods that wait are used by it, the others deleted. */
#ifndef MILLRACE_WORKER_BACKEND_KUBERNETES_H
#define MILLRACE_WORKER_BACKEND_KUBERNETES_H

#include "io/state_blob.h"
#include "schema/config.h"
#include "worker/backend.h"
#include "json/json.h"

#include <uv.h>

enum { KUBERNETES_PODS_MAX = 2048 };

struct kubernetes_options {
    const struct config *config;
    const char *worker;
    /* The deployment's, from which the pods' tokens are made; no pod is made before there is one. */
    const struct state_keys *keys;
};

MUST_CHECK enum err kubernetes_open(uv_loop_t *loop, const struct kubernetes_options *options,
                                    struct pod_backend **ret_backend, struct errinfo *info);
/* Every pod must be gone. The lease is given up; `closed` runs on the loop when nothing is left on it. */
void kubernetes_close(struct pod_backend *backend, void (*closed)(void *arg), void *arg);
/* NULL: pods can be made. Else why not, one line. */
const char *kubernetes_why_not(struct pod_backend *backend);
/* Names of what the cluster does not enforce (canary.def), once the canary told. */
const char *kubernetes_isolation(struct pod_backend *backend);
/* The same as an array of {name, what, accepted}; owned by the caller. */
json_t *kubernetes_lacks(struct pod_backend *backend);
/* ["pids_limit"]: what of that is needed and was accepted; NULL: nothing. */
const char *kubernetes_gaps(struct pod_backend *backend);
/* The JSON of /health/kubernetes, an object. Failure is sticky in `out`. */
void kubernetes_health(struct pod_backend *backend, struct buf *out);

#endif
