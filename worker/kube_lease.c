/* SPDX-License-Identifier: Apache-2.0 */
/* Leases: one ConfigMap for each worker, the owner of its pods, renewed by it. Whoever finds one that nobody renewed for
   K8S_LEASE_SECONDS by its own clock takes it over by an update that only one can win; its pods that wait are orphans for the
   pool to use, the others are deleted. A lease without pods that was taken over is deleted.
   When the API server was away nobody could renew, which says nothing of who lives: the time begins anew when our own renewals go
   through again. And an owner that lives has the last word: it renews at once what it sees in other hands, who then let go. */
#include "worker/kube_internal.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "worker/kube_reasons.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS 1000000000LL
enum {
    BODY_MAX = 4096,
    RENEWALS = 3,
    RETRY_SECONDS = 1,
    ORPHAN_LEASES = 2,
    OUTAGE_PARTS =
        2, /* of a lease: so long without an answer is an outage; with RENEWALS of others still less than a lease */
    RETURN_SECONDS =
        20, /* the longest pause of another worker's client (KUBE_PAUSE_MAX_MS) after an outage */
};

static struct kube_ref lease_ref(const struct kube_lease *lease, const struct kubernetes *k)
{
    return (struct kube_ref){.kind = KUBE_KIND_CONFIG_MAP, .ns = k->ns, .name = lease->name};
}

static int64_t lease_ns(const struct kubernetes *k)
{
    return k->options.config->k8s_lease_ms * (SECOND_NS / 1000);
}

static struct kube_lease *lease_add(struct kubernetes *k)
{
    struct kube_lease *lease = k->lease_count < KUBE_LEASES_MAX ? calloc(1, sizeof *lease) : NULL;
    if (!lease)
        return NULL;
    lease->k = k;
    k->lease_count++;
    list_append(&k->leases, &lease->link);
    return lease;
}

static void lease_remove(struct kubernetes *k, struct kube_lease *lease)
{
    list_each(kp, &k->pods, struct kube_pod_of, link) if (kp->lease == lease) kp->lease = NULL;
    list_remove(&lease->link);
    k->lease_count--;
    free(lease);
}

bool kube_lease_ready(const struct kubernetes *k)
{
    return k->own && k->own->uid[0] != '\0' && k->pods_watch && kube_watch_synced(k->pods_watch);
}

/* ---- our own ---- */

/* Our lease went through. After an outage others need as long again as it lasted, for their pauses have grown with it. */
static void answered(struct kubernetes *k)
{
    int64_t now = kube_now(), gap = now - k->answered_ns, most = RETURN_SECONDS * SECOND_NS;
    if (k->answered_ns != 0 && gap > lease_ns(k) / OUTAGE_PARTS)
        k->steady_ns = now + (gap < most ? gap : most);
    k->answered_ns = now;
}

static void blame(struct kubernetes *k, const struct kube_result *result)
{
    if (k->why[0] == '\0')
        log_warn("no pods can be made", F_STR("why", result->message));
    k->reason = kube_answer_reason(result->reason);
    kube_text(k->why, sizeof k->why, result->message);
}

static void on_made(void *arg, const struct kube_result *result)
{
    struct kube_lease *lease = arg;
    struct kubernetes *k = lease->k;
    lease->busy = false;
    lease->renew_ns = kube_now() + RETRY_SECONDS * SECOND_NS;
    if (result->reason != KUBE_OK || !result->object) {
        blame(k, result);
        return;
    }
    k->why[0] = '\0';
    answered(k);
    kube_text(lease->uid, sizeof lease->uid, result->object->uid);
    lease->renew_ns = kube_now() + lease_ns(k) / RENEWALS;
}

static void make_own(struct kubernetes *k)
{
    auto_buf body = BUF_INIT(BODY_MAX);
    struct kube_lease *lease = k->own;
    struct kube_lease_plan plan = {
        .name = lease->name, .deployment = k->deployment, .worker = k->worker, .renewed_ms = clock_wall_ms()};
    struct kube_ref ref = lease_ref(lease, k);
    lease->busy = kube_lease_json(&plan, &body) == ERR_OK &&
                  kube_create(k->kube, &ref, buf_str(&body), 0, on_made, lease, NULL) == ERR_OK;
    if (!lease->busy)
        lease->renew_ns = kube_now() + RETRY_SECONDS * SECOND_NS;
}

