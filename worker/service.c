/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/service.h"

#include "base/clock.h"
#include "base/log.h"
#include "schema/languages.h"
#include "worker/spawner/kinds.h"
#include "worker/spawner/preflight.h"
#include "json/json.h"

#include <string.h>

enum { PAGE_MAX = 1 << 20 };

/* ---- metrics ---- */

/* Whose pods these are; LANG_COUNT ("other"): pods without an interpreter. Where each language has an image, its id is a kind too. */
static enum language language_of_kind(const char *kind)
{
    enum language lang;
    struct errinfo info;
    if (pod_kind_named(kind) == KIND_COUNT)
        return language_parse(str_of(kind), &lang, &info) == ERR_OK ? lang : LANG_COUNT;
    const struct pod_kind_row *row = pod_kind_row(pod_kind_named(kind));
    for (unsigned i = 0; i < LANG_COUNT; i++) {
        const char *warm = language_row((enum language)i)->warm;
        if (strcmp(warm, kind) == 0 || (row->imports && strcmp(warm, row->fallback) == 0))
            return (enum language)i;
    }
    return LANG_COUNT;
}

static void set_pools(struct worker *w)
{
    struct pool_stats stats[POOL_KINDS_MAX];
    size_t n = pools_stats(w->pools, stats, POOL_KINDS_MAX);
    unsigned states[POD_ST_DEAD] = {0};
    uint64_t created = 0, lost = 0;
    int64_t idle[LANG_COUNT + 1] = {0}, failing[LANG_COUNT + 1] = {0};
    for (size_t i = 0; i < n; i++) {
        enum language lang = language_of_kind(stats[i].kind);
        idle[lang] += stats[i].pods[POD_ST_IDLE];
        failing[lang] |= *stats[i].why != '\0';
        for (int state = 0; state < POD_ST_DEAD; state++)
            states[state] += stats[i].pods[state];
        created += stats[i].created;
        lost += stats[i].lost + stats[i].failed;
    }
    for (unsigned lang = 0; lang <= LANG_COUNT; lang++) {
        metrics_set(w->metrics, METRIC_PODS_IDLE, lang, idle[lang]);
        metrics_set(w->metrics, METRIC_POOL_FAILING, lang, failing[lang]);
    }
    for (unsigned state = 0; state < POD_ST_DEAD; state++)
        metrics_set(w->metrics, METRIC_PODS, state, states[state]);
    metrics_set(w->metrics, METRIC_PODS_CREATED, 0, (int64_t)created);
    metrics_set(w->metrics, METRIC_PODS_LOST, 0, (int64_t)lost);
}

static void set_http(struct worker *w)
{
    struct http_server_stats s = {0};
    http_server_stats(w->http, &s);
    metrics_set(w->metrics, METRIC_HTTP_CONNECTIONS, 0, s.connections);
    metrics_set(w->metrics, METRIC_HTTP_REFUSED, 0, (int64_t)s.refused_heads);
    metrics_set(w->metrics, METRIC_HTTP_TIMEOUTS, 0, (int64_t)s.timeouts);
}

static void set_queue(struct worker *w)
{
    struct queue_stats q = {0};
    queue_stats(w->queue, &q);
    for (unsigned i = 0; i < QUEUE_PRIORITIES; i++)
        metrics_set(w->metrics, METRIC_BACKLOG, i, (int64_t)q.backlog[i]);
    metrics_set(w->metrics, METRIC_LANE, 0, (int64_t)q.ready);
    metrics_set(w->metrics, METRIC_REDIS_UP, 0, queue_ready(w->queue));
    metrics_set(w->metrics, METRIC_REDIS_COMMANDS, 0, (int64_t)q.commands);
    metrics_set(w->metrics, METRIC_REDIS_FAILURES, 0, (int64_t)q.command_failures);
    metrics_set(w->metrics, METRIC_REDIS_RECONNECTS, 0, (int64_t)q.reconnects);
    metrics_set(w->metrics, METRIC_TAKEOVERS, 0, (int64_t)q.lease_takeovers);
    metrics_set(w->metrics, METRIC_WAKEUPS_LOST, 0, (int64_t)q.wakeups_lost);
    metrics_set(w->metrics, METRIC_RESTORED, METRIC_MOVED_STATE, (int64_t)q.state_restores);
}

void worker_write_metrics(struct worker *w, struct buf *out)
{
    metrics_set(w->metrics, METRIC_READY, 0, worker_ready(w, NULL));
    metrics_set(w->metrics, METRIC_SLOTS, 0, w->slots);
    metrics_set(w->metrics, METRIC_RUNNING, 0, (int64_t)jobruns_count(w->runs));
    set_http(w);
    set_pools(w);
    set_queue(w);
    if (w->compiled) {
        struct compile_cache_stats kept = compile_cache_stats(w->compiled);
        metrics_set(w->metrics, METRIC_COMPILE_BYTES, 0, (int64_t)kept.bytes);
        metrics_set(w->metrics, METRIC_COMPILE_EVICTED, 0, (int64_t)kept.evicted);
    }
    metrics_write(w->metrics, out);
}

