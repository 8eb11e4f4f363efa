/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/backend_kubernetes.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "io/crypto.h"
#include "worker/kube_internal.h"
#include "worker/kube_reasons.h"

#include <assert.h>
#include <ctype.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SECOND_NS 1000000000LL
enum {
    TICK_MS = 100,
    REDIAL_MS = 200, /* a container is said to run before its runner listens */
    SPEC_MAX = 64 * 1024,
    /* A pod's connection ended: so long for the watch to say why. A program's end has an answer that needs the reason. */
    VERDICT_STARTING_SECONDS = 4,
    VERDICT_WORKING_SECONDS = 15,
    DELETE_PAUSE_MAX = 6, /* doublings of a second */
    CLOSE_SECONDS = 3,
    /* Deleting a pod that was used waits for the job's answer to be under way, and for the runner to end. */
    DELETE_LATER_MS = 50,
    ENDING_MS = 1000,
};

int64_t kube_now(void)
{
    return clock_mono_ns();
}

void kube_text(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%.*s", (int)size - 1, from ? from : "");
}

void kube_name(char to[KUBE_NAME_MAX + 1], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(to, KUBE_NAME_MAX + 1, fmt, ap);
    va_end(ap);
    for (char *p = to; *p; p++)
        *p = *p == '_' ? 'x' : (char)tolower((unsigned char)*p);
}

static struct kube_pod_of *of(struct pod *pod)
{
    return container_of(pod, struct kube_pod_of, pod);
}

static struct kube_ref pod_ref(const struct kube_pod_of *kp)
{
    return (struct kube_ref){.kind = KUBE_KIND_POD, .ns = kp->k->ns, .name = kp->name};
}

/* ---- the end of a pod ---- */

void kube_judge(struct kube_pod_of *kp, enum reason reason, const char *why)
{
    if (kp->judged)
        return;
    kp->judged = true;
    kp->reason = reason;
    kube_text(kp->why, sizeof kp->why, why);
}

static void tell_judged(struct kube_pod_of *kp)
{
    pod_tell_lost(&kp->pod, kp->reason, kp->why);
}

static void on_closed(uv_handle_t *handle)
{
    struct kube_pod_of *kp = of(handle->data);
    list_remove(&kp->link);
    kp->k->pod_count--;
    pod_tell_gone(&kp->pod);
    free(kp);
}

static void finish_if_over(struct kube_pod_of *kp)
{
    if (kp->pod.destroyed && kp->gone && !kp->creating && !kp->deleting && !kp->pod.closing)
        pod_close(&kp->pod, on_closed);
}

static void on_deleted(void *arg, const struct kube_result *result)
{
    struct kube_pod_of *kp = arg;
    kp->deleting = false;
    if (result->reason == KUBE_OK || result->reason == KUBE_NOT_FOUND || result->reason == KUBE_CONFLICT ||
        result->reason == KUBE_NAMESPACE_MISSING) {
        kp->gone = true;
        kp->k->deleted++;
    } else {
        unsigned doublings = kp->delete_tries < DELETE_PAUSE_MAX ? kp->delete_tries : DELETE_PAUSE_MAX;
        kp->delete_tries++;
        kp->delete_ns = kube_now() + (SECOND_NS << doublings);
        log_limited(LOG_WARN, "a pod could not be deleted yet", F_STR("pod", kp->name),
                    F_STR("why", result->message));
    }
    finish_if_over(kp);
}

/* The runner was DONE, so that it alone was left, and has closed its end as we have ours: PID 1 has ended, and with it the container. */
static bool has_ended(const struct kube_pod_of *kp)
{
    struct tcp_info tcp = {0};
    socklen_t size = sizeof tcp;
    return kp->pod.phase == LINK_DONE && getsockopt(kp->pod.fd, IPPROTO_TCP, TCP_INFO, &tcp, &size) == 0 &&
           tcp.tcpi_state == TCP_CLOSE;
}

