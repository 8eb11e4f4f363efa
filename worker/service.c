/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/service.h"

#include "json/json.h"
#include "worker/plan.h"

#include <inttypes.h>
#include <string.h>

enum { PAGE_MAX = 1 << 20 };

/* ---- metrics ---------------------------------------------------------------------------------------------------------- */

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_histogram(struct buf *out, const char *name, const char *help, const struct histogram *h)
{
    uint64_t sum = 0;
    head(out, name, "histogram", help);
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        sum += h->bucket[i];
        buf_printf(out, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, histogram_bounds[i], sum);
    }
    buf_printf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %g\n%s_count %" PRIu64 "\n", name, h->count, name, h->sum,
               name, h->count);
}

static void write_jobs(struct buf *out, const struct jobrun_stats *s)
{
    head(out, "millrace_worker_jobs_total", "counter", "Jobs that ended here, by language and status.");
    for (unsigned lang = 0; lang < JOBRUN_LANGS_MAX && plan_lang_name(lang); lang++)
        for (int type = 0; type < EV_COUNT; type++)
            if (s->by_lang[lang][type] > 0)
                buf_printf(out, "millrace_worker_jobs_total{lang=\"%s\",status=\"%s\"} %" PRIu64 "\n", plan_lang_name(lang),
                           event_type_name((enum event_type)type), s->by_lang[lang][type]);
}

struct counter {
    const char *name, *help;
    size_t offset; /* of a uint64_t */
};

static const struct counter run_counters[] = {
    {"millrace_worker_fenced_total", "Attempts that were another's when we wrote.", offsetof(struct jobrun_stats, fenced)},
    {"millrace_worker_returned_total", "Jobs handed back.", offsetof(struct jobrun_stats, returned)},
    {"millrace_worker_pods_replaced_total", "Claimed pods that were dead.", offsetof(struct jobrun_stats, replaced)},
    {"millrace_worker_append_retries_total", "Appends sent again.", offsetof(struct jobrun_stats, append_retries)},
    {"millrace_worker_output_paused_total", "Times that a program waited for the log.", offsetof(struct jobrun_stats, paused)},
};

static const struct counter pool_counters[] = {
    {"millrace_worker_pool_hits_total", "Jobs that found a ready pod.", offsetof(struct pool_stats, hits)},
    {"millrace_worker_pool_misses_total", "Jobs that waited for a pod.", offsetof(struct pool_stats, misses)},
    {"millrace_worker_pool_fallbacks_total", "Jobs that took a pod of another kind.", offsetof(struct pool_stats, fallbacks)},
    {"millrace_worker_pods_created_total", "Pods asked for.", offsetof(struct pool_stats, created)},
    {"millrace_worker_pods_failed_total", "Pods that could not be made.", offsetof(struct pool_stats, failed)},
    {"millrace_worker_pods_lost_total", "Ready pods that died.", offsetof(struct pool_stats, lost)},
};

static uint64_t at(const void *base, size_t offset)
{
    uint64_t value;
    memcpy(&value, (const char *)base + offset, sizeof value);
    return value;
}

static void write_pools(struct buf *out, const struct worker *w)
{
    struct pool_stats stats[POOL_KINDS_MAX];
    size_t n = pools_stats(w->pools, stats, POOL_KINDS_MAX);
    for (size_t c = 0; c < sizeof pool_counters / sizeof pool_counters[0]; c++) {
        head(out, pool_counters[c].name, "counter", pool_counters[c].help);
        for (size_t i = 0; i < n; i++)
            buf_printf(out, "%s{kind=\"%s\"} %" PRIu64 "\n", pool_counters[c].name, stats[i].kind,
                       at(&stats[i], pool_counters[c].offset));
    }
    head(out, "millrace_worker_pods", "gauge", "Pods by kind and state.");
    for (size_t i = 0; i < n; i++)
        for (int state = 0; state < POD_ST_DEAD; state++)
            buf_printf(out, "millrace_worker_pods{kind=\"%s\",state=\"%s\"} %u\n", stats[i].kind,
                       pod_state_name((enum pod_state)state), stats[i].pods[state]);
    head(out, "millrace_worker_pool_size", "gauge", "Pods kept ready.");
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "millrace_worker_pool_size{kind=\"%s\"} %u\n", stats[i].kind, stats[i].size);
}

static void write_queue(struct buf *out, const struct worker *w)
{
    struct queue_stats q = {0};
    queue_stats(w->queue, &q);
    head(out, "millrace_worker_redis_reconnects_total", "counter", "Connections to Redis after the first.");
    buf_printf(out, "millrace_worker_redis_reconnects_total %" PRIu64 "\n", q.reconnects);
    head(out, "millrace_worker_lease_takeovers_total", "counter", "Jobs taken from workers whose lease lapsed.");
    buf_printf(out, "millrace_worker_lease_takeovers_total %" PRIu64 "\n", q.lease_takeovers);
}

