/* SPDX-License-Identifier: Apache-2.0 */
/* What the API server says of an object: its metadata, and of a pod its state. Pure. Nothing is copied: texts are views into the JSON
   and live as long as it does; a text that is not there is "", never NULL. A member of another type than Kubernetes' counts as absent. */
#ifndef MILLRACE_KUBE_OBJECT_H
#define MILLRACE_KUBE_OBJECT_H

#include "json/json.h"

enum kube_phase { KUBE_PHASE_UNKNOWN, KUBE_PENDING, KUBE_RUNNING, KUBE_SUCCEEDED, KUBE_FAILED };

enum kube_container_state {
    KUBE_CONTAINER_NONE,
    KUBE_CONTAINER_WAITING,
    KUBE_CONTAINER_RUNNING,
    KUBE_CONTAINER_TERMINATED
};

/* Of the pod's first container. */
struct kube_container {
    enum kube_container_state state;
    const char *
        reason; /* of waiting: ImagePullBackOff, ErrImageNeverPull ...; of terminated: OOMKilled, Error, Completed ... */
    const char *message;   /* the kubelet's sentence */
    int exit_code, signal; /* of terminated */
    unsigned restarts;
    bool ready;
    const char *image_id;
};

/* What keeps a pod from running, or ended it. X(name, text). New rows go at the end. */
#define KUBE_TROUBLE_TABLE(X)                                                                                \
    X(NONE, "")                                                                                              \
    X(IMAGE, "the image cannot be had")                                                                      \
    X(UNSCHEDULABLE, "no node can take the pod")                                                             \
    X(CONTAINER, "the container cannot be made or started")                                                  \
    X(OOM, "out of memory")                                                                                  \
    X(DEADLINE, "the pod's activeDeadlineSeconds are over")                                                  \
    X(EVICTED, "the node evicted the pod")                                                                   \
    X(NODE_LOST, "the node is gone or shutting down")                                                        \
    X(DELETED, "somebody deletes the pod")                                                                   \
    X(EXITED, "the container ended")                                                                         \
    X(REJECTED, "the node refuses the pod")

enum kube_trouble {
#define X(name, text) KUBE_TROUBLE_##name,
    KUBE_TROUBLE_TABLE(X)
#undef X
};
#define KUBE_TROUBLE_COUNT (KUBE_TROUBLE_REJECTED + 1)

struct kube_pod {
    enum kube_phase phase;
    const char *reason, *message; /* of the pod: Evicted, DeadlineExceeded ...; "" while nothing is wrong */
    const char *ip, *node, *host_ip;
    bool scheduled, ready;                       /* conditions PodScheduled, Ready */
    bool unschedulable;                          /* PodScheduled is False: Unschedulable */
    const char *schedule_message;                /* the scheduler's sentence */
    const char *disruption, *disruption_message; /* condition DisruptionTarget: why it is taken away; "" */
    struct kube_container container;
};

struct kube_object {
    const json_t *json; /* the whole object, borrowed */
    const char *name, *ns, *uid, *resource_version;
    const char *owner_kind, *owner_name, *owner_uid; /* of its first owner */
    int64_t created_ms, deleted_ms; /* wall clock; deleted_ms: deletionTimestamp, 0 while nobody deletes it */
    struct kube_pod pod;            /* of other kinds: its texts are "", the rest 0 */
};

/* ERR_INVALID: not an object with metadata, name and resourceVersion, the least that a caller can work with. */
MUST_CHECK enum err kube_object_read(const json_t *json, struct kube_object *ret_object);

/* NULL: it has none. */
const char *kube_object_label(const struct kube_object *o, const char *name);
const char *kube_object_annotation(const struct kube_object *o, const char *name);
const char *kube_object_data(const struct kube_object *o, const char *key); /* of a ConfigMap */

/* A pod that is well, or merely not yet running, has TROUBLE_NONE. `ret_why` (may be NULL): the sentence of the kubelet or scheduler,
   or ours; lives as long as the object. */
enum kube_trouble kube_pod_trouble(const struct kube_object *pod, const char **ret_why);
const char *kube_trouble_name(enum kube_trouble trouble); /* "UNSCHEDULABLE" */
const char *kube_trouble_text(enum kube_trouble trouble);

#endif