/* Where nothing is left to end, the kubelet need not tell how it ended: that saves requests of its own, and a second or two. */
static void begin_delete(struct kube_pod_of *kp)
{
    struct kube_ref ref = pod_ref(kp);
    bool ended = has_ended(kp);
    int64_t now = kube_now();
    struct kube_delete how = {.grace_s = ended ? 0 : -1, .uid = kp->uid[0] ? kp->uid : NULL};
    if (kp->creating || kp->deleting || kp->gone || now < kp->delete_ns || (!ended && now < kp->ending_ns))
        return;
    kp->deleting = kube_delete(kp->k->kube, &ref, &how, 0, on_deleted, kp, NULL) == ERR_OK;
    if (!kp->deleting)
        kp->delete_ns = now + SECOND_NS;
}

static void kubernetes_destroy(struct pod *pod)
{
    struct kube_pod_of *kp = of(pod);
    assert(!pod->destroyed);
    pod->destroyed = true;
    pod_watch(pod);
    if (pod->fd >= 0)
        shutdown(pod->fd, SHUT_RDWR); /* the runner ends with it, whatever the API server does */
    if (pod->phase == LINK_DONE) {
        kp->delete_ns = kube_now() + DELETE_LATER_MS * (SECOND_NS / 1000);
        kp->ending_ns = kube_now() + ENDING_MS * (SECOND_NS / 1000);
    }
    begin_delete(kp);
    finish_if_over(kp);
}

/* ---- the connection ---- */

static bool starting(const struct kube_pod_of *kp)
{
    return !kp->pod.ready;
}

/* Idle: it is of no use. Starting or working: the watch may know more soon than that the connection ended. */
static bool on_eof(struct pod *pod)
{
    struct kube_pod_of *kp = of(pod);
    if (!kp->judged && (starting(kp) || pod->phase >= LINK_STARTED_ASKED)) {
        kp->eof_ns = kube_now();
        if (kp->refused_ns == 0)
            kp->refused_ns = kp->eof_ns;
        return true;
    }
    kube_judge(kp, REASON_POD_LOST, "the pod's runner is gone");
    tell_judged(kp);
    return true;
}

/* ---- what the API server says of a pod ---- */

/* The tick does it when the canary answers later. */
static void dial_when_known(struct kube_pod_of *kp)
{
    if (!kp->dialled && kp->ip[0] && kube_canary_done(kp->k))
        kube_dial(kp);
}

static void look_at(struct kube_pod_of *kp, const struct kube_object *o)
{
    const char *why = "";
    enum kube_trouble trouble = kube_pod_trouble(o, &why);
    kube_text(kp->uid, sizeof kp->uid, o->uid);
    if (kp->pod.destroyed || kp->pod.lost)
        return;
    /* A node may come; the end of the start's time tells it. */
    if (trouble == KUBE_TROUBLE_UNSCHEDULABLE) {
        kube_text(kp->why, sizeof kp->why, why);
        return;
    }
    if (trouble != KUBE_TROUBLE_NONE) {
        kube_judge(kp, kube_trouble_reason(trouble, starting(kp)),
                   why && *why ? why : kube_trouble_text(trouble));
        if (kp->eof_ns != 0 || kp->pod.phase < LINK_STARTED_ASKED)
            tell_judged(kp);
        return;
    }
    if (o->pod.phase == KUBE_RUNNING && o->pod.container.state == KUBE_CONTAINER_RUNNING)
        kube_text(kp->ip, sizeof kp->ip, o->pod.ip);
    dial_when_known(kp);
}

static void vanished(struct kube_pod_of *kp)
{
    kp->gone = true;
    kube_judge(kp, REASON_POD_DELETED, "somebody deleted the pod");
    if (kp->eof_ns != 0 || kp->pod.phase < LINK_STARTED_ASKED)
        tell_judged(kp);
    finish_if_over(kp);
}

static struct kube_pod_of *pod_named(struct kubernetes *k, const char *name)
{
    list_each(kp, &k->pods, struct kube_pod_of, link) if (strcmp(kp->name, name) == 0) return kp;
    return NULL;
}

