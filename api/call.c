/* SPDX-License-Identifier: Apache-2.0 */
#include "api/app.h"
#include "api/body.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const call_handler handlers[HANDLERS] = {
#define X(name) [HANDLER_##name] = handle_##name,
    HANDLER_TABLE(X)
#undef X
};

/* ---- the end of a call ---- */

static void count(struct call *c, int status)
{
    unsigned class = status >= 500   ? METRIC_5XX
                     : status >= 400 ? METRIC_4XX
                     : status >= 200 ? METRIC_2XX
                                     : METRIC_1XX;
    unsigned route = c->route != NULL ? (unsigned)c->route->handler : HANDLERS;
    metrics_add(c->api->metrics, METRIC_HTTP_RESPONSES, route, class, 1);
}

static void observe(struct call *c, int64_t started_ns)
{
    unsigned route = c->route != NULL ? (unsigned)c->route->handler : HANDLERS;
    metrics_observe_ns(c->api->metrics, METRIC_HTTP_SECONDS, route, clock_mono_ns() - started_ns);
}

static void free_call(struct call *c)
{
    list_remove(&c->node);
    body_forget(c);
    json_decref(c->json);
    free(c);
}

void call_end(struct call *c, int status)
{
    count(c, status);
    free_call(c);
}

void call_reply(struct call *c, int status, const char *type, const struct http_field *fields,
                struct str body)
{
    int64_t started = http_started_ns(c->request);
    const char *route = c->route != NULL ? c->route->pattern : "";
    /* That it is not ready is what /ready is asked for. */
    if (status >= 500 && (c->route == NULL || c->route->handler != HANDLER_ready))
        log_limited(LOG_WARN, "answered with an error of ours", F_INT("status", status),
                    F_STR("route", route), F_STR("request", http_request_id(c->request)));
    log_debug("answered", F_STR("request", http_request_id(c->request)), F_INT("status", status),
              F_STR("route", route), F_STR("peer", http_peer(c->request)));
    http_reply(c->request, status, type, fields, body);
    count(c, status);
    observe(c, started);
    free_call(c);
}

void call_json(struct call *c, int status, const struct buf *body)
{
    if (buf_status(body) != ERR_OK) {
        call_fail(c, CE_INTERNAL, "the answer does not fit into memory");
        return;
    }
    call_reply(c, status, "application/json", NULL, buf_str(body));
}

static void refuse_with(struct call *c, const struct api_fault *fault, const struct http_field *field)
{
    char seconds[16], most[24];
    struct http_field fields[6] = {{NULL, NULL}};
    unsigned n = 0;
    int retry_s = (fault->retry_after_ms + 999) / 1000;
    if (retry_s > 0) {
        snprintf(seconds, sizeof seconds, "%d", retry_s);
        fields[n++] = (struct http_field){.name = "Retry-After", .value = seconds};
    }
    if (fault->error == CE_QUEUE_FULL) { /* as clients of rate limits read it (CONTRACT 2.1.4) */
        snprintf(most, sizeof most, "%" PRId64, c->api->config.queue_max_jobs_per_tenant);
        fields[n++] = (struct http_field){.name = "RateLimit-Limit", .value = most};
        fields[n++] = (struct http_field){.name = "RateLimit-Remaining", .value = "0"};
        fields[n++] = (struct http_field){.name = "RateLimit-Reset", .value = seconds};
    }
    if (field != NULL)
        fields[n++] = *field;
    fields[n] = (struct http_field){NULL, NULL};
    auto_buf body = BUF_INIT(8192);
    client_error_write(fault->error, fault->detail, http_request_id(c->request), retry_s, &body);
    call_reply(c, client_error_row(fault->error)->status, "application/json", fields, buf_str(&body));
}

void call_refuse(struct call *c, const struct api_fault *fault)
{
    refuse_with(c, fault, NULL);
}

void call_fail(struct call *c, enum client_error error, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct api_fault fault;
    if (api_fault_set(&fault, error, "%s", text) != ERR_OK)
        call_refuse(c, &fault);
}

