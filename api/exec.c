/* SPDX-License-Identifier: Apache-2.0 */
/* POST /exec: a job that is submitted, followed over this process's reply channel, and answered when it ends.
 */
#include "api/app.h"
#include "api/body.h"
#include "api/view.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_STUCK_MS = 10000 };

struct exec_run {
    struct list link;
    struct api *api;
    struct call *call; /* NULL once the client is gone */
    struct str tenant;
    struct view view;
    struct log_reader *reader;
    enum language lang;
    enum queue_priority priority;
    bool submitted; /* the answer of submit is there */
    bool keep;      /* runs on without its client */
};

/* ---- the request (shared with POST /v1/jobs) ---- */

/* application/json, in UTF-8 if it says so. */
static bool is_json(struct str type)
{
    struct str rest = type;
    if (!str_eq_nocase(str_trim(str_split(&rest, ';')), STR("application/json")))
        return false;
    while (rest.p != NULL) {
        struct str value = str_trim(str_split(&rest, ';'));
        struct str name = str_split(&value, '=');
        if (str_eq_nocase(name, STR("charset")) && !str_eq_nocase(value, STR("utf-8")) &&
            !str_eq_nocase(value, STR("\"utf-8\"")))
            return false;
    }
    return true;
}

bool exec_is_json(struct call *c)
{
    if (is_json(http_header(c->request, "content-type")))
        return true;
    call_fail(c, CE_UNSUPPORTED_MEDIA_TYPE, "send Content-Type: application/json, in UTF-8");
    return false;
}

static bool refuse(struct call *c, const struct api_fault *fault)
{
    metrics_add(c->api->metrics, METRIC_JOBS_REFUSED, METRIC_REFUSED_INVALID, 0, 1);
    call_refuse(c, fault);
    return false;
}

bool exec_take(struct call *c, json_t *body, size_t size, const struct exec_rules *rules,
               struct exec_request *ret_request)
{
    struct exec_rules all = *rules;
    all.bounds = c->api->bounds;
    all.max_code = (size_t)c->api->config.max_code_bytes;
    all.state = c->api->config.state_enabled && !rules->tools; /* it would hold up its session */
    all.stateful = !rules->tools && call_is_stateful(c);
    all.refused = c->api->offers.refused;
    struct api_fault fault;
    return exec_request_read(body, size, &all, ret_request, &fault) == ERR_OK || refuse(c, &fault);
}

bool exec_read(struct call *c, bool sync, struct exec_request *ret_request)
{
    auto_json body = NULL;
    struct errinfo info;
    struct api_fault fault;
    if (!exec_is_json(c))
        return false;
    if (body_json(c, &body, &info) != ERR_OK)
        return api_fault_set(&fault, CE_BAD_JSON, "%s", info.text) == ERR_OK || refuse(c, &fault);
    return exec_take(c, body, http_body(c->request).n, &(struct exec_rules){.sync = sync}, ret_request);
}

bool exec_idempotency_key(struct call *c, struct str *ret_key)
{
    unsigned count = http_header_count(c->request, "idempotency-key");
    *ret_key = http_header(c->request, "idempotency-key");
    bool good = count == 0 || (count == 1 && idempotency_key_valid(*ret_key));
    if (good && ret_key->n > 0 &&
        c->who.user[0] != '\0') { /* two users of a tenant may choose the same one */
        int n =
            snprintf(c->idempotency, sizeof c->idempotency, "%s " STR_FMT, c->who.user, STR_ARG(*ret_key));
        *ret_key = (struct str){c->idempotency, (size_t)n};
    }
    if (good)
        return true;
    call_fail(c, CE_BAD_IDEMPOTENCY_KEY,
              "Idempotency-Key: must be one header of 1 to 255 visible ASCII characters");
    return false;
}

void exec_body_hash(const struct call *c, struct str key, char ret_hex[SHA256_HEX_LEN + 1])
{
    ret_hex[0] = '\0';
    if (key.n == 0)
        return;
    struct sha256 digest = sha256_of(http_body(c->request));
    sha256_hex(&digest, ret_hex);
}

void exec_fill_submit(const struct call *c, const struct exec_request *request, struct str key,
                      const char *hash, bool sync, struct queue_submit *ret_submit)
{
    *ret_submit = (struct queue_submit){
        .tenant = c->tenant,
        .user = str_of(c->who.user),
        .session = request->session,
        .priority = request->priority,
        .class_name = STR("local"),
        .lang = str_of(language_row(request->lang)->id),
        .request = buf_str(&request->canonical),
        .idempotency_key = key,
        .request_hash = key.n > 0 ? str_of(hash) : (struct str){NULL, 0},
        .retry = request->retry,
        /* The session of a synchronous run without one is known to nobody before its end. */
        .ordered =
            request->hint[0] != '\0' || (request->state && (request->session.text[0] != '\0' || !sync)),
        .max_ordered = request->hint[0] != '\0' ? (unsigned)c->api->config.workspace_queue_max : 0,
        .sync = sync,
        .cost_ms = EXEC_COST_MS,
        .wait_ms = request->queue_ms,
    };
}

void exec_accepted(const struct api *api, enum language lang, enum queue_priority priority,
                   const struct queue_submitted *result)
{
    if (result->existing)
        return;
    metrics_add(api->metrics, METRIC_JOBS_SUBMITTED, (unsigned)lang, (unsigned)priority, 1);
    log_debug("accepted", F_JOB(result->job.text, 0), F_STR("session", result->session.text),
              F_STR("lang", language_row(lang)->id));
}

/* ---- the run ---- */

static void free_run(struct exec_run *run)
{
    list_remove(&run->link);
    if (run->reader != NULL)
        log_reader_close(run->reader);
    view_free(&run->view);
    free(run);
}

