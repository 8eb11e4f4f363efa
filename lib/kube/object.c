/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/object.h"

#include "io/store/s3_answer.h"

#include <string.h>

static const char *text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value ? value : "";
}

static int number(const json_t *object, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(object, name));
    return value > INT32_MIN && value < INT32_MAX ? (int)value : 0;
}

static bool truth(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

static int64_t time_of(const json_t *object, const char *name)
{
    int64_t ms = 0;
    return s3_read_time(str_of(text(object, name)), &ms) ? 0 : ms;
}

/* ---- a pod ---- */

static enum kube_phase phase_of(const char *name)
{
    static const char *const names[] = {[KUBE_PENDING] = "Pending",
                                        [KUBE_RUNNING] = "Running",
                                        [KUBE_SUCCEEDED] = "Succeeded",
                                        [KUBE_FAILED] = "Failed"};
    for (unsigned i = KUBE_PENDING; i <= KUBE_FAILED; i++)
        if (!strcmp(names[i], name))
            return (enum kube_phase)i;
    return KUBE_PHASE_UNKNOWN;
}

static void read_container(const json_t *status, struct kube_container *c)
{
    static const struct {
        const char *name;
        enum kube_container_state state;
    } states[] = {{"waiting", KUBE_CONTAINER_WAITING},
                  {"running", KUBE_CONTAINER_RUNNING},
                  {"terminated", KUBE_CONTAINER_TERMINATED}};
    const json_t *state = json_object_get(status, "state"), *detail = NULL;
    for (size_t i = 0; i < sizeof states / sizeof *states && !detail; i++) {
        detail = json_object_get(state, states[i].name);
        c->state = detail ? states[i].state : KUBE_CONTAINER_NONE;
    }
    c->reason = text(detail, "reason");
    c->message = text(detail, "message");
    c->exit_code = number(detail, "exitCode");
    c->signal = number(detail, "signal");
    c->restarts = (unsigned)number(status, "restartCount");
    c->ready = truth(status, "ready");
    c->image_id = text(status, "imageID");
}

static void read_condition(const json_t *condition, struct kube_pod *pod)
{
    const char *type = text(condition, "type");
    bool yes = !strcmp(text(condition, "status"), "True");
    if (!strcmp(type, "PodScheduled")) {
        pod->scheduled = yes;
        pod->unschedulable = !yes && !strcmp(text(condition, "reason"), "Unschedulable");
        pod->schedule_message = text(condition, "message");
    } else if (!strcmp(type, "Ready")) {
        pod->ready = yes;
    } else if (!strcmp(type, "DisruptionTarget") && yes) {
        pod->disruption = text(condition, "reason");
        pod->disruption_message = text(condition, "message");
    }
}

static void read_pod(const json_t *json, struct kube_pod *pod)
{
    const json_t *status = json_object_get(json, "status"), *item;
    size_t i;
    *pod = (struct kube_pod){
        .phase = phase_of(text(status, "phase")),
        .reason = text(status, "reason"),
        .message = text(status, "message"),
        .ip = text(status, "podIP"),
        .node = text(json_object_get(json, "spec"), "nodeName"),
        .host_ip = text(status, "hostIP"),
        .schedule_message = "",
        .disruption = "",
        .disruption_message = "",
    };
    json_array_foreach(json_object_get(status, "conditions"), i, item)
    {
        read_condition(item, pod);
    }
    read_container(json_array_get(json_object_get(status, "containerStatuses"), 0), &pod->container);
}

/* ---- any object ---- */

enum err kube_object_read(const json_t *json, struct kube_object *ret_object)
{
    const json_t *meta = json_object_get(json, "metadata");
    const json_t *owner = json_array_get(json_object_get(meta, "ownerReferences"), 0);
    struct kube_object o = {
        .json = json,
        .name = text(meta, "name"),
        .ns = text(meta, "namespace"),
        .uid = text(meta, "uid"),
        .resource_version = text(meta, "resourceVersion"),
        .owner_kind = text(owner, "kind"),
        .owner_name = text(owner, "name"),
        .owner_uid = text(owner, "uid"),
        .created_ms = time_of(meta, "creationTimestamp"),
        .deleted_ms = time_of(meta, "deletionTimestamp"),
    };
    if (!o.name[0] || !o.resource_version[0])
        return ERR_INVALID;
    read_pod(json, &o.pod);
    *ret_object = o;
    return ERR_OK;
}

static const char *entry(const json_t *object, const char *map, const char *name)
{
    return json_string_value(json_object_get(json_object_get(object, map), name));
}

const char *kube_object_label(const struct kube_object *o, const char *name)
{
    return entry(json_object_get(o->json, "metadata"), "labels", name);
}

const char *kube_object_annotation(const struct kube_object *o, const char *name)
{
    return entry(json_object_get(o->json, "metadata"), "annotations", name);
}

const char *kube_object_data(const struct kube_object *o, const char *key)
{
    return entry(o->json, "data", key);
}

/* ---- what is wrong with a pod ---- */

static const struct {
    const char *name, *text;
} troubles[] = {
#define X(name, text) {#name, text},
    KUBE_TROUBLE_TABLE(X)
#undef X
};

const char *kube_trouble_name(enum kube_trouble trouble)
{
    return troubles[trouble].name;
}

const char *kube_trouble_text(enum kube_trouble trouble)
{
    return troubles[trouble].text;
}

/* The words of the kubelet (pkg/kubelet: images/types.go, container/sync_result.go, eviction, nodeshutdown, lifecycle/predicate.go)
   and of the controllers. A word that ends with '*' stands for all that begin so. */
static const struct word {
    const char *reason;
    enum kube_trouble trouble;
} words[] = {
    {"ErrImage*", KUBE_TROUBLE_IMAGE},
    {"ImagePullBackOff", KUBE_TROUBLE_IMAGE},
    {"ImageInspectError", KUBE_TROUBLE_IMAGE},
    {"InvalidImageName", KUBE_TROUBLE_IMAGE},
    {"RegistryUnavailable", KUBE_TROUBLE_IMAGE},
    {"SignatureValidationFailed", KUBE_TROUBLE_IMAGE},
    {"CreateContainer*", KUBE_TROUBLE_CONTAINER},
    {"RunContainerError", KUBE_TROUBLE_CONTAINER},
    {"CrashLoopBackOff", KUBE_TROUBLE_CONTAINER},
    {"PreStartHookError", KUBE_TROUBLE_CONTAINER},
    {"PostStartHookError", KUBE_TROUBLE_CONTAINER},
    {"StartError", KUBE_TROUBLE_CONTAINER},
    {"ContainerCannotRun", KUBE_TROUBLE_CONTAINER},
    {"OOMKilled", KUBE_TROUBLE_OOM},
    {"DeadlineExceeded", KUBE_TROUBLE_DEADLINE},
    {"Evicted", KUBE_TROUBLE_EVICTED},
    {"Preempt*", KUBE_TROUBLE_EVICTED}, /* the kubelet's, and the scheduler's disruption */
    {"EvictionByEvictionAPI", KUBE_TROUBLE_EVICTED},
    {"DeletionByTaintManager", KUBE_TROUBLE_EVICTED},
    {"DeletionByPodGC", KUBE_TROUBLE_NODE_LOST},
    {"NodeLost", KUBE_TROUBLE_NODE_LOST},
    {"NodeShutdown", KUBE_TROUBLE_NODE_LOST},
    {"Shutdown", KUBE_TROUBLE_NODE_LOST},
    {"Terminated", KUBE_TROUBLE_NODE_LOST},
    {"ContainerStatusUnknown", KUBE_TROUBLE_NODE_LOST},
    {"OutOf*", KUBE_TROUBLE_REJECTED},
    {"UnexpectedAdmissionError", KUBE_TROUBLE_REJECTED},
    {"Node*", KUBE_TROUBLE_REJECTED}, /* NodeAffinity, NodePorts, NodeName */
    {"*Forbidden", KUBE_TROUBLE_REJECTED},
    {"PodOSNotSupported", KUBE_TROUBLE_REJECTED},
    {"AppArmor", KUBE_TROUBLE_REJECTED},
};

static bool word_fits(const char *word, const char *reason)
{
    size_t n = strlen(word), have = strlen(reason);
    if (word[0] == '*')
        return have >= n - 1 && !strcmp(reason + have - (n - 1), word + 1);
    return word[n - 1] == '*' ? !strncmp(word, reason, n - 1) : !strcmp(word, reason);
}

static enum kube_trouble look_up(const char *reason)
{
    for (size_t i = 0; reason[0] && i < sizeof words / sizeof *words; i++)
        if (word_fits(words[i].reason, reason))
            return words[i].trouble;
    return KUBE_TROUBLE_NONE;
}

/* Who deletes a pod for the node's sake says so in a condition; before it is deleted that may still come to nothing. */
static enum kube_trouble judge_disruption(const struct kube_object *o)
{
    return o->deleted_ms || o->pod.phase == KUBE_FAILED ? look_up(o->pod.disruption) : KUBE_TROUBLE_NONE;
}

/* What was said of the pod, of its container, of its removal, of its place, in this order. */
static enum kube_trouble judge(const struct kube_object *o, const char **ret_why)
{
    const struct kube_pod *p = &o->pod;
    const struct kube_container *c = &p->container;
    enum kube_trouble found = look_up(p->reason);
    *ret_why = p->message;
    if (found)
        return found;
    *ret_why = c->message;
    found = c->state == KUBE_CONTAINER_RUNNING ? KUBE_TROUBLE_NONE : look_up(c->reason);
    if (found)
        return found;
    *ret_why = p->disruption_message;
    found = judge_disruption(o);
    if (found)
        return found;
    *ret_why = c->message;
    if (c->state == KUBE_CONTAINER_TERMINATED || p->phase == KUBE_SUCCEEDED || p->phase == KUBE_FAILED)
        return p->phase == KUBE_FAILED && c->state == KUBE_CONTAINER_NONE ? KUBE_TROUBLE_REJECTED
                                                                          : KUBE_TROUBLE_EXITED;
    *ret_why = p->schedule_message;
    if (p->unschedulable)
        return KUBE_TROUBLE_UNSCHEDULABLE;
    *ret_why = "";
    return o->deleted_ms ? KUBE_TROUBLE_DELETED : KUBE_TROUBLE_NONE;
}

enum kube_trouble kube_pod_trouble(const struct kube_object *pod, const char **ret_why)
{
    const char *why = "";
    enum kube_trouble trouble = judge(pod, &why);
    if (ret_why)
        *ret_why = why[0] ? why : kube_trouble_text(trouble);
    return trouble;
}