void call_queue_failed(struct call *c, enum queue_answer answer, int retry_after_ms)
{
    struct api_fault fault = {.error = CE_UNAVAILABLE, .retry_after_ms = 1000};
    if (answer == QUEUE_NOT_FOUND)
        fault = (struct api_fault){.error = CE_NOT_FOUND};
    else if (answer == QUEUE_CONFLICT)
        fault = (struct api_fault){.error = CE_CONFLICT};
    else if (answer == QUEUE_DAMAGED)
        fault = (struct api_fault){.error = CE_STATE_DAMAGED};
    else if (answer == QUEUE_FULL)
        fault = (struct api_fault){.error = CE_QUEUE_FULL,
                                   .retry_after_ms = retry_after_ms > 0 ? retry_after_ms : 1000};
    call_refuse(c, &fault);
}

void call_state_conflict(struct call *c, uint64_t version)
{
    char detail[120];
    auto_buf body = BUF_INIT(8192);
    snprintf(detail, sizeof detail, "if_state_version: the session's state has version %" PRIu64, version);
    client_error_write(CE_STATE_CONFLICT, detail, http_request_id(c->request), 0, &body);
    body.len -= 2; /* "}\n": one member more */
    buf_printf(&body, ",\"state_version\":%" PRIu64 "}\n", version);
    call_json(c, client_error_row(CE_STATE_CONFLICT)->status, &body);
}

bool call_store_ready(struct call *c)
{
    if (queue_ready(c->api->queue))
        return true;
    metrics_add(c->api->metrics, METRIC_JOBS_REFUSED, METRIC_REFUSED_STORE, 0, 1);
    call_queue_failed(c, QUEUE_UNAVAILABLE, 0);
    return false;
}

bool call_job_id(struct call *c, struct id *ret_job)
{
    if (id_parse(c->param, ret_job) == ERR_OK)
        return true;
    call_fail(c, CE_NOT_FOUND, "%s", "");
    return false;
}

/* ---- the beginning ---- */

static void on_gone(void *user, struct http_request *r)
{
    (void)r;
    struct call *c = user;
    if (c->gone != NULL)
        c->gone(c);
    free_call(c);
}

static void on_drained(void *user, struct http_request *r)
{
    (void)r;
    struct call *c = user;
    if (c->drained != NULL)
        c->drained(c);
}

static struct call *new_call(struct api *api, struct http_request *r)
{
    struct call *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->api = api;
    c->request = r;
    list_append(&api->calls, &c->node);
    http_set_user(r, c);
    http_on_gone(r, on_gone);
    http_on_drain(r, on_drained);
    return c;
}

static void refuse_route(struct call *c, const struct buf *allow)
{
    if (allow->len == 0) {
        call_fail(c, CE_NOT_FOUND, "there is no such path; GET /openapi.yaml has them all");
        return;
    }
    struct api_fault fault = {.error = CE_METHOD_NOT_ALLOWED};
    struct http_field field = {.name = "Allow", .value = allow->data};
    refuse_with(c, &fault, &field);
}

/* Who sends none at all is no guesser. */
static bool shows_key(const struct call *c)
{
    return http_header(c->request, c->api->config.api_key_header).n > 0 ||
           http_header(c->request, "authorization").n > 0;
}

static void refuse_key(struct call *c, bool wrong)
{
    metrics_add(c->api->metrics, METRIC_AUTH_FAILURES, 0, 0, 1);
    struct api_fault fault = {.error = CE_UNAUTHENTICATED};
    struct http_field field = {.name = "WWW-Authenticate", .value = "Bearer"};
    if (wrong)
        fault.retry_after_ms = wrong_keys_count(&c->api->wrong_keys, str_of(http_peer(c->request)),
                                                c->api->config.auth_wrong_keys_per_minute, clock_mono_ns());
    if (fault.retry_after_ms > 0)
        fault.error = CE_WRONG_KEYS;
    refuse_with(c, &fault, fault.retry_after_ms > 0 ? NULL : &field);
}

enum { UNPROVEN_BODY_MAX = 1024 * 1024 };