static void on_pod(void *arg, enum kube_watch_event event, const struct kube_object *o,
                   const struct kube_status *status)
{
    struct kubernetes *k = arg;
    struct kube_pod_of *kp = o ? pod_named(k, o->name) : NULL;
    bool canary = o && strcmp(o->name, k->canary.name) == 0;
    switch (event) {
    case KUBE_WATCH_LISTING:
        k->list_number++;
        return;
    case KUBE_WATCH_SEEN:
        if (kp) {
            kp->seen = k->list_number;
            look_at(kp, o);
        } else if (canary)
            kube_canary_seen(k, o);
        return;
    case KUBE_WATCH_GONE:
        if (kp)
            vanished(kp);
        else if (canary)
            kube_canary_gone(k);
        else
            kube_orphan_gone(k, o->name);
        return;
    case KUBE_WATCH_SYNCED:
        list_each(it, &k->pods, struct kube_pod_of,
                  link) if (it->uid[0] && it->seen != k->list_number && !it->gone) vanished(it);
        return;
    case KUBE_WATCH_TROUBLE:
        log_limited(LOG_WARN, "the watch of the pods is interrupted", F_STR("why", status->message));
        return;
    }
}

/* ---- making one ---- */

static void on_created(void *arg, const struct kube_result *result)
{
    struct kube_pod_of *kp = arg;
    kp->creating = false;
    /* What the watch has shown was made, whatever became of the answer: a job may be in it. */
    if (result->reason == KUBE_OK || kp->uid[0] != '\0') {
        kp->k->made++;
        kp->seen = kp->k->list_number;
        if (result->object)
            look_at(kp, result->object);
        if (kp->pod.destroyed)
            begin_delete(kp);
        return;
    }
    /* What had no answer may still be made: a delete follows in any case. */
    kp->gone = result->code >= 400 && result->code < 500;
    kube_judge(kp, kube_answer_reason(result->reason), result->message);
    tell_judged(kp);
    if (kp->pod.destroyed)
        begin_delete(kp);
    finish_if_over(kp);
}

static void make_name(struct kube_pod_of *kp)
{
    struct id id = id_new();
    kube_name(kp->name, "run-%s-%s", kp->kind, id.text);
}

static enum err ask_for(struct kube_pod_of *kp, struct errinfo *info)
{
    struct kubernetes *k = kp->k;
    char digest[SHA256_HEX_LEN + 1];
    struct sha256 token = kube_token(k, kp->name);
    struct sha256 hash = sha256_of((struct str){.p = (const char *)token.bytes, .n = SHA256_LEN});
    sha256_hex(&hash, digest);
    struct kube_pod_plan plan = {.name = kp->name,
                                 .kind = kp->kind,
                                 .deployment = k->deployment,
                                 .worker = k->worker,
                                 .lease = kp->lease->name,
                                 .lease_uid = kp->lease->uid,
                                 .token_digest = digest};
    auto_buf body = BUF_INIT(SPEC_MAX);
    struct kube_ref ref = pod_ref(kp);
    enum err e = kube_pod_json(k->options.config, &plan, &body, info);
    if (e != ERR_OK)
        return e;
    e = kube_create(k->kube, &ref, buf_str(&body), 0, on_created, kp, NULL);
    if (e != ERR_OK)
        return errinfo_set(info, e, 0, "too many requests wait for the API server");
    kp->creating = true;
    return ERR_OK;
}

static void begin_pod(struct kube_pod_of *kp)
{
    struct kubernetes *k = kp->k;
    struct errinfo info = {0};
    auto_free struct kube_orphan *orphan = kube_orphan_take(k, kp->kind);
    if (orphan) {
        kp->lease = orphan->lease;
        kube_text(kp->name, sizeof kp->name, orphan->name);
        kube_text(kp->uid, sizeof kp->uid, orphan->uid);
        kp->born_ns = orphan->born_ns;
        kp->seen = k->list_number;
        k->adopted++;
        kube_text(kp->ip, sizeof kp->ip, orphan->ip);
        dial_when_known(kp);
        return;
    }
    make_name(kp);
    kp->lease = k->own;
    if (kube_canary_refuses(k)) {
        kp->gone = true;
        kube_judge(kp, k->canary.reason, k->canary.why);
    } else if (k->why[0] != '\0' || !kube_lease_ready(k)) {
        kp->gone = true;
        kube_judge(kp, k->reason, k->why[0] ? k->why : "the cluster is not known yet");
    } else if (ask_for(kp, &info) != ERR_OK) {
        kp->gone = true;
        kube_judge(kp, REASON_POD_FORBIDDEN, info.text);
    }
}