static void begin_own(struct kubernetes *k)
{
    struct id id = id_new();
    k->own = lease_add(k);
    if (!k->own)
        return;
    k->own->ours = k->own->own = k->own->listed = true;
    kube_name(k->own->name, "millrace-%.16s-x", id.text);
}

/* ---- renewing, and taking over ---- */

static void on_renewed_well(struct kube_lease *lease)
{
    if (lease->own) {
        lease->k->why[0] = '\0';
        answered(lease->k);
    } else if (lease->takes) {
        lease->ours = true;
        log_info("the lease of a dead worker is taken over", F_STR("lease", lease->name));
    }
}

static void on_renewed(void *arg, const struct kube_result *result)
{
    struct kube_lease *lease = arg;
    struct kubernetes *k = lease->k;
    lease->busy = false;
    lease->renew_ns = kube_now() + lease_ns(k) / RENEWALS;
    if (result->reason == KUBE_OK) {
        on_renewed_well(lease);
        return;
    }
    if (!lease->ours) { /* another was quicker, or it is let go */
        lease->changed_ns = kube_now();
        return;
    }
    lease->renew_ns = kube_now() + RETRY_SECONDS * SECOND_NS;
    if (result->reason == KUBE_NOT_FOUND && lease->own)
        lease->uid[0] = '\0'; /* somebody deleted it, and with it its pods: it is made again */
    else if (lease->own)
        blame(k, result);
}

static void renew(struct kubernetes *k, struct kube_lease *lease)
{
    char now[24];
    snprintf(now, sizeof now, "%" PRId64, clock_wall_ms());
    const struct kube_change data[] = {{"holder", k->worker}, {"renewed", now}};
    struct kube_patch patch = {.data = data, .data_count = 2, .uid = lease->uid};
    struct kube_ref ref = lease_ref(lease, k);
    lease->takes = !lease->ours;
    if (lease->takes)
        patch.resource_version = lease->version;
    lease->busy = kube_patch(k->kube, &ref, &patch, 0, on_renewed, lease, NULL) == ERR_OK;
}

/* ---- the pods of a lease that was taken over ---- */

struct kube_orphan *kube_orphan_take(struct kubernetes *k, const char *kind)
{
    list_each(o, &k->orphans, struct kube_orphan, link)
    {
        if (strcmp(o->kind, kind) != 0)
            continue;
        list_remove(&o->link);
        k->orphan_count--;
        return o;
    }
    return NULL;
}

void kube_orphan_gone(struct kubernetes *k, const char *name)
{
    list_each(o, &k->orphans, struct kube_orphan, link)
    {
        if (strcmp(o->name, name) != 0)
            continue;
        list_remove(&o->link);
        k->orphan_count--;
        free(o);
        return;
    }
}

static void on_swept(void *arg, const struct kube_result *result)
{
    struct kubernetes *k = arg;
    if (result->reason == KUBE_OK)
        k->swept++; /* else the deletion of the lease takes it along */
}

static void sweep(struct kubernetes *k, const char *name, const char *uid)
{
    struct kube_ref ref = {.kind = KUBE_KIND_POD, .ns = k->ns, .name = name};
    struct kube_delete how = {.grace_s = -1, .uid = uid};
    if (kube_delete(k->kube, &ref, &how, 0, on_swept, k, NULL) != ERR_OK)
        log_limited(LOG_WARN, "the pod of a dead worker cannot be swept yet", F_STR("pod", name));
}

/* Whether it waits for a job or works for nobody is the runner's to say: one that works lets nobody in. */
static void take_in(struct kubernetes *k, struct kube_lease *lease, const struct kube_object *pod)
{
    const char *kind = kube_object_label(pod, KUBE_LABEL_KIND);
    bool usable = kind && strlen(kind) < KUBE_KIND_MAX && strcmp(kind, KUBE_CANARY) != 0 &&
                  pod->deleted_ms == 0 && pod->pod.ip[0] && pod->pod.phase == KUBE_RUNNING &&
                  kube_pod_trouble(pod, NULL) == KUBE_TROUBLE_NONE;
    struct kube_orphan *o = usable && k->orphan_count < KUBE_ORPHANS_MAX ? calloc(1, sizeof *o) : NULL;
    if (!o) {
        sweep(k, pod->name, pod->uid);
        return;
    }
    o->lease = lease;
    int64_t age_ms = clock_wall_ms() - pod->created_ms;
    o->since_ns = kube_now();
    o->born_ns = o->since_ns - (age_ms > 0 ? age_ms : 0) * (SECOND_NS / 1000);
    kube_text(o->name, sizeof o->name, pod->name);
    kube_text(o->uid, sizeof o->uid, pod->uid);
    kube_text(o->kind, sizeof o->kind, kind);
    kube_text(o->ip, sizeof o->ip, pod->pod.ip);
    list_append(&k->orphans, &o->link);
    k->orphan_count++;
}

