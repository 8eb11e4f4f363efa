/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked about the service itself. */
#include "api/app.h"

#include "base/clock.h"
#include "json/json.h"

#include <inttypes.h>

extern const char openapi_yaml[];
extern const size_t openapi_yaml_len;

static const char *why_not_ready(const struct api *api)
{
    if (api->draining)
        return "the server is shutting down";
    if (queue_ready(api->queue))
        return NULL;
    return api->redis_why[0] != '\0' ? api->redis_why : "the store is not connected yet";
}

static void write_why(struct buf *out, const char *why)
{
    buf_append_cstr(out, ",\"why\":");
    if (why != NULL)
        json_write_string(out, str_of(why));
    else
        buf_append_cstr(out, "null");
}

void handle_ready(struct call *c)
{
    const char *why = why_not_ready(c->api);
    auto_buf body = BUF_INIT(4096);
    buf_printf(&body, "{\"ready\":%s", why == NULL ? "true" : "false");
    write_why(&body, why);
    buf_append_cstr(&body, "}\n");
    static const struct http_field later[] = {{.name = "Retry-After", .value = "1"}, {NULL, NULL}};
    call_reply(c, why == NULL ? 200 : 503, "application/json", why == NULL ? NULL : later, buf_str(&body));
}

static void write_queue(struct buf *out, const struct api *api)
{
    struct queue_stats q;
    queue_stats(api->queue, &q);
    buf_printf(out,
               ",\"queue\":{\"interactive\":%" PRIu64 ",\"normal\":%" PRIu64 ",\"batch\":%" PRIu64
               ",\"ready\":%" PRIu64 ",\"running\":%" PRIu64 "}",
               q.backlog[QUEUE_INTERACTIVE], q.backlog[QUEUE_NORMAL], q.backlog[QUEUE_BATCH], q.ready,
               q.running);
}

void handle_health(struct call *c)
{
    const char *why = why_not_ready(c->api);
    auto_buf body = BUF_INIT(1 << 20); /* a member for each worker with gaps */
    buf_printf(&body, "{\"status\":\"%s\"", why == NULL ? "ok" : "degraded");
    write_why(&body, why);
    buf_printf(&body, ",\"version\":\"%s\",\"uptime_seconds\":%" PRId64 ",\"store\":", MILLRACE_VERSION,
               (clock_wall_ms() - c->api->started_wall_ms) / 1000);
    json_write_string(&body, str_of(queue_store_text(c->api->queue)));
    write_queue(&body, c->api);
    buf_append_cstr(&body, ",\"objects\":");
    objects_write_health(&c->api->objects, &body);
    buf_append_cstr(&body, ",\"accepted_gaps\":");
    offers_write_gaps(&c->api->offers, &body);
    buf_append_cstr(&body, "}\n");
    call_reply(c, 200, "application/json", NULL, buf_str(&body));
}

/* Asked of the store, where the workers tell it: the api has no right in the cluster, and no need of one. */
void handle_health_kubernetes(struct call *c)
{
    auto_buf body = BUF_INIT(8 * 1024 * 1024);
    int status = offers_write_kubernetes(&c->api->offers, &body);
    if (status == 0)
        call_fail(c, CE_NOT_FOUND, "no living worker makes its pods in a Kubernetes cluster (POD_BACKEND)");
    else
        call_reply(c, status, "application/json", NULL, buf_str(&body));
}

static void set_http_metrics(struct api *api)
{
    struct http_server_stats h;
    http_server_stats(api->http, &h);
    metrics_set(api->metrics, METRIC_HTTP_CONNECTIONS, 0, h.connections);
    metrics_set(api->metrics, METRIC_WEBSOCKETS, 0, h.websockets);
    metrics_set(api->metrics, METRIC_HTTP_REFUSED, 0, (int64_t)h.refused_heads);
    metrics_set(api->metrics, METRIC_HTTP_TIMEOUTS, 0, (int64_t)h.timeouts);
}

static void set_queue_metrics(struct api *api)
{
    struct queue_stats q;
    queue_stats(api->queue, &q);
    for (unsigned i = 0; i < QUEUE_PRIORITIES; i++)
        metrics_set(api->metrics, METRIC_BACKLOG, i, (int64_t)q.backlog[i]);
    metrics_set(api->metrics, METRIC_LANE, 0, (int64_t)q.ready);
    metrics_set(api->metrics, METRIC_REDIS_UP, 0, queue_ready(api->queue));
    metrics_set(api->metrics, METRIC_REDIS_COMMANDS, 0, (int64_t)q.commands);
    metrics_set(api->metrics, METRIC_REDIS_FAILURES, 0, (int64_t)q.command_failures);
    metrics_set(api->metrics, METRIC_REDIS_RECONNECTS, 0, (int64_t)q.reconnects);
    metrics_set(api->metrics, METRIC_WAKEUPS_LOST, 0, (int64_t)q.wakeups_lost);
    metrics_set(api->metrics, METRIC_RESTORED, METRIC_MOVED_LOG, (int64_t)q.archive_reads);
    metrics_set(api->metrics, METRIC_RESTORED, METRIC_MOVED_STATE, (int64_t)q.state_restores);
}

void handle_metrics(struct call *c)
{
    struct api *api = c->api;
    metrics_set(api->metrics, METRIC_READY, 0, why_not_ready(api) == NULL);
    metrics_set(api->metrics, METRIC_START_TIME, 0, api->started_wall_ms / 1000);
    set_http_metrics(api);
    set_queue_metrics(api);
    auto_buf body = BUF_INIT(1024 * 1024);
    metrics_write(api->metrics, &body);
    call_reply(c, 200, METRICS_CONTENT_TYPE, NULL, buf_str(&body));
}

void handle_languages(struct call *c)
{
    auto_buf body = BUF_INIT(256 * 1024);
    offers_write(&c->api->offers, &body);
    call_json(c, 200, &body);
}

void handle_openapi(struct call *c)
{
    call_reply(c, 200, "application/yaml", NULL, (struct str){openapi_yaml, openapi_yaml_len});
}
