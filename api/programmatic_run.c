/* SPDX-License-Identifier: Apache-2.0 */
/* POST /exec/programmatic: a round of a program that calls its client's tools. The first request submits a job; each answer is either
   the calls that wait for results, or the end. A continuation reads the job's log from its start, so any api can take it, and a
   repeated one finds its results there already. */
#include "api/app.h"
#include "api/body.h"
#include "api/programmatic.h"
#include "api/tool_results.h"
#include "api/view.h"

#include "base/log.h"
#include "queue/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_ID_HEADER "x-librechat-code-request-id"

struct round {
    struct list link;
    struct api *api;
    struct call *call; /* NULL once the client is gone */
    struct str tenant;
    struct view view;
    struct log_reader *reader;
    struct tool_calls calls;     /* of the log */
    struct tool_answers answers; /* of a continuation */
    enum language lang;
    enum queue_priority priority;
    bool first;            /* the request that brought the program */
    bool asked;            /* an answer of the queue is to come, which frees what has no client any more */
    bool live;             /* what the log had is read, and the answers are in it */
    bool known;            /* the session is */
    struct ticket *ticket; /* NULL: the request has no id to be cancelled by */
};

/* The id that the client gave its request (CONTRACT 7). Outlives the round until the store has answered. */
struct ticket {
    struct api *api;
    struct round *round; /* NULL once that is over */
    struct str tenant;
    char user[AUTH_USER_MAX + 1], id[40];
    struct id job;
    bool asked; /* the answer is to come */
};

static struct request_ref ref_of(const struct ticket *t)
{
    return (struct request_ref){.tenant = t->tenant, .user = str_of(t->user), .id = str_of(t->id)};
}

static void drop_ticket(struct ticket *t)
{
    t->round = NULL;
    if (t->job.text[0] != '\0') {
        struct request_ref ref = ref_of(t);
        request_close(t->api->queue, &ref);
    }
    if (!t->asked)
        free(t);
}

static void free_round(struct round *r)
{
    list_remove(&r->link);
    if (r->ticket != NULL)
        drop_ticket(r->ticket);
    if (r->reader != NULL)
        log_reader_close(r->reader);
    if (r->call != NULL)
        r->call->gone = NULL;
    view_free(&r->view);
    tool_calls_free(&r->calls);
    tool_answers_free(&r->answers);
    free(r);
}

static struct call *take_call(struct round *r)
{
    struct call *c = r->call;
    free_round(r);
    return c;
}

/* ---- the client went away ---- */

/* Nobody else knows of a program whose first answer was not given. Of a later round the client may ask again. */
static void leave(struct round *r)
{
    if (r->first)
        exec_abandon(r->api, r->tenant, r->view.job);
    free_round(r);
}

static void on_client_gone(struct call *c)
{
    struct round *r = c->context;
    r->call = NULL;
    if (!r->asked)
        leave(r);
}

/* ---- the client's id ---- */

static void refuse(struct round *r, enum client_error error, const char *text)
{
    call_fail(take_call(r), error, "%s", text);
}

static void on_opened(void *arg, enum queue_answer answer)
{
    struct ticket *t = arg;
    struct round *r = t->round;
    t->asked = false;
    if (answer == QUEUE_FENCED) /* cancelled before it was known */
        exec_abandon(t->api, t->tenant, t->job);
    if (r == NULL) {
        free(t);
        return;
    }
    if (answer != QUEUE_CONFLICT && answer != QUEUE_NOT_FOUND)
        return;
    t->job.text[0] = '\0'; /* not ours to close */
    if (r->call == NULL)
        return;
    if (r->first)
        exec_abandon(r->api, r->tenant, r->view.job);
    refuse(r, CE_REQUEST_ID_IN_USE, "");
}

static void open_ticket(struct round *r)
{
    struct ticket *t = r->ticket;
    if (t == NULL)
        return;
    t->job = r->view.job;
    t->asked = true;
    struct request_ref ref = ref_of(t);
    request_open(t->api->queue, &ref, t->job, on_opened, t);
}

/* False: the header is malformed, and the client was told. */
static bool take_request_id(struct call *c)
{
    unsigned count = http_header_count(c->request, REQUEST_ID_HEADER);
    if (count == 0 || (count == 1 && request_id_valid(http_header(c->request, REQUEST_ID_HEADER))))
        return true;
    call_fail(c, CE_BAD_REQUEST, "Invalid programmatic request ID");
    return false;
}

static bool new_ticket(struct round *r, const struct call *c)
{
    struct str id = http_header(c->request, REQUEST_ID_HEADER);
    if (id.n == 0)
        return true;
    struct ticket *t = calloc(1, sizeof *t);
    if (t == NULL)
        return false;
    *t = (struct ticket){.api = r->api, .round = r, .tenant = r->tenant};
    snprintf(t->id, sizeof t->id, STR_FMT, STR_ARG(id));
    snprintf(t->user, sizeof t->user, "%s", c->who.user);
    r->ticket = t;
    return true;
}