void worker_write_metrics(const struct worker *w, struct buf *out)
{
    const struct jobrun_stats *s = jobruns_stats(w->runs);
    write_jobs(out, s);
    for (size_t c = 0; c < sizeof run_counters / sizeof run_counters[0]; c++) {
        head(out, run_counters[c].name, "counter", run_counters[c].help);
        buf_printf(out, "%s %" PRIu64 "\n", run_counters[c].name, at(s, run_counters[c].offset));
    }
    write_pools(out, w);
    head(out, "millrace_worker_jobs_running", "gauge", "Jobs held now.");
    buf_printf(out, "millrace_worker_jobs_running %zu\n", jobruns_count(w->runs));
    head(out, "millrace_worker_slots", "gauge", "Jobs that may be held at a time.");
    buf_printf(out, "millrace_worker_slots %u\n", w->slots);
    head(out, "millrace_worker_ready", "gauge", "1 when Python can run and the log can be reached.");
    buf_printf(out, "millrace_worker_ready %d\n", worker_ready(w, NULL) ? 1 : 0);
    write_histogram(out, "millrace_worker_run_seconds", "From a program's release to its end.", &s->duration);
    write_histogram(out, "millrace_worker_append_seconds", "An append or finish until it was answered.", &s->append_latency);
    write_histogram(out, "millrace_worker_pod_wait_seconds", "The wait of jobs that found no ready pod.", &s->pod_wait);
    write_queue(out, w);
}

/* ---- health ------------------------------------------------------------------------------------------------------------ */

static json_t *pools_json(const struct worker *w)
{
    struct pool_stats stats[POOL_KINDS_MAX];
    size_t n = pools_stats(w->pools, stats, POOL_KINDS_MAX);
    json_t *all = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(all, stats[i].kind,
                            json_pack("{s:i, s:i, s:i, s:s}", "size", (int)stats[i].size, "ready",
                                      (int)stats[i].pods[POD_ST_IDLE], "running", (int)stats[i].pods[POD_ST_RUNNING], "why",
                                      stats[i].why));
    return all;
}

void worker_write_health(const struct worker *w, struct buf *out)
{
    const char *why = "";
    bool ready = worker_ready(w, &why);
    auto_json root = json_pack("{s:s, s:b, s:s, s:s, s:i, s:i, s:b, s:s, s:I, s:b, s:o}", "status",
                               w->stopping ? "draining" : ready ? "ok" : "starting", "ready", ready, "why", why, "worker",
                               w->name, "slots", (int)w->slots, "running", (int)jobruns_count(w->runs), "redis",
                               queue_ready(w->queue), "isolation", w->hello_text, "missing_bits", (json_int_t)w->missing,
                               "rootless", w->rootless, "pools", pools_json(w));
    if (!root || json_write(root, out) != ERR_OK)
        buf_append_cstr(out, "{\"status\":\"error\"}");
}

/* ---- HTTP ---------------------------------------------------------------------------------------------------------------- */

static void reply_health(struct worker *w, struct http_request *r)
{
    auto_buf body = BUF_INIT(PAGE_MAX);
    worker_write_health(w, &body);
    http_reply(r, 200, "application/json", NULL, buf_str(&body));
}

static void reply_ready(struct worker *w, struct http_request *r)
{
    const char *why = "ready";
    int status = worker_ready(w, &why) ? 200 : 503;
    auto_buf body = BUF_INIT(1024);
    buf_printf(&body, "{\"ready\":%s,\"why\":\"%s\"}", status == 200 ? "true" : "false", why);
    http_reply(r, status, "application/json", NULL, buf_str(&body));
}

static void reply_metrics(struct worker *w, struct http_request *r)
{
    auto_buf body = BUF_INIT(PAGE_MAX);
    worker_write_metrics(w, &body);
    http_reply(r, 200, "text/plain; version=0.0.4", NULL, buf_str(&body));
}

static const struct route {
    struct str path;
    void (*reply)(struct worker *w, struct http_request *r);
} routes[] = {
    {{"/health", 7}, reply_health},
    {{"/ready", 6}, reply_ready},
    {{"/metrics", 8}, reply_metrics},
};

static void on_request(void *arg, struct http_request *r)
{
    static const struct http_field allow[] = {{"Allow", "GET, HEAD"}, {NULL, NULL}};
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!str_eq(http_path(r), routes[i].path))
            continue;
        if (str_eq(http_method(r), STR("GET")) || str_eq(http_method(r), STR("HEAD")))
            routes[i].reply(arg, r);
        else
            http_reply(r, 405, "application/json", allow, STR("{\"error\":\"GET only\"}"));
        return;
    }
    http_reply(r, 404, "application/json", NULL, STR("{\"error\":\"no such page\"}"));
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
