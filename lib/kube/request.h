/* SPDX-License-Identifier: Apache-2.0 */
/* A request as it is sent, built from what kube.h is given. Pure. */
#ifndef MILLRACE_KUBE_REQUEST_H
#define MILLRACE_KUBE_REQUEST_H

#include "kube/kube.h"

struct kube_request {
    const char *method;
    const char *type;  /* of the body; NULL: there is none */
    struct buf target; /* path and query */
    struct buf body;
    struct buf what; /* "delete pods x in namespace y", for people */
};

void kube_request_free(struct kube_request *r);

/* ERR_INVALID: a name cannot stand in a path. `ns` of the ref must be set for a namespaced kind; `name` NULL: all of them. */
MUST_CHECK enum err kube_request_begin(struct kube_request *r, const char *method, const char *verb,
                                       const struct kube_ref *ref);
/* Begins with '?' or '&' as is needed; the value is encoded. NULL: nothing is added. */
void kube_request_query(struct kube_request *r, const char *name, const char *value);
void kube_request_number(struct kube_request *r, const char *name, unsigned value);
void kube_request_body(struct kube_request *r, const char *type, struct str body);
void kube_request_delete_body(struct kube_request *r, const struct kube_delete *how);
void kube_request_patch_body(struct kube_request *r, const struct kube_patch *patch);
/* SelfSubjectAccessReview; the whole request. */
void kube_request_can(struct kube_request *r, const struct kube_right *right);
/* A GET of `target`; the whole request. */
void kube_request_plain(struct kube_request *r, const char *target, const char *what);
MUST_CHECK enum err kube_request_status(const struct kube_request *r);

#endif