static void list_pods(struct kubernetes *k, struct kube_lease *lease, const char *next);

static void on_listed(void *arg, const struct kube_result *result)
{
    struct kube_lease *lease = arg;
    lease->busy = false;
    if (result->reason != KUBE_OK)
        return; /* again, with the next tick */
    for (size_t i = 0; i < result->count; i++)
        take_in(lease->k, lease, &result->items[i]);
    if (result->next)
        list_pods(lease->k, lease, result->next);
    else
        lease->listed = true;
}

static void list_pods(struct kubernetes *k, struct kube_lease *lease, const char *next)
{
    char labels[2 * KUBE_NAME_MAX];
    snprintf(labels, sizeof labels, "%s=%s", KUBE_LABEL_LEASE, lease->name);
    struct kube_list list = {.labels = labels, .next = next};
    struct kube_ref ref = {.kind = KUBE_KIND_POD, .ns = k->ns};
    lease->busy = kube_list(k->kube, &ref, &list, 0, on_listed, lease, NULL) == ERR_OK;
}

static void sweep_orphans(struct kubernetes *k, int64_t now)
{
    list_each(o, &k->orphans, struct kube_orphan, link)
    {
        if (now - o->since_ns < ORPHAN_LEASES * lease_ns(k))
            continue;
        sweep(k, o->name, o->uid);
        list_remove(&o->link);
        k->orphan_count--;
        free(o);
    }
}

/* ---- giving up ---- */

static bool has_pods(const struct kubernetes *k, const struct kube_lease *lease)
{
    list_each(o, &k->orphans, struct kube_orphan, link) if (o->lease == lease) return true;
    list_each(kp, &k->pods, struct kube_pod_of, link) if (kp->lease == lease) return true;
    return false;
}

static void on_dropped(void *arg, const struct kube_result *result)
{
    struct kube_lease *lease = arg;
    lease->busy = false;
    if (result->reason == KUBE_OK || result->reason == KUBE_NOT_FOUND || result->reason == KUBE_CONFLICT)
        lease_remove(lease->k, lease);
    else
        lease->renew_ns = kube_now() + RETRY_SECONDS * SECOND_NS;
}

static void drop(struct kubernetes *k, struct kube_lease *lease)
{
    struct kube_ref ref = lease_ref(lease, k);
    struct kube_delete how = {.grace_s = -1, .uid = lease->uid, .background = true};
    lease->dropping = true;
    lease->busy = kube_delete(k->kube, &ref, &how, 0, on_dropped, lease, NULL) == ERR_OK;
}

unsigned kube_lease_drop_all(struct kubernetes *k)
{
    unsigned left = 0;
    list_each(lease, &k->leases, struct kube_lease, link)
    {
        if (lease == k->own)
            k->own = NULL;
        if (!lease->ours || !lease->uid[0])
            continue;
        left++;
        if (!lease->busy && !lease->dropping)
            drop(k, lease);
    }
    return left;
}

/* Its owner lives after all: what was not used yet is the owner's. */
static void let_go(struct kubernetes *k, struct kube_lease *lease)
{
    log_info("the owner of a lease that was taken over lives", F_STR("lease", lease->name));
    lease->ours = lease->listed = false;
    list_each(o, &k->orphans, struct kube_orphan, link)
    {
        if (o->lease != lease)
            continue;
        list_remove(&o->link);
        k->orphan_count--;
        free(o);
    }
}

/* ---- the watch of all leases ---- */

