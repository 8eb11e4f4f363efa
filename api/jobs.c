/* SPDX-License-Identifier: Apache-2.0 */
/* The asynchronous life of a job: submit, look, list, cancel. */
#include "api/app.h"
#include "api/view.h"

#include "json/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_DEFAULT = 20, LIST_MAX = 100 };

/* A call that waits for answers of the queue. It outlives its client: a callback comes exactly once. */
struct waiting {
    struct call *call; /* NULL once the client is gone */
    struct api *api;
    struct id job;
    struct str tenant;
    enum language lang;
    enum queue_priority priority;
    int status; /* of the answer to come */
    struct buf text;
    struct view view;
    struct log_reader *reader;
};

static void free_waiting(struct waiting *w)
{
    if (w->call != NULL)
        w->call->gone = NULL;
    if (w->reader != NULL)
        log_reader_close(w->reader);
    view_free(&w->view);
    buf_free(&w->text);
    free(w);
}

/* A reader is ours to close; of other callbacks one is still to come, and frees. */
static void on_client_gone(struct call *c)
{
    struct waiting *w = c->context;
    w->call = NULL;
    if (w->reader != NULL)
        free_waiting(w);
}

static struct waiting *wait_for(struct call *c)
{
    struct waiting *w = calloc(1, sizeof *w);
    if (w == NULL) {
        call_fail(c, CE_INTERNAL, "out of memory");
        return NULL;
    }
    *w = (struct waiting){.call = c, .api = c->api, .tenant = c->tenant, .status = 200};
    buf_init(&w->text, 256 * 1024);
    c->context = w;
    c->gone = on_client_gone;
    return w;
}

/* Takes the call out of the wait, which is freed. NULL when the client is gone. */
static struct call *arrive(struct waiting *w)
{
    struct call *c = w->call;
    free_waiting(w);
    return c;
}

/* ---- submit ---- */

static void reply_submitted(struct call *c, const struct id *job, const struct id *session, struct str status)
{
    char location[64];
    snprintf(location, sizeof location, "/v1/jobs/%s", job->text);
    struct http_field fields[] = {{.name = "Location", .value = location}, {NULL, NULL}};
    auto_buf body = BUF_INIT(1024);
    buf_printf(&body, "{\"job_id\":\"%s\",\"session_id\":\"%s\",\"status\":\"" STR_FMT "\"}\n", job->text,
               session->text, STR_ARG(status));
    call_reply(c, 202, "application/json", fields, buf_str(&body));
}

static void on_existing(void *arg, enum queue_answer answer, const struct queue_job *job)
{
    struct call *c = arrive(arg);
    if (c == NULL)
        return;
    if (answer == QUEUE_OK)
        reply_submitted(c, &job->job, &job->session, job->status);
    else
        call_queue_failed(c, answer, 0);
}

static void on_submitted(void *arg, enum queue_answer answer, const struct queue_submitted *result)
{
    struct waiting *w = arg;
    bool accepted = answer == QUEUE_OK || answer == QUEUE_DUP;
    if (accepted)
        exec_accepted(w->api, w->lang, w->priority, result);
    if (w->call != NULL && accepted && result->existing) {
        queue_get(w->api->queue, w->tenant, result->job, on_existing, w);
        return;
    }
    struct call *c = arrive(w);
    if (c == NULL)
        return;
    if (answer == QUEUE_FULL)
        metrics_add(c->api->metrics, METRIC_JOBS_REFUSED, METRIC_REFUSED_FULL, 0, 1);
    if (accepted)
        reply_submitted(c, &result->job, &result->session, STR("queued"));
    else if (answer == QUEUE_CONFLICT)
        call_fail(c, CE_IDEMPOTENCY_CONFLICT, "%s", "");
    else
        call_queue_failed(c, answer, result != NULL ? result->retry_after_ms : 0);
}

static void submit_job(struct call *c, struct exec_request *taken)
{
    struct exec_request request = *taken;
    struct str key;
    bool good = exec_idempotency_key(c, &key);
    struct waiting *w = good ? wait_for(c) : NULL;
    if (w != NULL) {
        char hash[SHA256_HEX_LEN + 1];
        exec_body_hash(c, key, hash);
        struct queue_submit submit;
        exec_fill_submit(c, &request, key, hash, false, &submit);
        metrics_add(c->api->metrics, METRIC_JOBS_SUBMITTED, (unsigned)request.lang,
                    (unsigned)request.priority, 1);
        queue_submit(c->api->queue, &submit, on_submitted, w);
    }
    exec_request_free(&request);
}

void handle_job_submit(struct call *c)
{
    struct exec_request request;
    struct str key;
    if (call_store_ready(c) && exec_idempotency_key(c, &key) && exec_read(c, false, &request))
        exec_settle_session(c, &request, true, submit_job);
}

/* ---- one job ---- */

static bool status_ended(struct str status)
{
    return !str_eq(status, STR("queued")) && !str_eq(status, STR("running"));
}

static void reply_job(struct waiting *w)
{
    int status = w->status;
    auto_buf body = w->text;
    buf_init(&w->text, 0);
    struct call *c = arrive(w);
    buf_append_cstr(&body, "}\n");
    call_json(c, status, &body);
}

static void on_result_event(void *arg, enum reader_state state, const struct event *event)
{
    struct waiting *w = arg;
    if (state == READER_EVENT) {
        view_apply(&w->view, event);
    } else if (state == READER_END) {
        buf_append_cstr(&w->text, ",\"result\":");
        w->text.max += 12 * (w->view.output[0].len + w->view.output[1].len) + 128 * 1024;
        view_write_result(&w->view, &w->text);
        reply_job(w);
    } else if (state == READER_UNAVAILABLE) {
        call_queue_failed(arrive(w), QUEUE_UNAVAILABLE, 0);
    } else if (state != READER_CAUGHT_UP) {
        call_fail(arrive(w), CE_NOT_FOUND, "%s", "");
    }
}