/* ---- answers ---- */

static void answer_calls(struct round *r)
{
    auto_buf body = BUF_INIT(256 * 1024 * 1024);
    buf_printf(
        &body,
        "{\"status\":\"tool_call_required\",\"continuation_token\":\"%s.%u\",\"session_id\":\"%s\",\"tool_calls\":",
        r->view.job.text, tool_calls_count(&r->calls), r->view.session.text);
    tool_calls_write_pending(&r->calls, r->view.attempt, &body);
    view_write_partial(&r->view, &body);
    buf_append_cstr(&body, "}\n");
    call_json(take_call(r), 200, &body);
}

static void answer_end(struct round *r)
{
    size_t most = 6 * (r->view.output[0].len + r->view.output[1].len) * 2 + 8 * 1024 * 1024;
    auto_buf body = BUF_INIT(most);
    view_write_programmatic(&r->view, &body);
    buf_append_char(&body, '\n');
    call_json(take_call(r), 200, &body);
}

/* ---- the log ---- */

static void take_session(struct round *r, const struct event *event)
{
    auto_json d = NULL;
    if (event->type != EV_SUBMITTED || json_parse(event->data, &d, NULL) != ERR_OK)
        return;
    const json_t *session = json_object_get(d, "session_id");
    if (json_is_string(session))
        r->known = id_parse((struct str){json_string_value(session), json_string_length(session)},
                            &r->view.session) == ERR_OK;
}

static void on_sent(void *arg, enum queue_answer answer)
{
    struct round *r = arg;
    r->asked = false;
    if (r->call == NULL) {
        leave(r);
    } else if (answer == QUEUE_OK || answer == QUEUE_DUP || answer == QUEUE_CONFLICT) {
        r->live = true; /* a conflict: it has ended, which the log says as well */
        if (tool_calls_pending(&r->calls, r->view.attempt) > 0)
            answer_calls(r); /* others were waiting by then */
        else
            log_reader_resume(r->reader);
    } else {
        call_queue_failed(take_call(r), answer, 1000);
    }
}

/* The continuation's results, behind what the log has. */
static void send_answers(struct round *r)
{
    struct api_fault fault;
    auto_buf data = BUF_INIT(64 * 1024 * 1024);
    enum err e = tool_answers_match(&r->answers, &r->calls, &data, &fault);
    if (e != ERR_OK) {
        call_refuse(take_call(r), &fault);
        return;
    }
    if (data.len == 0) { /* all of them were there */
        r->live = true;
        if (tool_calls_pending(&r->calls, r->view.attempt) > 0)
            answer_calls(r);
        return;
    }
    struct event_draft draft = {.type = EV_TOOL_RESULT, .data = buf_str(&data)};
    r->asked = true;
    tool_calls_answered(&r->calls, buf_str(&data));
    log_reader_pause(r->reader);
    queue_send(r->api->queue, r->tenant, r->view.job, 0, &draft, on_sent, r);
}

static void take_event(struct round *r, const struct event *event)
{
    view_apply(&r->view, event);
    if (!r->known)
        take_session(r, event);
    if (event->type == EV_TOOL_RESULT)
        tool_calls_answered(&r->calls, event->data);
    bool waits = event->type == EV_TOOL_CALL && tool_calls_add(&r->calls, event);
    if (r->live && waits && tool_calls_pending(&r->calls, r->view.attempt) > 0)
        answer_calls(r);
}

/* The end may come before the results do: then it is the answer to them. */
static void on_end(struct round *r)
{
    struct api_fault fault;
    auto_buf data = BUF_INIT(64 * 1024 * 1024);
    if (!r->first && !r->live && tool_answers_match(&r->answers, &r->calls, &data, &fault) != ERR_OK)
        call_refuse(take_call(r), &fault);
    else
        answer_end(r);
}

static void on_event(void *arg, enum reader_state state, const struct event *event)
{
    struct round *r = arg;
    switch (state) {
    case READER_EVENT:
        take_event(r, event);
        return;
    case READER_CAUGHT_UP:
        if (!r->live)
            send_answers(r);
        return;
    case READER_END:
        on_end(r);
        return;
    case READER_UNAVAILABLE:
        call_queue_failed(take_call(r), QUEUE_UNAVAILABLE, 0);
        return;
    case READER_NOT_FOUND:
    case READER_BAD_OFFSET:
    case READER_GONE:
        refuse(r, CE_NOT_FOUND, "Execution not found or expired");
        return;
    }
}

/* Of a later round, whose program waits to be replayed, the client may ask again. */
void programmatic_tell_stuck(struct api *api)
{
    list_each(r, &api->rounds, struct round, link)
    {
        if (r->call == NULL || r->asked || !r->live || r->view.status != VIEW_QUEUED)
            continue;
        if (r->first)
            exec_abandon(api, r->tenant, r->view.job);
        exec_refuse_stuck(take_call(r));
    }
}