static void on_cancelled(void *arg, enum queue_answer answer)
{
    struct api *api = arg;
    api->cancels--;
    if (answer == QUEUE_UNAVAILABLE)
        log_limited(LOG_WARN, "a run whose client left could not be cancelled",
                    F_STR("why", "Redis cannot be used"));
}

void exec_abandon(struct api *api, struct str tenant, struct id job)
{
    api->cancels++;
    queue_cancel(api->queue, tenant, job, STR("the client went away"), on_cancelled, api);
}

/* Before the answer of submit is there, on_submitted() does the rest. */
static void on_client_gone(struct call *c)
{
    struct exec_run *run = c->context;
    run->call = NULL;
    if (!run->submitted)
        return;
    if (!run->keep)
        exec_abandon(run->api, run->tenant, run->view.job);
    free_run(run);
}

static void answer(struct exec_run *run)
{
    /* JSON makes a byte at most six. */
    uint64_t version = 0;
    if (view_state_conflict(&run->view, &version)) {
        call_state_conflict(run->call, version);
        free_run(run);
        return;
    }
    size_t most =
        6 * (run->view.output[0].len + run->view.output[1].len) * 2 + run->view.state.len + 128 * 1024;
    auto_buf body = BUF_INIT(most);
    view_write_result(&run->view, &body);
    buf_append_char(&body, '\n');
    call_json(run->call, 200, &body);
    free_run(run);
}

static void on_event(void *arg, enum reader_state state, const struct event *event)
{
    struct exec_run *run = arg;
    if (state == READER_EVENT) {
        view_apply(&run->view, event);
    } else if (state == READER_END) {
        answer(run);
    } else if (state == READER_UNAVAILABLE) {
        call_queue_failed(run->call, QUEUE_UNAVAILABLE, 0);
        free_run(run);
    } else if (state != READER_CAUGHT_UP) {
        log_warn("the log of a run that waits cannot be read on", F_STR("job", run->view.job.text),
                 F_INT("state", state));
        call_fail(run->call, CE_GONE, "the log of this run is not kept any more");
        free_run(run);
    }
}

void exec_refuse_stuck(struct call *c)
{
    struct api_fault fault;
    if (api_fault_set(&fault, CE_NO_PODS, "no worker can run programs at present: %s",
                      c->api->offers.stuck) != ERR_OK)
        fault.retry_after_ms = RETRY_STUCK_MS;
    call_refuse(c, &fault);
}

void exec_tell_stuck(struct api *api)
{
    list_each(run, &api->runs, struct exec_run, link)
    {
        if (run->call == NULL || run->reader == NULL || run->view.status != VIEW_QUEUED)
            continue;
        if (!run->keep)
            exec_abandon(api, run->tenant, run->view.job);
        exec_refuse_stuck(run->call);
        free_run(run);
    }
}

/* `existing`: an earlier job under the same Idempotency-Key, perhaps submitted elsewhere. */
static void follow(struct exec_run *run, const struct queue_submitted *result)
{
    size_t most = (size_t)run->api->config.max_output_bytes + 64 * 1024;
    view_init(&run->view, result->job, result->session, most);
    if (run->call == NULL) {
        if (!run->keep)
            exec_abandon(run->api, run->tenant, run->view.job);
        free_run(run);
        return;
    }
    run->reader = result->existing
                      ? log_reader_open(run->api->queue, run->tenant, result->job, STR(""), on_event, run)
                      : log_reader_open_sync(run->api->queue, result->job, result->event_id, on_event, run);
}

static void on_submitted(void *arg, enum queue_answer answer_, const struct queue_submitted *result)
{
    struct exec_run *run = arg;
    run->submitted = true;
    if (answer_ == QUEUE_OK || answer_ == QUEUE_DUP) {
        exec_accepted(run->api, run->lang, run->priority, result);
        follow(run, result);
        return;
    }
    struct call *c = run->call;
    free_run(run);
    if (c == NULL)
        return;
    if (answer_ == QUEUE_FULL)
        metrics_add(c->api->metrics, METRIC_JOBS_REFUSED, METRIC_REFUSED_FULL, 0, 1);
    if (answer_ == QUEUE_CONFLICT)
        call_fail(c, CE_IDEMPOTENCY_CONFLICT, "%s", "");
    else
        call_queue_failed(c, answer_, result != NULL ? result->retry_after_ms : 0);
}

static void begin(struct call *c, struct exec_request *taken)
{
    struct exec_request request = *taken;
    struct str key;
    if (!exec_idempotency_key(c, &key)) {
        exec_request_free(&request);
        return;
    }
    struct exec_run *run = calloc(1, sizeof *run);
    if (run == NULL) {
        exec_request_free(&request);
        call_fail(c, CE_INTERNAL, "out of memory");
        return;
    }
    *run =
        (struct exec_run){.api = c->api, .call = c, .tenant = c->tenant, .keep = request.detach || key.n > 0};
    list_append(&c->api->runs, &run->link);
    run->lang = request.lang;
    run->priority = request.priority;
    c->context = run;
    c->gone = on_client_gone;
    char hash[SHA256_HEX_LEN + 1];
    exec_body_hash(c, key, hash);
    struct queue_submit submit;
    exec_fill_submit(c, &request, key, hash, true, &submit);
    metrics_add(c->api->metrics, METRIC_JOBS_SUBMITTED, (unsigned)request.lang, (unsigned)request.priority,
                1);
    queue_submit(c->api->queue, &submit, on_submitted, run);
    exec_request_free(&request);
}

void handle_exec(struct call *c)
{
    struct exec_request request;
    struct str key;
    if (call_store_ready(c) && exec_idempotency_key(c, &key) && exec_read(c, true, &request))
        exec_settle_session(c, &request, false, begin);
}
