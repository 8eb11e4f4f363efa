/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/kube_reasons.h"

static const struct {
    enum reason starting, working;
} troubles[KUBE_TROUBLE_COUNT] = {
    [KUBE_TROUBLE_NONE] = {REASON_POD_LOST, REASON_POD_LOST},
    [KUBE_TROUBLE_IMAGE] = {REASON_IMAGE_UNAVAILABLE, REASON_IMAGE_UNAVAILABLE},
    [KUBE_TROUBLE_UNSCHEDULABLE] = {REASON_UNSCHEDULABLE, REASON_UNSCHEDULABLE},
    [KUBE_TROUBLE_CONTAINER] = {REASON_IMAGE_UNAVAILABLE, REASON_POD_LOST},
    [KUBE_TROUBLE_OOM] = {REASON_OOM, REASON_OOM},
    [KUBE_TROUBLE_DEADLINE] = {REASON_POD_DEADLINE, REASON_POD_DEADLINE},
    [KUBE_TROUBLE_EVICTED] = {REASON_POD_EVICTED, REASON_POD_EVICTED},
    [KUBE_TROUBLE_NODE_LOST] = {REASON_NODE_LOST, REASON_NODE_LOST},
    [KUBE_TROUBLE_DELETED] = {REASON_POD_DELETED, REASON_POD_DELETED},
    /* The runner ends by itself at once when the image lacks what it needs. */
    [KUBE_TROUBLE_EXITED] = {REASON_IMAGE_UNAVAILABLE, REASON_POD_LOST},
    [KUBE_TROUBLE_REJECTED] = {REASON_UNSCHEDULABLE, REASON_POD_LOST},
};

enum reason kube_trouble_reason(enum kube_trouble trouble, bool starting)
{
    return starting ? troubles[trouble].starting : troubles[trouble].working;
}

enum reason kube_answer_reason(enum kube_reason answer)
{
    switch (answer) {
    case KUBE_QUOTA:
        return REASON_POD_QUOTA;
    case KUBE_FORBIDDEN:
    case KUBE_POD_SECURITY:
    case KUBE_ADMISSION:
    case KUBE_NAMESPACE_MISSING:
    case KUBE_NOT_FOUND:
    case KUBE_INVALID:
    case KUBE_REFUSED:
        return REASON_POD_FORBIDDEN;
    case KUBE_OK:
    case KUBE_NO_ANSWER:
    case KUBE_BUSY:
    case KUBE_UNAVAILABLE:
    case KUBE_SERVER_ERROR:
    case KUBE_GARBAGE:
    case KUBE_TOO_LONG:
    case KUBE_CREDENTIALS:
    case KUBE_UNAUTHORIZED:
    case KUBE_ALREADY_EXISTS:
    case KUBE_CONFLICT:
    case KUBE_EXPIRED:
        break;
    }
    return REASON_CLUSTER_UNAVAILABLE;
}
