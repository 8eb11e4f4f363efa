/* SPDX-License-Identifier: Apache-2.0 */
/* What the cluster gives, found out once at start: which rights we have, and, by a pod of our own, what its nodes enforce. Until the
   canary has said it no pod's runner is spoken to, so no program runs before; pods are made meanwhile, for it takes as long as they do. */
#include "worker/canary.h"

#include "base/cleanup.h"
#include "base/id.h"
#include "base/log.h"
#include "worker/kube_internal.h"
#include "worker/kube_reasons.h"
#include "worker/pool_plan.h"

#include <stdio.h>
#include <string.h>

#define SECOND_NS 1000000000LL
enum { SPEC_MAX = 64 * 1024, PAUSE_DOUBLINGS = 5, RIGHTS_SECONDS = 10, NAMES_MAX = 80 };

static const struct {
    const char *name, *text;
    bool needed;
} rows[CANARY_COUNT] = {
#define C(NAME, name, needed, text) {#name, text, needed},
#include "worker/canary.def"
#undef C
};

/* 0: there is no such row. */
static unsigned bit_of(struct str name)
{
    for (unsigned i = 0; i < CANARY_COUNT; i++)
        if (str_eq(name, str_of(rows[i].name)))
            return 1U << i;
    return 0;
}

static void write_names(unsigned bits, const char *separator, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < CANARY_COUNT && n < size; i++)
        if (bits & 1U << i)
            n += (size_t)snprintf(text + n, size - n, "%s%s", n > 0 ? separator : "", rows[i].name);
}

static void write_gaps(struct kube_canary *c)
{
    unsigned gaps = 0;
    char names[KUBE_WHY_MAX - 4];
    for (unsigned i = 0; i < CANARY_COUNT; i++)
        gaps |= rows[i].needed ? c->missing & c->accepted & 1U << i : 0;
    write_names(gaps, "\",\"", names, sizeof names);
    c->gaps[0] = '\0';
    if (gaps != 0)
        snprintf(c->gaps, sizeof c->gaps, "[\"%s\"]", names);
}

enum err kube_canary_accept(struct kubernetes *k, const struct config_list *names, struct errinfo *info)
{
    for (size_t i = 0; i < names->count; i++) {
        unsigned bit = bit_of(str_of(names->items[i]));
        if (bit == 0)
            return errinfo_set(info, ERR_INVALID, 0,
                               "POD_ACCEPT_MISSING: a cluster lacks no %s; see docs/KUBERNETES.md",
                               names->items[i]);
        k->canary.accepted |= bit;
    }
    return ERR_OK;
}

/* ---- what it says ---- */

static void failed(struct kubernetes *k, enum reason reason, const char *why)
{
    struct kube_canary *c = &k->canary;
    unsigned doublings = c->failures < PAUSE_DOUBLINGS ? c->failures : PAUSE_DOUBLINGS;
    if (c->failures++ == 0)
        log_warn("the canary pod gave no answer", F_STR("why", why));
    c->reason = reason;
    c->over = true;
    c->turn += reason == REASON_IMAGE_UNAVAILABLE;
    c->retry_ns = kube_now() + (SECOND_NS << doublings);
    kube_text(c->why, sizeof c->why, why);
}

static void judge(struct kubernetes *k, unsigned missing)
{
    struct kube_canary *c = &k->canary;
    unsigned refused = 0;
    char names[NAMES_MAX];
    for (unsigned i = 0; i < CANARY_COUNT; i++)
        if (missing & ~c->accepted & 1U << i && rows[i].needed)
            refused |= 1U << i;
    c->over = c->answered = true;
    c->missing = missing;
    c->why[0] = '\0';
    write_names(missing, ",", c->names, sizeof c->names);
    write_gaps(c);
    log_info("what the cluster gives is known", F_STR("missing", c->names));
    if (refused == 0)
        return;
    write_names(refused, ",", names, sizeof names);
    c->reason = REASON_POD_FORBIDDEN;
    snprintf(c->why, sizeof c->why,
             "this cluster lacks %s (docs/KUBERNETES.md); mend it, or accept it: POD_ACCEPT_MISSING=%s",
             names, names);
    log_error("no pod is used", F_STR("why", c->why));
}