static struct pod *kubernetes_create(struct pod_backend *backend, const char *kind,
                                     const struct pod_limits *limits, pod_event_cb cb, void *arg)
{
    struct kubernetes *k = container_of(backend, struct kubernetes, base);
    (void)limits; /* the settings' */
    if (k->closing || k->pod_count == KUBERNETES_PODS_MAX || (k->why[0] == '\0' && !kube_lease_ready(k)))
        return NULL;
    struct kube_pod_of *kp = calloc(1, sizeof *kp);
    if (!kp)
        return NULL;
    pod_init(&kp->pod, k->loop, cb, arg);
    kp->pod.on_eof = on_eof;
    kp->k = k;
    kp->born_ns = kp->since_ns = kube_now();
    kube_text(kp->kind, sizeof kp->kind, kind);
    list_append(&k->pods, &kp->link);
    k->pod_count++;
    begin_pod(kp);
    return &kp->pod;
}

static const struct pod_backend_ops kubernetes_ops = {
    .name = "kubernetes",
    .create = kubernetes_create,
    .place = pod_place,
    .run = pod_run,
    .input = pod_input,
    .kill = pod_kill,
    .pause = pod_pause,
    .destroy = kubernetes_destroy,
};

/* ---- clocks ---- */

/* What is left of its life is too short for the longest run. */
static bool too_old(const struct kube_pod_of *kp, int64_t now)
{
    const struct config *c = kp->k->options.config;
    int64_t longest = 2 * c->max_execution_ms;
    int64_t useful =
        c->k8s_pod_deadline_ms > 2 * longest ? c->k8s_pod_deadline_ms - longest : c->k8s_pod_deadline_ms / 2;
    return kp->pod.phase == LINK_READY && now - kp->born_ns > useful * (SECOND_NS / 1000);
}

static void check_start(struct kube_pod_of *kp, int64_t now)
{
    char text[KUBE_WHY_MAX];
    if (kp->pod.ready)
        return;
    if (kube_canary_refuses(kp->k)) {
        kube_judge(kp, kp->k->canary.reason, kp->k->canary.why);
        tell_judged(kp);
        return;
    }
    dial_when_known(kp);
    if (now - kp->since_ns > kp->k->options.config->k8s_pod_start_ms * (SECOND_NS / 1000)) {
        bool unscheduled = kp->why[0] != '\0' && !kp->judged;
        snprintf(text, sizeof text, "%.*s", (int)sizeof text - 1,
                 unscheduled ? kp->why : "the pod did not become ready in K8S_POD_START_SECONDS");
        kube_judge(kp, unscheduled ? REASON_UNSCHEDULABLE : REASON_NO_POD, text);
        tell_judged(kp);
    }
}

/* The time in which the watch could have said why, or the runner let us in, is over. */
static bool waited_for_verdict(const struct kube_pod_of *kp, int64_t now)
{
    int64_t since = starting(kp) ? kp->refused_ns : kp->eof_ns;
    int64_t seconds = starting(kp) ? VERDICT_STARTING_SECONDS : VERDICT_WORKING_SECONDS;
    return since != 0 && now - since > seconds * SECOND_NS;
}

static void redial(struct kube_pod_of *kp, int64_t now)
{
    if (!starting(kp) || kp->judged || kp->eof_ns == 0 ||
        now - kp->dialled_ns < REDIAL_MS * (SECOND_NS / 1000))
        return;
    kp->eof_ns = 0;
    kube_dial(kp);
}

static void check_pod(struct kube_pod_of *kp, int64_t now)
{
    if (kp->pod.destroyed) {
        begin_delete(kp);
        finish_if_over(kp);
        return;
    }
    if (kp->judged && kp->pod.phase < LINK_STARTED_ASKED)
        tell_judged(kp);
    else if (waited_for_verdict(kp, now)) {
        kube_judge(kp, REASON_POD_LOST,
                   starting(kp) ? "the pod's runner let nobody in"
                                : "the connection to the pod ended, and the cluster does not say why");
        tell_judged(kp);
    } else if (too_old(kp, now)) {
        kube_judge(kp, REASON_POD_DEADLINE, "replaced before the end of its life");
        tell_judged(kp);
    } else {
        redial(kp, now);
        check_start(kp, now);
    }
}

