/* SPDX-License-Identifier: Apache-2.0 */
/* /health, /ready and /metrics. */
#include "archiver/archiver.h"

#include "json/json.h"

enum { PAGE_MAX = 1 << 20 };

bool archiver_ready(const struct archiver *a, const char **ret_why)
{
    const char *why = a->stopping              ? "the archiver drains"
                      : !queue_ready(a->queue) ? "Redis cannot be used"
                      : !a->objects.ok         ? "the object store cannot be used"
                                               : NULL;
    if (ret_why && why)
        *ret_why = why;
    return why == NULL;
}

static void set_metrics(struct archiver *a)
{
    struct http_server_stats s = {0};
    struct queue_stats q = {0};
    http_server_stats(a->http, &s);
    queue_stats(a->queue, &q);
    metrics_set(a->metrics, METRIC_READY, 0, archiver_ready(a, NULL));
    metrics_set(a->metrics, METRIC_HTTP_CONNECTIONS, 0, s.connections);
    metrics_set(a->metrics, METRIC_HTTP_REFUSED, 0, (int64_t)s.refused_heads);
    metrics_set(a->metrics, METRIC_HTTP_TIMEOUTS, 0, (int64_t)s.timeouts);
    metrics_set(a->metrics, METRIC_REDIS_UP, 0, queue_ready(a->queue));
    metrics_set(a->metrics, METRIC_REDIS_COMMANDS, 0, (int64_t)q.commands);
    metrics_set(a->metrics, METRIC_REDIS_FAILURES, 0, (int64_t)q.command_failures);
    metrics_set(a->metrics, METRIC_REDIS_RECONNECTS, 0, (int64_t)q.reconnects);
    metrics_set(a->metrics, METRIC_OBJECTS_UP, 0, a->objects.ok);
}

static int page_health(struct archiver *a, struct buf *out)
{
    const char *why = "";
    bool ready = archiver_ready(a, &why);
    buf_printf(out, "{\"status\":\"%s\",\"ready\":%s,\"why\":\"%s\",\"redis\":",
               a->stopping ? "draining"
               : ready     ? "ok"
                           : "waiting",
               ready ? "true" : "false", why);
    json_write_string(out, str_of(queue_ready(a->queue) ? queue_store_text(a->queue) : a->redis_why));
    buf_append_cstr(out, ",\"objects\":");
    objects_write_health(&a->objects, out);
    buf_append_char(out, '}');
    return 200;
}

static int page_ready(struct archiver *a, struct buf *out)
{
    const char *why = "";
    bool ready = archiver_ready(a, &why);
    if (ready)
        buf_append_cstr(out, "{\"ready\":true,\"why\":null}\n");
    else
        buf_printf(out, "{\"ready\":false,\"why\":\"%s\"}\n", why);
    return ready ? 200 : 503;
}

static int page_metrics(struct archiver *a, struct buf *out)
{
    set_metrics(a);
    metrics_write(a->metrics, out);
    return 200;
}

#define JSON_TYPE "application/json"
static const struct page {
    const char *path, *type;
    int (*write)(struct archiver *a, struct buf *out); /* the status */
} pages[] = {
    {"/health", JSON_TYPE, page_health},
    {"/ready", JSON_TYPE, page_ready},
    {"/metrics", METRICS_CONTENT_TYPE, page_metrics},
};
enum { PAGE_COUNT = sizeof pages / sizeof pages[0] };
const char *const archiver_routes[PAGE_COUNT + 1] = {"/health", "/ready", "/metrics", NULL};

static void reply(struct archiver *a, struct http_request *r, unsigned route, int status, const char *type,
                  struct str body)
{
    static const struct http_field allow[] = {{"Allow", "GET, HEAD"}, {NULL, NULL}};
    metrics_add(a->metrics, METRIC_HTTP_RESPONSES, route, (unsigned)(status / 100 - 1), 1);
    http_reply(r, status, type, status == 405 ? allow : NULL, body);
}

static void on_request(void *arg, struct http_request *r)
{
    bool get = str_eq(http_method(r), STR("GET")) || str_eq(http_method(r), STR("HEAD"));
    unsigned i = 0;
    while (i < PAGE_COUNT && !str_eq(http_path(r), str_of(pages[i].path)))
        i++;
    if (i == PAGE_COUNT) {
        reply(arg, r, i, 404, JSON_TYPE, STR("{\"error\":\"no such page\"}"));
    } else if (!get) {
        reply(arg, r, i, 405, JSON_TYPE, STR("{\"error\":\"GET only\"}"));
    } else {
        auto_buf body = BUF_INIT(PAGE_MAX);
        int status = pages[i].write(arg, &body);
        reply(arg, r, i, status, pages[i].type, buf_str(&body));
    }
}

enum err archiver_http_open(struct archiver *a, struct errinfo *info)
{
    struct http_server_options options = {
        .address = a->config.archiver_http_host,
        .port = (int)a->config.archiver_http_port,
        .max_connections = 64,
        .on_request = on_request,
        .arg = a,
    };
    return http_server_open(&a->loop.uv, &options, &a->http, info);
}