static void read_answer(struct kubernetes *k, const char *message)
{
    struct str rest = str_of(message), line = str_split(&rest, '\n');
    unsigned missing = 0;
    bool good = str_eq(str_split(&line, ' '), STR(CANARY_MAGIC));
    while (good && line.n > 0) {
        unsigned bit = bit_of(str_split(&line, ' '));
        good = bit != 0;
        missing |= bit;
    }
    if (good)
        judge(k, missing);
    else
        failed(k, REASON_IMAGE_UNAVAILABLE,
               "the runner of the image does not know the canary's work: is it older than the worker?");
}

void kube_canary_seen(struct kubernetes *k, const struct kube_object *o)
{
    struct kube_canary *c = &k->canary;
    const struct kube_container *container = &o->pod.container;
    const char *why = "";
    enum kube_trouble trouble = kube_pod_trouble(o, &why);
    kube_text(c->uid, sizeof c->uid, o->uid);
    if (c->over)
        return;
    if (container->state == KUBE_CONTAINER_TERMINATED && container->exit_code == 0)
        read_answer(k, container->message);
    else if (trouble == KUBE_TROUBLE_UNSCHEDULABLE) {
        c->reason = REASON_UNSCHEDULABLE;
        kube_text(c->why, sizeof c->why, why);
    } else if (trouble != KUBE_TROUBLE_NONE)
        failed(k, kube_trouble_reason(trouble, true), why);
}

void kube_canary_gone(struct kubernetes *k)
{
    k->canary.there = false;
    if (!k->canary.over)
        failed(k, REASON_POD_DELETED, "somebody deleted the canary pod");
}

/* ---- its life ---- */

static void on_created(void *arg, const struct kube_result *result)
{
    struct kubernetes *k = arg;
    k->canary.busy = false;
    if (result->reason == KUBE_OK) {
        if (result->object)
            kube_canary_seen(k, result->object);
        return;
    }
    k->canary.there = result->code < 400 || result->code >= 500; /* without an answer it may be there */
    failed(k, kube_answer_reason(result->reason), result->message);
}

/* Python's image; where it cannot be had, that of each other kind that has a pool in its turn. */
static const char *kind_of_canary(const struct kubernetes *k)
{
    struct pool_kind kinds[POOL_KINDS_MAX];
    size_t n = pool_plan_images(k->options.config, kinds), pools = 1;
    for (size_t i = 1; i < n; i++)
        if (kinds[i].size > 0)
            kinds[pools++] = kinds[i];
    return kinds[k->canary.turn % pools].name;
}

static void make(struct kubernetes *k)
{
    struct kube_canary *c = &k->canary;
    struct errinfo info = {0};
    auto_buf body = BUF_INIT(SPEC_MAX);
    struct kube_ref ref = {.kind = KUBE_KIND_POD, .ns = k->ns, .name = c->name};
    struct kube_pod_plan plan = {.name = c->name,
                                 .kind = kind_of_canary(k),
                                 .deployment = k->deployment,
                                 .worker = k->worker,
                                 .lease = k->own->name,
                                 .lease_uid = k->own->uid,
                                 .canary = true};
    struct id id = id_new();
    kube_name(c->name, "canary-%.16s-x", id.text);
    c->uid[0] = '\0';
    c->over = false;
    c->since_ns = kube_now();
    if (kube_pod_json(k->options.config, &plan, &body, &info) != ERR_OK)
        failed(k, REASON_POD_FORBIDDEN, info.text);
    else if (kube_create(k->kube, &ref, buf_str(&body), 0, on_created, k, NULL) != ERR_OK)
        failed(k, REASON_CLUSTER_UNAVAILABLE, "too many requests wait for the API server");
    else
        c->there = c->busy = true;
}

static void on_deleted(void *arg, const struct kube_result *result)
{
    struct kubernetes *k = arg;
    k->canary.busy = false;
    k->canary.there = result->reason != KUBE_OK && result->reason != KUBE_NOT_FOUND &&
                      result->reason != KUBE_CONFLICT && result->reason != KUBE_NAMESPACE_MISSING;
    k->canary.delete_ns = kube_now() + RIGHTS_SECONDS * SECOND_NS;
}

static void take_away(struct kubernetes *k, int64_t now)
{
    struct kube_canary *c = &k->canary;
    struct kube_ref ref = {.kind = KUBE_KIND_POD, .ns = k->ns, .name = c->name};
    struct kube_delete how = {.grace_s = 0, .uid = c->uid[0] ? c->uid : NULL};
    if (now >= c->delete_ns)
        c->busy = kube_delete(k->kube, &ref, &how, 0, on_deleted, k, NULL) == ERR_OK;
}