static bool identify(struct call *c)
{
    struct auth_request request = {.key = http_header(c->request, c->api->config.api_key_header),
                                   .authorization = http_header(c->request, "authorization"),
                                   .peer = str_of(http_peer(c->request)),
                                   .now_ms = clock_wall_ms()};
    if (!auth_check(&c->api->auth, &request, &c->who))
        return false;
    c->tenant = c->who.tenant;
    return true;
}

/* The key may come in the JSON body, as early clients send it; then so little of it is read. */
static bool may_prove_itself(const struct call *c)
{
    return c->route != NULL && c->api->auth.count > 0 && http_has_body(c->request) &&
           str_eq(http_method(c->request), STR("POST")) &&
           str_starts(http_header(c->request, "content-type"), STR("application/json"));
}

/* Before the body is read: route, key, size. */
void call_on_head(void *arg, struct http_request *r)
{
    struct api *api = arg;
    struct call *c = new_call(api, r);
    if (c == NULL) {
        http_reply(r, 503, NULL, NULL, STR(""));
        return;
    }
    auto_buf allow = BUF_INIT(256);
    c->route = route_find(http_method(r), http_path(r), &c->param, &allow);
    bool open = c->route != NULL && c->route->open;
    c->unproven = !open && !identify(c);
    if (c->unproven && !may_prove_itself(c)) {
        refuse_key(c, shows_key(c)); /* unknown paths too: nobody learns the routes without a key */
        return;
    }
    if (c->unproven) {
        http_request_limit(r, UNPROVEN_BODY_MAX);
        return;
    }
    if (c->route == NULL) {
        refuse_route(c, &allow);
        return;
    }
    if (!open && !call_check_profile(c))
        return;
    if (c->route->handler == HANDLER_upload || c->route->handler == HANDLER_upload_batch) {
        upload_head(c);
        return;
    }
    bool takes_body = str_eq(http_method(r), STR("POST"));
    http_request_limit(r, takes_body ? (size_t)api->config.max_body_bytes : 64 * 1024);
}

void call_on_request(void *arg, struct http_request *r)
{
    (void)arg;
    struct call *c = http_user(r);
    if (c->unproven && !auth_check_body(&c->api->auth, http_body(r), &c->who)) {
        refuse_key(c, true);
        return;
    }
    if (c->unproven) {
        c->tenant = c->who.tenant;
        if (!call_check_profile(c))
            return;
    }
    body_ready(c, handlers[c->route->handler]);
}

void call_write_error(int status, const char *details, const char *request_id, struct buf *out)
{
    enum client_error error = 0;
    while (error < CE_COUNT && client_error_row(error)->status != status)
        error++;
    error = error < CE_COUNT ? error : CE_BAD_REQUEST;
    client_error_write(error, details, request_id, status == 503 ? 1 : 0, out);
}

/* ---- what several handlers write ---- */

static void write_time(struct buf *out, const char *name, int64_t ms)
{
    if (ms > 0)
        buf_printf(out, ",\"%s\":%" PRId64, name, ms);
    else
        buf_printf(out, ",\"%s\":null", name);
}

void job_write(const struct api *api, const struct queue_job *job, struct buf *out)
{
    static const char *const priorities[QUEUE_PRIORITIES] = {"interactive", "normal", "batch"};
    buf_printf(out,
               "{\"job_id\":\"%s\",\"session_id\":\"%s\",\"status\":\"" STR_FMT "\",\"lang\":\"" STR_FMT
               "\",\"priority\":\"%s\",\"attempt\":%u",
               job->job.text, job->session.text, STR_ARG(job->status), STR_ARG(job->lang),
               priorities[job->priority], job->attempt);
    write_time(out, "created_at", job->created_ms);
    write_time(out, "started_at", job->started_ms);
    write_time(out, "finished_at", job->finished_ms);
    if (job->position > 0)
        buf_printf(out, ",\"position\":%" PRIu64, job->position);
    else
        buf_append_cstr(out, ",\"position\":null");
    if (job->position > 0 && api->offers.stuck[0] != '\0') {
        buf_append_cstr(out, ",\"why\":");
        json_write_string(out, str_of(api->offers.stuck));
    }
}