/* ---- the first request ---- */

static void on_submitted(void *arg, enum queue_answer answer, const struct queue_submitted *result)
{
    struct round *r = arg;
    r->asked = false;
    if (answer == QUEUE_OK || answer == QUEUE_DUP) {
        exec_accepted(r->api, r->lang, r->priority, result);
        view_init(&r->view, result->job, result->session,
                  (size_t)r->api->config.max_output_bytes + 64 * 1024);
        r->known = r->live = true;
        open_ticket(r);
        if (r->call == NULL)
            leave(r);
        else
            r->reader = log_reader_open_sync(r->api->queue, result->job, result->event_id, on_event, r);
        return;
    }
    struct call *c = take_call(r);
    if (c == NULL)
        return;
    if (answer == QUEUE_FULL)
        metrics_add(c->api->metrics, METRIC_JOBS_REFUSED, METRIC_REFUSED_FULL, 0, 1);
    call_queue_failed(c, answer, result != NULL ? result->retry_after_ms : 0);
}

static struct round *new_round(struct call *c, bool first)
{
    struct round *r = calloc(1, sizeof *r);
    if (r == NULL) {
        call_fail(c, CE_INTERNAL, "out of memory");
        return NULL;
    }
    *r = (struct round){.api = c->api, .call = c, .tenant = c->tenant, .first = first};
    list_append(&c->api->rounds, &r->link);
    tool_calls_init(&r->calls);
    c->context = r;
    c->gone = on_client_gone;
    if (!new_ticket(r, c)) {
        call_fail(take_call(r), CE_INTERNAL, "out of memory");
        return NULL;
    }
    return r;
}

static void submit(struct call *c, struct exec_request *taken)
{
    struct exec_request request = *taken;
    struct round *r = new_round(c, true);
    if (r != NULL) {
        struct queue_submit job;
        exec_fill_submit(c, &request, (struct str){NULL, 0}, "", true, &job);
        r->lang = request.lang;
        r->priority = request.priority;
        r->asked = true;
        queue_submit(c->api->queue, &job, on_submitted, r);
    }
    exec_request_free(&request);
}

static void begin(struct call *c, json_t *body)
{
    struct exec_request request;
    struct api_fault fault;
    size_t max_code = (size_t)c->api->config.max_code_bytes;
    if (programmatic_body(body, max_code, &fault) != ERR_OK) {
        call_refuse(c, &fault);
        return;
    }
    if (exec_take(c, body, http_body(c->request).n + max_code,
                  &(struct exec_rules){.sync = true, .tools = true}, &request))
        exec_settle_session(c, &request, false, submit);
}

/* ---- a continuation ---- */

static void go_on(struct call *c)
{
    struct api_fault fault;
    struct id job;
    if (!call_job_id(c, &job))
        return;
    struct round *r = new_round(c, false);
    if (r == NULL)
        return;
    if (tool_answers_read(c->json, http_body(c->request), &r->answers, &fault) != ERR_OK) {
        call_refuse(take_call(r), &fault);
        return;
    }
    json_decref(c->json); /* the answers are views of the text */
    c->json = NULL;
    view_init(&r->view, job, job, (size_t)c->api->config.max_output_bytes + 64 * 1024);
    open_ticket(r);
    r->reader = log_reader_open(c->api->queue, c->tenant, job, STR(""), on_event, r);
}

/* <job>.<number>: a token of another's, or of nobody's, is not found. */
static bool take_token(struct call *c, const json_t *token)
{
    struct id job;
    struct str text = {json_string_value(token), json_string_length(token)};
    struct str number = text;
    struct str id = str_split(&number, '.');
    uint64_t count;
    if (!json_is_string(token) || id_parse(id, &job) != ERR_OK || str_to_u64(number, &count) != ERR_OK) {
        call_fail(c, CE_BAD_REQUEST, "Invalid continuation token");
        return false;
    }
    memcpy(c->job_text, job.text, sizeof job.text);
    c->param = str_of(c->job_text);
    return true;
}

void handle_programmatic(struct call *c)
{
    auto_json body = NULL;
    struct errinfo info;
    if (!call_store_ready(c) || !exec_is_json(c) || !take_request_id(c))
        return;
    if (body_json(c, &body, &info) != ERR_OK) {
        call_fail(c, CE_BAD_JSON, "%s", info.text);
        return;
    }
    const json_t *token = json_object_get(body, "continuation_token");
    if (!json_is_object(body))
        call_fail(c, CE_INVALID_FIELD, "the body must be an object");
    else if (token == NULL)
        begin(c, body);
    else if (take_token(c, token)) {
        c->json = json_incref(body);
        call_check_owner(c, go_on);
    }
}
