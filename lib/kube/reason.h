/* SPDX-License-Identifier: Apache-2.0 */
/* How a request to the API server ended. The server tells it as a Status object (or by the HTTP status alone, where something
   between us and it answered); what never reached it has rows of its own. Pure. */
#ifndef MILLRACE_KUBE_REASON_H
#define MILLRACE_KUBE_REASON_H

#include "base/str.h"

/* X(name, sends again, text). `sends again`: the client itself tries anew within the call's patience. New rows go at the end. */
#define KUBE_REASON_TABLE(X)                                                                                 \
    X(OK, false, "done")                                                                                     \
    X(NO_ANSWER, true, "the API server cannot be reached or gave no answer in time")                         \
    X(BUSY, true, "the API server asks for fewer requests")                                                  \
    X(UNAVAILABLE, true, "the API server is not available")                                                  \
    X(SERVER_ERROR, true, "the API server failed")                                                           \
    X(GARBAGE, true, "the answer is not one of an API server")                                               \
    X(TOO_LONG, false, "the answer is longer than the limit")                                                \
    X(CREDENTIALS, false, "there are no credentials")                                                        \
    X(UNAUTHORIZED, false, "the credentials are not accepted")                                               \
    X(FORBIDDEN, false, "a right is missing")                                                                \
    X(QUOTA, false, "a ResourceQuota or LimitRange forbids it")                                              \
    X(POD_SECURITY, false, "the namespace's Pod Security level refuses the pod")                             \
    X(ADMISSION, false, "an admission policy or webhook refuses it")                                         \
    X(NAMESPACE_MISSING, false, "the namespace does not exist or is being deleted")                          \
    X(NOT_FOUND, false, "there is no such object")                                                           \
    X(ALREADY_EXISTS, false, "an object of this name exists")                                                \
    X(CONFLICT, false, "the object has changed or is another one")                                           \
    X(INVALID, false, "the object is not valid")                                                             \
    X(EXPIRED, false, "this resourceVersion or continue token is too old")                                   \
    X(REFUSED, false, "the API server refuses the request")

enum kube_reason {
#define X(name, again, text) KUBE_##name,
    KUBE_REASON_TABLE(X)
#undef X
};
#define KUBE_REASON_COUNT (KUBE_REFUSED + 1)

/* "FORBIDDEN"; static. */
const char *kube_reason_name(enum kube_reason reason);
const char *kube_reason_text(enum kube_reason reason);
bool kube_reason_again(enum kube_reason reason);

enum { KUBE_MESSAGE_MAX = 400 };

/* What a Status says. `message` is the server's sentence, cut, one line; the texts of the table where it has none. */
struct kube_status {
    enum kube_reason reason;
    int code;
    int retry_after_s; /* -1: not said */
    char message[KUBE_MESSAGE_MAX + 1];
};

/* Of an answer with an HTTP status that is no success, or of the Status inside an ERROR event (then `http_status` is 0 and the
   Status' own code counts). */
void kube_status_read(int http_status, struct str body, struct kube_status *ret_status);

#endif
