/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod of Kubernetes is made of: pure, from settings to JSON. Nothing of it is secret (knock.h). */
#ifndef MILLRACE_WORKER_KUBE_SPEC_H
#define MILLRACE_WORKER_KUBE_SPEC_H

#include "schema/config.h"
#include "schema/languages.h"

/* Where the runner is in every image of ours. */
#define KUBE_RUNNER "/usr/lib/millrace/millrace-runner"

/* Labels of what we make; the deployment's value tells one Millrace from another in the same namespace. */
#define KUBE_LABEL_DEPLOYMENT "millrace.dev/deployment"
#define KUBE_LABEL_LEASE      "millrace.dev/lease"
#define KUBE_LABEL_WORKER     "millrace.dev/worker"
#define KUBE_LABEL_KIND       "millrace.dev/kind"
#define KUBE_LABEL_LANGUAGE   "millrace.dev/language"
/* The kind of what is no pod of a pool. */
#define KUBE_CANARY "canary"

enum { KUBE_NAME_MAX = 63, KUBE_KIND_MAX = 24, KUBE_WARM_MAX = 32 };

/* A kind of pod is a language's, or a package set's of one that has several. */
struct kube_kind_of {
    enum language lang;
    char warm[KUBE_WARM_MAX]; /* "" : no interpreter is started ahead */
};
/* False: there is no such kind. */
bool kube_kind_find(const char *kind, struct kube_kind_of *ret_kind);

struct kube_pod_plan {
    const char *name, *kind;
    const char *deployment, *worker; /* label values */
    const char *lease, *lease_uid;   /* the ConfigMap that owns it */
    const char *token_digest;        /* SHA-256 of its token, in hex */
    bool canary;                     /* it tries what the cluster enforces, and ends (worker/canary.h) */
};
/* ERR_INVALID: a setting that is JSON is none, or not of its shape; ERR_NOT_FOUND: no such kind; ERR_NOMEM. */
MUST_CHECK enum err kube_pod_json(const struct config *config, const struct kube_pod_plan *plan,
                                  struct buf *out, struct errinfo *info);
/* Its image by the settings. */
MUST_CHECK enum err kube_image(const struct config *config, const char *language, struct buf *out);

struct kube_lease_plan {
    const char *name, *deployment, *worker;
    int64_t renewed_ms;
};
MUST_CHECK enum err kube_lease_json(const struct kube_lease_plan *plan, struct buf *out);

#endif