/* True: nobody waits any more, or who waits was told that it failed. */
static bool failed(struct waiting *w, enum queue_answer answer)
{
    if (w->call != NULL && answer == QUEUE_OK)
        return false;
    struct call *c = arrive(w);
    if (c != NULL)
        call_queue_failed(c, answer, 0);
    return true;
}

/* The projection is written; a job that has ended gets its result, folded from the log. */
static void on_job(void *arg, enum queue_answer answer, const struct queue_job *job)
{
    struct waiting *w = arg;
    if (failed(w, answer))
        return;
    if (!call_owns(w->call, job->user)) {
        call_queue_failed(arrive(w), QUEUE_NOT_FOUND, 0);
        return;
    }
    job_write(w->api, job, &w->text);
    if (!status_ended(job->status)) {
        buf_append_cstr(&w->text, ",\"result\":null");
        reply_job(w);
        return;
    }
    view_init(&w->view, job->job, job->session, (size_t)w->api->config.max_output_bytes + 64 * 1024);
    w->reader = log_reader_open(w->api->queue, w->tenant, job->job, STR(""), on_result_event, w);
}

void handle_job_get(struct call *c)
{
    struct id job;
    if (!call_job_id(c, &job) || !call_store_ready(c))
        return;
    struct waiting *w = wait_for(c);
    if (w != NULL)
        queue_get(c->api->queue, c->tenant, job, on_job, w);
}

/* ---- cancel ---- */

static void on_after_cancel(void *arg, enum queue_answer answer, const struct queue_job *job)
{
    struct waiting *w = arg;
    if (failed(w, answer))
        return;
    job_write(w->api, job, &w->text);
    w->status = status_ended(job->status) ? 200 : 202;
    reply_job(w);
}

/* A conflict is a job that has ended already: the answer is how. */
static void on_cancelled(void *arg, enum queue_answer answer)
{
    struct waiting *w = arg;
    bool known = answer == QUEUE_OK || answer == QUEUE_DUP || answer == QUEUE_CONFLICT;
    if (!failed(w, known ? QUEUE_OK : answer))
        queue_get(w->api->queue, w->tenant, w->job, on_after_cancel, w);
}

static void cancel_job(struct call *c)
{
    struct id job;
    if (!call_job_id(c, &job) || !call_store_ready(c))
        return;
    struct waiting *w = wait_for(c);
    if (w == NULL)
        return;
    w->job = job;
    queue_cancel(c->api->queue, c->tenant, job, STR("cancelled by the client"), on_cancelled, w);
}

void handle_job_cancel(struct call *c)
{
    call_check_owner(c, cancel_job);
}

/* ---- list ---- */

static void on_list(void *arg, enum queue_answer answer, const struct queue_job *jobs, size_t count,
                    const char *next_cursor)
{
    struct call *c = arrive(arg);
    if (c == NULL)
        return;
    if (answer == QUEUE_CONFLICT) {
        call_fail(c, CE_BAD_CURSOR, "cursor: is not one that this list gave");
        return;
    }
    if (answer != QUEUE_OK) {
        call_queue_failed(c, answer, 0);
        return;
    }
    auto_buf body = BUF_INIT(1024 * 1024);
    buf_append_cstr(&body, "{\"jobs\":[");
    const char *comma = "";
    for (size_t i = 0; i < count; i++) {
        if (!call_owns(c, jobs[i].user)) /* so a page may be short, and the cursor goes on behind it */
            continue;
        buf_append_cstr(&body, comma);
        comma = ",";
        job_write(c->api, &jobs[i], &body);
        buf_append_char(&body, '}');
    }
    buf_append_cstr(&body, "],\"next_cursor\":");
    if (next_cursor != NULL && next_cursor[0] != '\0')
        json_write_string(&body, str_of(next_cursor));
    else
        buf_append_cstr(&body, "null");
    buf_append_cstr(&body, "}\n");
    call_json(c, 200, &body);
}

static bool known_status(struct str status)
{
    for (enum view_status s = VIEW_QUEUED; s <= VIEW_DEAD; s++)
        if (str_eq(status, str_of(view_status_name(s))))
            return true;
    return status.n == 0;
}

void handle_job_list(struct call *c)
{
    struct str status = http_query(c->request, "status", NULL);
    struct str cursor = http_query(c->request, "cursor", NULL);
    bool limited = false;
    struct str limit_text = http_query(c->request, "limit", &limited);
    int64_t limit = LIST_DEFAULT;
    if (limited && (str_to_i64(limit_text, &limit) != ERR_OK || limit < 1 || limit > LIST_MAX)) {
        call_fail(c, CE_INVALID_FIELD, "limit: must be an integer from 1 to %d", LIST_MAX);
        return;
    }
    if (!known_status(status)) {
        call_fail(c, CE_INVALID_FIELD,
                  "status: must be queued, running, completed, failed, timed_out, cancelled or dead");
        return;
    }
    if (cursor.n > 512) {
        call_fail(c, CE_BAD_CURSOR, "cursor: is not one that this list gave");
        return;
    }
    if (!call_store_ready(c))
        return;
    struct waiting *w = wait_for(c);
    if (w != NULL)
        queue_list(c->api->queue, c->tenant, status, (unsigned)limit, cursor, on_list, w);
}
