/* SPDX-License-Identifier: Apache-2.0 */
/* Running a credential plug-in of a kubeconfig: a program of the operator's, with a bounded time and a bounded output, and of our
   environment only what such programs read (a fixed list; the rest belongs into the kubeconfig's own `env`). */
#ifndef MILLRACE_KUBE_EXEC_H
#define MILLRACE_KUBE_EXEC_H

#include "base/buf.h"
#include "kube/access.h"

#include <uv.h>

struct kube_exec_run;

enum { KUBE_EXEC_MS = 30000 };

/* What an ExecCredential says. Texts live in `memory`; NULL where nothing is said. expires_ms 0: never. */
struct kube_exec_answer {
    struct arena memory;
    const char *token, *cert, *key;
    int64_t expires_ms;
};
/* Pure. ERR_INVALID. */
MUST_CHECK enum err kube_exec_read(struct str json, const char *api_version,
                                   struct kube_exec_answer *ret_answer, struct errinfo *info);
/* What KUBERNETES_EXEC_INFO is to hold. Pure. */
void kube_exec_info(const struct kube_access *a, struct buf *out);

/* `answer` NULL: `why` says what went wrong. The answer's memory is the callback's from then on. */
typedef void (*kube_exec_cb)(void *arg, const struct kube_exec_answer *answer, const char *why);
/* Never calls back from within. `access` must live until then. */
MUST_CHECK enum err kube_exec_start(uv_loop_t *loop, const struct kube_access *access, kube_exec_cb cb,
                                    void *arg, struct kube_exec_run **ret_run);
/* Kills it; no callback any more. The memory goes when the loop has come round. */
void kube_exec_cancel(struct kube_exec_run *run);

#endif