static void name_deployment(struct kubernetes *k)
{
    const struct sha256 *secret = &k->options.keys->key[0].secret;
    struct sha256 mac =
        hmac_sha256((struct str){.p = (const char *)secret->bytes, .n = SHA256_LEN}, STR("deployment"));
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex(&mac, hex);
    snprintf(k->deployment, sizeof k->deployment, "%.16s", hex);
}

static void begin_watch(struct kubernetes *k)
{
    char labels[128];
    snprintf(labels, sizeof labels, "%s=%s", KUBE_LABEL_DEPLOYMENT, k->deployment);
    struct kube_watch_options options = {.ref = {.kind = KUBE_KIND_POD, .ns = k->ns}, .labels = labels};
    if (kube_watch_open(k->kube, &options, on_pod, k, &k->pods_watch) != ERR_OK)
        log_limited(LOG_ERROR, "the pods cannot be watched: no memory");
}

static void on_tick_closed(uv_handle_t *handle)
{
    struct kubernetes *k = handle->data;
    kube_leases_free(k);
    k->closed(k->closed_arg);
    free(k);
}

static void on_kube_closed(void *arg)
{
    struct kubernetes *k = arg;
    uv_close((uv_handle_t *)&k->tick, on_tick_closed);
}

/* Our leases are given up; when the API server does not answer, others will find them. */
static void go_on_closing(struct kubernetes *k, int64_t now)
{
    if (kube_lease_drop_all(k) > 0 && now < k->close_ns)
        return;
    uv_timer_stop(&k->tick);
    kube_close(k->kube, on_kube_closed, k);
}

static void on_tick(uv_timer_t *timer)
{
    struct kubernetes *k = timer->data;
    int64_t now = kube_now();
    if (k->deployment[0] == '\0' && k->options.keys->count > 0)
        name_deployment(k);
    if (k->closing) {
        go_on_closing(k, now);
        return;
    }
    if (k->deployment[0] == '\0')
        return;
    if (!k->pods_watch)
        begin_watch(k);
    kube_lease_tick(k);
    kube_canary_tick(k, now);
    list_each(kp, &k->pods, struct kube_pod_of, link) check_pod(kp, now);
}

/* ---- opening and closing ---- */

enum err kubernetes_open(uv_loop_t *loop, const struct kubernetes_options *options,
                         struct pod_backend **ret_backend, struct errinfo *info)
{
    const struct config *c = options->config;
    struct kubernetes *k = calloc(1, sizeof *k);
    struct kube_options kube = {.kubeconfig = *c->kubeconfig ? c->kubeconfig : NULL};
    if (!k)
        return errinfo_set(info, ERR_NOMEM, 0, "no memory for the Kubernetes backend");
    *k = (struct kubernetes){.base = {.ops = &kubernetes_ops}, .options = *options, .loop = loop};
    k->reason = REASON_CLUSTER_UNAVAILABLE;
    k->ns = *c->k8s_namespace ? c->k8s_namespace : NULL;
    kube_text(k->worker, sizeof k->worker, options->worker);
    list_init(&k->pods);
    list_init(&k->leases);
    list_init(&k->orphans);
    enum err e = kube_canary_accept(k, &c->pod_accept_missing, info);
    if (e == ERR_OK)
        e = kube_open(loop, &kube, &k->kube, info);
    if (e != ERR_OK) {
        free(k);
        return e;
    }
    uv_timer_init(loop, &k->tick);
    k->tick.data = k;
    uv_timer_start(&k->tick, on_tick, 0, TICK_MS);
    log_info("pods are made by Kubernetes", F_STR("server", kube_server(k->kube)),
             F_STR("namespace", k->ns ? k->ns : kube_namespace(k->kube)));
    *ret_backend = &k->base;
    return ERR_OK;
}

void kubernetes_close(struct pod_backend *backend, void (*closed)(void *arg), void *arg)
{
    struct kubernetes *k = container_of(backend, struct kubernetes, base);
    assert(k->pod_count == 0);
    k->closing = true;
    k->closed = closed;
    k->closed_arg = arg;
    k->close_ns = kube_now() + CLOSE_SECONDS * SECOND_NS;
}