static struct kube_lease *lease_named(struct kubernetes *k, const char *name)
{
    list_each(lease, &k->leases, struct kube_lease, link) if (strcmp(lease->name, name) == 0) return lease;
    return NULL;
}

/* Of one that is ours: somebody else says that he has it. */
static void lease_contested(struct kubernetes *k, struct kube_lease *lease)
{
    if (lease->own)
        lease->renew_ns = 0;
    else if (!lease->dropping)
        let_go(k, lease);
}

static void lease_seen(struct kubernetes *k, const struct kube_object *o)
{
    const char *holder = kube_object_data(o, "holder");
    const char *renewed = kube_object_data(o, "renewed");
    struct kube_lease *lease = lease_named(k, o->name);
    if (!lease) {
        lease = lease_add(k);
        if (!lease)
            return;
        kube_text(lease->name, sizeof lease->name, o->name);
    }
    kube_text(lease->version, sizeof lease->version, o->resource_version);
    if (!lease->ours)
        kube_text(lease->uid, sizeof lease->uid, o->uid);
    else if (holder && strcmp(holder, k->worker) != 0)
        lease_contested(k, lease);
    if (lease->changed_ns != 0 && renewed && strcmp(renewed, lease->renewed) == 0)
        return;
    kube_text(lease->renewed, sizeof lease->renewed, renewed);
    lease->changed_ns = kube_now();
}

/* Somebody deleted it, and with it its pods: it is made again. */
static void own_is_gone(struct kube_lease *lease)
{
    lease->uid[0] = '\0';
    lease->renew_ns = 0;
}

static void on_lease(void *arg, enum kube_watch_event event, const struct kube_object *o,
                     const struct kube_status *status)
{
    struct kubernetes *k = arg;
    struct kube_lease *lease = o ? lease_named(k, o->name) : NULL;
    (void)status;
    if (event == KUBE_WATCH_SEEN)
        lease_seen(k, o);
    else if (event == KUBE_WATCH_GONE && lease && !lease->ours && !lease->busy)
        lease_remove(k, lease);
    else if (event == KUBE_WATCH_GONE && lease && lease == k->own && strcmp(o->uid, lease->uid) == 0)
        own_is_gone(lease);
}

static void watch_leases(struct kubernetes *k)
{
    char labels[128];
    snprintf(labels, sizeof labels, "%s=%s", KUBE_LABEL_DEPLOYMENT, k->deployment);
    struct kube_watch_options options = {.ref = {.kind = KUBE_KIND_CONFIG_MAP, .ns = k->ns},
                                         .labels = labels};
    if (kube_watch_open(k->kube, &options, on_lease, k, &k->leases_watch) != ERR_OK)
        log_limited(LOG_ERROR, "the leases cannot be watched: no memory");
}

/* ---- the clock ---- */

/* Nobody renewed it, while whoever lives could. */
static bool is_dead(const struct kubernetes *k, const struct kube_lease *lease, int64_t now)
{
    int64_t since = lease->changed_ns > k->steady_ns ? lease->changed_ns : k->steady_ns;
    return kube_watch_synced(k->leases_watch) && now - k->answered_ns <= lease_ns(k) / OUTAGE_PARTS &&
           now - since > lease_ns(k);
}

static void keep(struct kubernetes *k, struct kube_lease *lease, int64_t now)
{
    if (lease->busy)
        return;
    if (!lease->ours) {
        if (is_dead(k, lease, now))
            renew(k, lease);
        return;
    }
    if (!lease->listed)
        list_pods(k, lease, NULL);
    else if (!lease->own && !has_pods(k, lease))
        drop(k, lease);
    else if (now >= lease->renew_ns && lease->uid[0] == '\0')
        make_own(k);
    else if (now >= lease->renew_ns)
        renew(k, lease);
}

void kube_lease_tick(struct kubernetes *k)
{
    int64_t now = kube_now();
    if (!k->own)
        begin_own(k);
    if (!k->leases_watch)
        watch_leases(k);
    if (!k->leases_watch)
        return;
    list_each(lease, &k->leases, struct kube_lease, link) keep(k, lease, now);
    sweep_orphans(k, now);
}

void kube_leases_free(struct kubernetes *k)
{
    list_each(o, &k->orphans, struct kube_orphan, link) free(o);
    list_each(lease, &k->leases, struct kube_lease, link) free(lease);
}