/* ---- what the host lacks ---- */

void worker_take_hello(struct worker *w, uint64_t missing, uint64_t accepted, bool rootless)
{
    uint64_t gaps = preflight_gaps(missing, accepted);
    auto_buf names = BUF_INIT(GAPS_MAX), others = BUF_INIT(GAPS_MAX);
    w->hello = true;
    w->missing = missing;
    w->accepted = accepted;
    w->rootless = rootless;
    preflight_write_names(gaps, "\"", &names);
    preflight_write_names(missing & ~gaps, "", &others);
    if (gaps != 0) {
        snprintf(w->gaps, sizeof w->gaps, "[%s]", buf_cstr(&names));
        log_warn("this host lacks defences, which was accepted", F_STR("missing", w->gaps));
    }
    if (others.len > 0)
        log_info("this host lacks what a pod does not need: /health has it",
                 F_STR("missing", buf_cstr(&others)));
    w->offer_ns = 0;
}

const char *worker_gaps(const struct worker *w)
{
    return w->kubernetes ? kubernetes_gaps(w->backend) : text_or_null(w->gaps);
}

/* An array of texts, or an empty one. */
static json_t *gaps_json(const struct worker *w)
{
    json_t *gaps = NULL;
    const char *text = worker_gaps(w);
    if (text == NULL || json_parse(str_of(text), &gaps, NULL) != ERR_OK)
        return json_array();
    return gaps;
}

static json_t *lacks_json(const struct worker *w)
{
    json_t *all = NULL;
    if (w->kubernetes)
        return kubernetes_lacks(w->backend);
    auto_buf text = BUF_INIT(PAGE_MAX);
    preflight_write_missing(w->missing, w->accepted, &text);
    return json_parse(buf_str(&text), &all, NULL) == ERR_OK ? all : json_array();
}

/* ---- health ---- */

static json_t *pools_json(const struct worker *w)
{
    struct pool_stats stats[POOL_KINDS_MAX];
    size_t n = pools_stats(w->pools, stats, POOL_KINDS_MAX);
    json_t *all = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(
            all, stats[i].kind,
            json_pack("{s:i, s:i, s:i, s:i, s:s, s:s, s:s, s:b}", "size", (int)stats[i].size, "ready",
                      (int)stats[i].pods[POD_ST_IDLE], "running", (int)stats[i].pods[POD_ST_RUNNING],
                      "failures", (int)stats[i].failures, "why", stats[i].why, "reason",
                      *stats[i].why ? reason_row(stats[i].reason)->name : "", "missing",
                      stats[i].missing ? stats[i].missing : "", "elsewhere", (w->others & 1u << i) != 0));
    return all;
}

static json_t *objects_json(const struct worker *w)
{
    return json_pack("{s:s, s:b, s:s}", "store", object_store_name(w->objects.store), "ok", w->objects.ok,
                     "why", w->objects.why);
}

static json_t *languages_json(const struct worker *w)
{
    json_t *all = NULL;
    if (json_parse(buf_str(&w->toolchains.offer), &all, NULL) != ERR_OK)
        return json_object(); /* our own text; only without memory */
    return all;
}

void worker_write_health(const struct worker *w, struct buf *out)
{
    const char *why = "";
    bool ready = worker_ready(w, &why);
    auto_buf gaps = BUF_INIT(GAPS_MAX);
    preflight_write_names(preflight_gaps(w->missing, w->accepted), "", &gaps);
    const char *isolation = w->kubernetes ? kubernetes_isolation(w->backend) : buf_cstr(&gaps);
    auto_json root =
        json_pack("{s:s, s:b, s:s, s:s, s:i, s:i, s:b, s:s, s:o, s:o, s:b, s:o, s:o, s:o}", "status",
                  w->stopping ? "draining"
                  : ready     ? "ok"
                              : "starting",
                  "ready", ready, "why", why, "worker", w->name, "slots", (int)w->slots, "running",
                  (int)jobruns_count(w->runs), "redis", queue_ready(w->queue), "isolation", isolation,
                  "accepted_gaps", gaps_json(w), "lacks", lacks_json(w), "rootless", w->rootless, "pools",
                  pools_json(w), "objects", objects_json(w), "languages", languages_json(w));
    if (!root || json_write(root, out) != ERR_OK)
        buf_append_cstr(out, "{\"status\":\"error\"}");
}

const char *worker_why_no_pods(const struct worker *w)
{
    struct pool_stats first;
    const char *why = kubernetes_why_not(w->backend);
    if (!why && !pools_take_jobs(w->pools) && pools_stats(w->pools, &first, 1) == 1)
        why = text_or_null(first.why);
    return why;
}

/* failing: no pod can be made, or no job is taken; degraded: those of some language cannot, and its pool says why. stuck: no job was
   taken for longer than jobs wait for the cluster. */