/* ---- rights ---- */

static const struct kube_right rights[] = {
    {.verb = "create", .resource = "pods"},       {.verb = "delete", .resource = "pods"},
    {.verb = "get", .resource = "pods"},          {.verb = "list", .resource = "pods"},
    {.verb = "watch", .resource = "pods"},        {.verb = "create", .resource = "configmaps"},
    {.verb = "delete", .resource = "configmaps"}, {.verb = "get", .resource = "configmaps"},
    {.verb = "list", .resource = "configmaps"},   {.verb = "watch", .resource = "configmaps"},
    {.verb = "patch", .resource = "configmaps"},
};
enum { RIGHTS = sizeof rights / sizeof rights[0] };

static void ask_next(struct kubernetes *k);

/* Whoever may not even ask is found out by what follows. */
static void on_right(void *arg, const struct kube_result *result)
{
    struct kubernetes *k = arg;
    const struct kube_right *right = &rights[k->right++];
    if (result->reason == KUBE_OK && !result->allowed) {
        if (k->rights_why[0] == '\0')
            log_error("a right is missing", F_STR("verb", right->verb), F_STR("resource", right->resource));
        snprintf(k->rights_why, sizeof k->rights_why, "the right to %s %s in the namespace %s is missing",
                 right->verb, right->resource, k->ns ? k->ns : kube_namespace(k->kube));
        k->right = RIGHTS;
    } else if (k->right == RIGHTS)
        k->rights_why[0] = '\0';
    k->asking = false;
    if (k->right == RIGHTS)
        k->rights_ns = k->rights_why[0] ? kube_now() + RIGHTS_SECONDS * SECOND_NS : INT64_MAX;
    else
        ask_next(k);
}

static void ask_next(struct kubernetes *k)
{
    struct kube_right right = rights[k->right];
    right.ns = k->ns;
    k->asking = kube_can(k->kube, &right, 0, on_right, k, NULL) == ERR_OK;
}

/* ---- the clock ---- */

bool kube_canary_refuses(const struct kubernetes *k)
{
    return k->canary.why[0] != '\0' && (k->canary.answered || k->canary.failures > 0);
}

bool kube_canary_done(const struct kubernetes *k)
{
    return k->canary.answered && k->canary.why[0] == '\0';
}

void kube_canary_tick(struct kubernetes *k, int64_t now)
{
    struct kube_canary *c = &k->canary;
    if (!k->asking && now >= k->rights_ns) {
        k->right = 0;
        ask_next(k);
    }
    if (c->busy || !kube_lease_ready(k))
        return;
    if (c->there && c->over)
        take_away(k, now);
    else if (c->there && now - c->since_ns > k->options.config->k8s_pod_start_ms * (SECOND_NS / 1000))
        failed(k, c->why[0] ? c->reason : REASON_NO_POD,
               c->why[0] ? c->why : "the canary pod said nothing in K8S_POD_START_SECONDS");
    else if (!c->there && !c->answered && now >= c->retry_ns)
        make(k);
}

static json_t *lacks(const struct kube_canary *c)
{
    json_t *missing = json_array();
    for (unsigned i = 0; i < CANARY_COUNT; i++)
        if (c->missing & 1U << i)
            json_array_append_new(missing,
                                  json_pack("{s:s, s:s, s:b}", "name", rows[i].name, "what", rows[i].text,
                                            "accepted", (c->accepted & 1U << i) != 0 || !rows[i].needed));
    return missing;
}

json_t *kube_canary_json(const struct kubernetes *k)
{
    const struct kube_canary *c = &k->canary;
    return json_pack("{s:b, s:s, s:o}", "answered", c->answered, "why", c->why, "missing", lacks(c));
}

json_t *kubernetes_lacks(struct pod_backend *backend)
{
    return lacks(&container_of(backend, struct kubernetes, base)->canary);
}

const char *kubernetes_gaps(struct pod_backend *backend)
{
    return text_or_null(container_of(backend, struct kubernetes, base)->canary.gaps);
}

const char *kubernetes_isolation(struct pod_backend *backend)
{
    const struct kubernetes *k = container_of(backend, struct kubernetes, base);
    return k->canary.answered ? k->canary.names : "the canary has not answered yet";
}
