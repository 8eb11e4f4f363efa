/* SPDX-License-Identifier: Apache-2.0 */
/* What a request is sent with, kept fresh: files (a service account's token is replaced each hour, CAs and certificates now and
   then) are read again, a plug-in is run again before what it gave expires. */
#ifndef MILLRACE_KUBE_CREDENTIALS_H
#define MILLRACE_KUBE_CREDENTIALS_H

#include "kube/access.h"

#include <uv.h>

struct kube_credentials;

/* PEM and text; {NULL, 0}: none. Valid until the loop comes round. */
struct kube_material {
    struct str token, ca, cert, key;
};

enum { KUBE_REREAD_MS = 10000 };

/* Takes `access` over when it succeeds. ERR_NOT_FOUND ...: `info` names the file. `changed` is called on the loop when a plug-in has
   ended, well or not. */
MUST_CHECK enum err kube_credentials_open(uv_loop_t *loop, struct kube_access *access,
                                          void (*changed)(void *arg), void *arg,
                                          struct kube_credentials **ret_credentials, struct errinfo *info);
void kube_credentials_close(struct kube_credentials *c);
/* ERR_AGAIN: `changed` comes. ERR_DENIED: there are none at present, `ret_why` says why. */
MUST_CHECK enum err kube_credentials_get(struct kube_credentials *c, struct kube_material *ret_material,
                                         const char **ret_why);
/* The server said 401. True: there may be newer ones, so ask again. */
bool kube_credentials_refused(struct kube_credentials *c);
const struct kube_access *kube_credentials_access(const struct kube_credentials *c);

#endif
