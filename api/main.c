/* SPDX-License-Identifier: Apache-2.0 */
/* millrace-api: HTTP and WebSocket in front of the event log. Keeps nothing: any number serve any job. */
#include "api/app.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/slice.h"
#include "io/program.h"
#include "queue/state.h"
#include "schema/reasons.h"
#include "json/json.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CLOSE_GRACE_MS = 5 * 1000, CANCEL_GRACE_MS = 2 * 1000, DRAIN_TICK_MS = 20 };

/* What the process is made of, beyond what handlers need. */
struct program {
    struct api api;
    uv_timer_t drain;
    int64_t drain_until_ns;
    struct program_args args;
};

/* ---- the end ---- */

static void on_objects_closed(void *arg)
{
    struct program *p = arg;
    loop_end(&p->api.loop);
}

static void on_queue_closed(void *arg)
{
    struct program *p = arg;
    objects_close(&p->api.objects, on_objects_closed, p);
}

/* Runs whose clients were cut off are cancelled before the queue is closed. */
static void on_cancel_tick(uv_timer_t *timer)
{
    struct program *p = timer->data;
    if (p->api.cancels > 0 && clock_mono_ns() < p->drain_until_ns)
        return;
    uv_close((uv_handle_t *)timer, NULL);
    uv_close((uv_handle_t *)&p->api.ask, NULL);
    queue_close(p->api.queue, on_queue_closed, p);
}

static void on_http_closed(void *arg)
{
    struct program *p = arg;
    p->api.http = NULL;
    p->drain_until_ns = clock_mono_ns() + CANCEL_GRACE_MS * 1000000LL;
    uv_timer_start(&p->drain, on_cancel_tick, 0, DRAIN_TICK_MS);
}

/* Requests in flight are answered first, and their answers written; what lasts longer than the drain is cut off. */
static void on_drain_tick(uv_timer_t *timer)
{
    struct program *p = timer->data;
    bool busy = !list_empty(&p->api.calls) || !list_empty(&p->api.followers) ||
                http_server_connections(p->api.http) > 0;
    if (busy && clock_mono_ns() < p->drain_until_ns)
        return;
    if (busy)
        log_warn("requests in flight are cut off",
                 F_INT("connections", http_server_connections(p->api.http)));
    uv_timer_stop(timer);
    http_server_close(p->api.http, on_http_closed, p);
}

static void on_stop(void *arg)
{
    struct program *p = arg;
    p->api.draining = true;
    p->drain_until_ns = clock_mono_ns() + p->api.config.drain_ms * 1000000;
    followers_drain(&p->api);
    http_server_drain(p->api.http);
    uv_timer_start(&p->drain, on_drain_tick, 0, DRAIN_TICK_MS);
}

/* ---- what workers offer ---- */

static void on_offers(void *arg, enum queue_answer answer, const struct queue_offered *list, size_t count)
{
    struct api *api = arg;
    api->asking = false;
    if (answer == QUEUE_OK)
        offers_update(&api->offers, list, count);
    if (api->offers.stuck[0] != '\0') {
        exec_tell_stuck(api);
        programmatic_tell_stuck(api);
    }
}

/* A job was not run, for it waited too long. */
static void on_overdue(void *arg, struct id job)
{
    struct api *api = arg;
    metrics_add(api->metrics, METRIC_JOBS_FAILED, REASON_QUEUE_TIMEOUT, 0, 1);
    log_limited(LOG_WARN, "no worker took a job in time", F_JOB(job.text, 0));
}

static void on_ask(uv_timer_t *timer)
{
    struct api *api = timer->data;
    if (api->asking || api->draining || !queue_ready(api->queue))
        return;
    api->asking = true;
    queue_look_overdue(api->queue, on_overdue, api);
    queue_offers(api->queue, on_offers, api);
}

/* ---- the beginning ---- */