static json_t *kubernetes_json(const struct worker *w)
{
    struct pool_stats stats[POOL_KINDS_MAX];
    size_t n = pools_stats(w->pools, stats, POOL_KINDS_MAX);
    const char *why = worker_why_no_pods(w), *status = why ? "failing" : "ok";
    bool stuck = why && clock_mono_ns() - w->took_ns > w->config.k8s_cluster_patience_ms * 1000000;
    for (size_t i = 0; i < n && !why; i++)
        if (*stats[i].why)
            status = "degraded";
    auto_buf health = BUF_INIT(PAGE_MAX);
    json_t *cluster = NULL;
    kubernetes_health(w->backend, &health);
    if (json_parse(buf_str(&health), &cluster, NULL) != ERR_OK)
        cluster = json_object();
    return json_pack("{s:s, s:s, s:b, s:o, s:o}", "status", status, "why", why ? why : "", "stuck", stuck,
                     "cluster", cluster, "pools", pools_json(w));
}

void worker_write_offer(const struct worker *w, struct buf *out)
{
    bool gaps = worker_gaps(w) != NULL;
    if (!w->kubernetes && !gaps) {
        buf_append_str(out, buf_str(&w->toolchains.offer));
        return;
    }
    auto_json root = languages_json(w);
    if ((gaps && json_object_set_new(root, QUEUE_OFFER_GAPS, gaps_json(w)) != 0) ||
        (w->kubernetes && json_object_set_new(root, QUEUE_OFFER_KUBERNETES, kubernetes_json(w)) != 0))
        log_limited(LOG_ERROR, "what the host or the cluster gives cannot be told: no memory");
    if (json_write(root, out) != ERR_OK)
        out->len = 0;
}

/* ---- HTTP ---- */

/* One answer, counted by its route. */
static void reply(struct worker *w, struct http_request *r, unsigned route, int status, const char *type,
                  struct str body)
{
    static const struct http_field allow[] = {{"Allow", "GET, HEAD"}, {NULL, NULL}};
    metrics_add(w->metrics, METRIC_HTTP_RESPONSES, route, (unsigned)(status / 100 - 1), 1);
    http_reply(r, status, type, status == 405 ? allow : NULL, body);
}

static int page_health(struct worker *w, struct buf *out)
{
    worker_write_health(w, out);
    return 200;
}

static int page_ready(struct worker *w, struct buf *out)
{
    const char *why = "";
    bool ready = worker_ready(w, &why);
    if (ready)
        buf_append_cstr(out, "{\"ready\":true,\"why\":null}\n");
    else {
        buf_append_cstr(out, "{\"ready\":false,\"why\":");
        json_write_string(out, str_of(why));
        buf_append_cstr(out, "}\n");
    }
    return ready ? 200 : 503;
}

static int page_metrics(struct worker *w, struct buf *out)
{
    worker_write_metrics(w, out);
    return 200;
}

static int page_kubernetes(struct worker *w, struct buf *out)
{
    if (!w->kubernetes) {
        buf_append_cstr(out, "{\"error\":\"POD_BACKEND is not kubernetes\"}");
        return 404;
    }
    auto_json root = kubernetes_json(w);
    if (!root || json_write(root, out) != ERR_OK)
        buf_append_cstr(out, "{\"status\":\"error\"}");
    return worker_why_no_pods(w) ? 503 : 200;
}

#define JSON_TYPE "application/json"
static const struct page {
    const char *path, *type;
    int (*write)(struct worker *w, struct buf *out); /* the status */
} pages[] = {
    {"/health", JSON_TYPE, page_health},
    {"/ready", JSON_TYPE, page_ready},
    {"/metrics", METRICS_CONTENT_TYPE, page_metrics},
    {"/health/kubernetes", JSON_TYPE, page_kubernetes},
};
enum { PAGE_COUNT = sizeof pages / sizeof pages[0] };
const char *const worker_routes[PAGE_COUNT + 1] = {"/health", "/ready", "/metrics", "/health/kubernetes",
                                                   NULL};

static void on_request(void *arg, struct http_request *r)
{
    for (unsigned i = 0; i < PAGE_COUNT; i++) {
        if (!str_eq(http_path(r), str_of(pages[i].path)))
            continue;
        if (!str_eq(http_method(r), STR("GET")) && !str_eq(http_method(r), STR("HEAD"))) {
            reply(arg, r, i, 405, JSON_TYPE, STR("{\"error\":\"GET only\"}"));
            return;
        }
        auto_buf body = BUF_INIT(PAGE_MAX);
        int status = pages[i].write(arg, &body);
        reply(arg, r, i, status, pages[i].type, buf_str(&body));
        return;
    }
    reply(arg, r, PAGE_COUNT, 404, JSON_TYPE, STR("{\"error\":\"no such page\"}"));
}

enum err worker_http_open(struct worker *w, struct errinfo *info)
{
    struct http_server_options options = {
        .address = w->config.worker_http_host,
        .port = (int)w->config.worker_http_port,
        .max_connections = 64,
        .on_request = on_request,
        .arg = w,
    };
    return http_server_open(&w->loop.uv, &options, &w->http, info);
}