static void on_queue_state(void *arg, bool ready, const char *why)
{
    struct api *api = arg;
    snprintf(api->redis_why, sizeof api->redis_why, "%s", ready || why == NULL ? "" : why);
    if (ready && api->state_keys.count == 0)
        state_keys_open(api->queue, api->config.state_keys.items, api->config.state_keys.count,
                        &api->state_keys);
    if (ready)
        log_info("the store is there", F_STR("store", queue_store_text(api->queue)));
    else
        log_limited(LOG_WARN, "the store cannot be used", F_STR("why", api->redis_why));
    if (ready)
        uv_timer_start(&api->ask, on_ask, 0, OFFERS_ASK_MS);
}

static enum err open_http(struct api *api, struct errinfo *info)
{
    struct http_server_options options = {
        .address = api->config.api_host,
        .port = (int)api->config.api_port,
        .max_body = 64 * 1024,
        .on_head = call_on_head,
        .on_request = call_on_request,
        .write_error = call_write_error,
        .write_fields = call_write_fields,
        .arg = api,
    };
    return http_server_open(&api->loop.uv, &options, &api->http, info);
}

static enum err open_metrics(struct api *api, struct errinfo *info)
{
    static const char *const names[] = {
#define X(name) #name,
        HANDLER_TABLE(X)
#undef X
            NULL};
    if (metrics_open(METRICS_API, names, &api->metrics) != ERR_OK)
        return errinfo_set(info, ERR_NOMEM, 0, "out of memory");
    return ERR_OK;
}

static void raise_file_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max < 65536 ? files.rlim_max : 65536;
        (void)setrlimit(RLIMIT_NOFILE, &files); /* fewer connections otherwise */
    }
}

static enum err start(struct program *p, struct errinfo *info)
{
    struct api *api = &p->api;
    list_init(&api->calls);
    list_init(&api->runs);
    list_init(&api->rounds);
    list_init(&api->followers);
    list_init(&api->unparsed);
    api->started_wall_ms = clock_wall_ms();
    limits_configure(&api->config, &api->bounds);
    raise_file_limit();
    enum err e = auth_open(&api->auth, &api->config, info);
    if (e == ERR_OK)
        e = open_metrics(api, info);
    if (e == ERR_OK)
        e = loop_open(&api->loop, (int)api->config.drain_ms + CLOSE_GRACE_MS, on_stop, p, info);
    if (e != ERR_OK)
        return e;
    uv_timer_init(&api->loop.uv, &p->drain);
    p->drain.data = p;
    uv_timer_init(&api->loop.uv, &api->ask);
    api->ask.data = api;
    e = objects_open(&api->objects, &api->loop.uv, &api->config, info);
    if (e == ERR_OK)
        e = queue_open_configured(&api->loop.uv, &api->config, on_queue_state, api, &api->queue, info);
    if (e == ERR_OK)
        queue_set_objects(api->queue, api->objects.store);
    if (e == ERR_OK)
        e = open_http(api, info);
    if (e == ERR_OK)
        e = program_write_port(p->args.port_file, http_server_port(api->http), info);
    if (e != ERR_OK)
        return e;
    auto_buf schemes = BUF_INIT(256);
    auth_describe(&api->auth, &schemes);
    log_info("listening", F_STR("address", api->config.api_host), F_INT("port", http_server_port(api->http)),
             F_STR("auth", buf_cstr(&schemes)));
    return ERR_OK;
}

static int run(struct program *p)
{
    struct errinfo info = {.code = ERR_OK};
    if (start(p, &info) != ERR_OK) {
        log_error("cannot start", F_STR("why", info.text));
        return 1; /* the kernel closes what was opened */
    }
    loop_run(&p->api.loop);
    if (loop_forced(&p->api.loop))
        return 1;
    loop_close(&p->api.loop);
    metrics_close(p->api.metrics);
    offers_free(&p->api.offers);
    auth_close(&p->api.auth);
    config_release(&p->api.config.base);
    log_info("ended");
    return 0;
}

int main(int argc, char **argv)
{
    static struct program program = {
        .args = {.name = "millrace-api", .about = "the HTTP and WebSocket server of Millrace.\n"}};
    struct config *config = &program.api.config;
    slice_short();
    json_start();
    enum err e = program_configure(&program.args, argc, argv, &config_table, &config->base);
    if (e != ERR_OK)
        return e == ERR_CLOSED ? 0 : 2;
    config_open_log(config, "api");
    return run(&program);
}
