/* SPDX-License-Identifier: Apache-2.0 */
/* WS /v1/jobs/{id}/stream: events out, one a text frame; input in, one message at a time, so that it keeps
   its order and a full inbox holds the client back. */
#include "api/stream.h"
#include "api/follow.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum { INBOX_RETRY_FIRST_MS = 5, INBOX_DOUBLED_MAX = 4, INBOX_PATIENCE_MS = 10000 };

struct stream {
    struct follower follower;
    struct api *api;
    struct call *call; /* until the upgrade */
    struct ws *ws;     /* NULL before the upgrade and after on_closed */
    struct log_reader *reader;
    struct str tenant;
    struct id job;
    char last_id[EVENT_ID_MAX];
    struct buf text; /* of one event */
    struct stream_message message;
    uint64_t message_seq;
    bool sending; /* an answer of queue_send is to come */
    bool holds_message, ended;
    unsigned tries;
    uint64_t since_ms; /* the message has no room */
    uv_timer_t retry;
};

/* ---- the end ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct stream *s = handle->data;
    buf_free(&s->text);
    free(s);
}

static void drop_message(struct stream *s)
{
    if (s->holds_message)
        stream_message_free(&s->message);
    s->holds_message = false;
}

/* Frees when neither the client nor the queue will call again. */
static void maybe_free(struct stream *s)
{
    if (s->ws != NULL || s->call != NULL || s->sending)
        return;
    list_remove(&s->follower.node);
    if (s->reader != NULL)
        log_reader_close(s->reader);
    s->reader = NULL;
    drop_message(s);
    uv_close((uv_handle_t *)&s->retry, on_timer_closed);
}

static void on_closed(void *user, struct ws *ws, unsigned code)
{
    (void)ws;
    (void)code;
    struct stream *s = user;
    s->ws = NULL;
    uv_timer_stop(&s->retry);
    if (s->reader != NULL)
        log_reader_close(s->reader);
    s->reader = NULL;
    maybe_free(s);
}

/* The cursor is in the reason, for a client that kept none. */
static void leave(struct follower *f)
{
    struct stream *s = container_of(f, struct stream, follower);
    if (s->ws != NULL)
        ws_close(s->ws, 1001, str_of(s->last_id));
}

/* ---- events out ---- */

static void send_event(struct stream *s, const struct event *event)
{
    buf_reset(&s->text);
    event_write_json(event, &s->text);
    memcpy(s->last_id, event->id, sizeof s->last_id);
    metrics_add(s->api->metrics, METRIC_EVENTS_SENT, 0, 0, 1);
    if (buf_status(&s->text) == ERR_OK && !ws_send_text(s->ws, buf_str(&s->text)))
        log_reader_pause(s->reader);
}

static void on_drain(void *user, struct ws *ws)
{
    (void)ws;
    struct stream *s = user;
    if (s->reader != NULL)
        log_reader_resume(s->reader);
}

static void on_event(void *arg, enum reader_state state, const struct event *event)
{
    struct stream *s = arg;
    if (s->ws == NULL)
        return;
    switch (state) {
    case READER_EVENT:
        send_event(s, event);
        break;
    case READER_CAUGHT_UP:
        break;
    case READER_END:
        s->ended = true;
        ws_close(s->ws, 1000, STR("the job has ended"));
        break;
    case READER_NOT_FOUND:
        ws_close(s->ws, 4404, STR("the log of this job is not kept any more"));
        break;
    case READER_BAD_OFFSET:
        ws_close(s->ws, 4400, STR("after: is not an event of this job"));
        break;
    case READER_UNAVAILABLE:
        ws_close(s->ws, 1013, STR("the archive cannot be read at present; try again later"));
        break;
    case READER_GONE:
        ws_close(s->ws, 4410, STR("after: these events are no longer kept; read from the start"));
        break;
    }
}

/* ---- input in ---- */

static void send_message(struct stream *s);

static void on_retry(uv_timer_t *timer)
{
    send_message(timer->data);
}

/* The program does not read: the client waits, and after a while is told. */
static void wait_for_inbox(struct stream *s)
{
    uint64_t now = uv_now(s->retry.loop);
    unsigned doubled = s->tries < INBOX_DOUBLED_MAX ? s->tries : INBOX_DOUBLED_MAX;
    if (s->tries++ == 0)
        s->since_ms = now;
    if (now - s->since_ms < INBOX_PATIENCE_MS) {
        uv_timer_start(&s->retry, on_retry, (uint64_t)INBOX_RETRY_FIRST_MS << doubled, 0);
        return;
    }
    drop_message(s);
    ws_close(s->ws, 1008, STR("the program does not read its input"));
}

/* A job that has ended takes no input; its last events tell the client. */
static void on_sent(void *arg, enum queue_answer answer)
{
    struct stream *s = arg;
    s->sending = false;
    if (s->ws == NULL) {
        maybe_free(s);
        return;
    }
    if (answer == QUEUE_FULL) {
        wait_for_inbox(s);
        return;
    }
    drop_message(s);
    if (answer == QUEUE_UNAVAILABLE)
        ws_close(s->ws, 1013, STR("the store cannot be reached; the input may be lost"));
    else if (answer == QUEUE_CLOSED)
        ws_close(
            s->ws, 1008,
            STR("stdin: this job takes no input; submit it with \"interactive\": true, or give its \"stdin\""));
    else
        ws_pause_reading(s->ws, false);
}

static void send_message(struct stream *s)
{
    struct event_draft draft = {
        .type = s->message.type, .data = buf_str(&s->message.data), .bytes = buf_str(&s->message.bytes)};
    s->sending = true;
    if (draft.type == EV_CANCEL_REQUESTED)
        queue_cancel(s->api->queue, s->tenant, s->job, STR("cancelled by the client"), on_sent, s);
    else
        queue_send(s->api->queue, s->tenant, s->job, s->message_seq, &draft, on_sent, s);
}

static void on_message(void *user, struct ws *ws, bool text, struct str message)
{
    struct stream *s = user;
    struct api_fault fault;
    if (!text) {
        ws_close(ws, 1003, STR("messages are JSON text"));
        return;
    }
    if (stream_message_parse(message, &s->message, &fault) != ERR_OK) {
        ws_close(ws, 1008, str_of(fault.detail));
        return;
    }
    s->holds_message = true;
    s->message_seq = ++s->api->sends;
    s->tries = 0;
    ws_pause_reading(ws, true);
    send_message(s);
}

/* ---- the beginning ---- */

static const struct ws_callbacks callbacks = {
    .on_message = on_message,
    .on_drain = on_drain,
    .on_closed = on_closed,
    .max_message = 128 * 1024,
};

static void on_client_gone(struct call *c)
{
    struct stream *s = c->context;
    s->call = NULL; /* the answer of queue_get frees */
}

static void upgrade(struct stream *s)
{
    struct call *c = s->call;
    s->call = NULL;
    c->gone = NULL;
    s->ws = http_upgrade(c->request, &callbacks, s);
    call_end(c, 101);
    s->reader = log_reader_open(s->api->queue, s->tenant, s->job, str_of(s->last_id), on_event, s);
}

static void on_job(void *arg, enum queue_answer answer, const struct queue_job *job)
{
    struct stream *s = arg;
    s->sending = false;
    struct call *c = s->call;
    if (c != NULL && answer == QUEUE_OK && !call_owns(c, job->user))
        answer = QUEUE_NOT_FOUND;
    if (c != NULL && answer == QUEUE_OK) {
        upgrade(s);
        return;
    }
    s->call = NULL;
    maybe_free(s);
    if (c != NULL)
        call_queue_failed(c, answer, 0);
}

/* A page of another site must not drive a job with what the browser adds by itself. Clients that are no
   browsers send no Origin. */
static bool same_origin(struct call *c)
{
    struct str origin = http_header(c->request, "origin");
    struct str host = http_header(c->request, "host");
    if (origin.p == NULL)
        return true;
    const char *slashes = origin.n > 3 ? memmem(origin.p, origin.n, "://", 3) : NULL;
    if (slashes == NULL)
        return false;
    struct str of_origin = {slashes + 3, (size_t)(origin.p + origin.n - slashes - 3)};
    return str_eq_nocase(of_origin, host);
}

static bool may_upgrade(struct call *c)
{
    if (!http_is_websocket(c->request)) {
        static const struct http_field fields[] = {{.name = "Sec-WebSocket-Version", .value = "13"},
                                                   {.name = "Upgrade", .value = "websocket"},
                                                   {NULL, NULL}};
        auto_buf body = BUF_INIT(2048);
        client_error_write(CE_UPGRADE_REQUIRED, NULL, http_request_id(c->request), 0, &body);
        call_reply(c, 426, "application/json", fields, buf_str(&body));
        return false;
    }
    if (!same_origin(c)) {
        call_fail(c, CE_FORBIDDEN, "Origin: a WebSocket may be opened from this host's own pages only");
        return false;
    }
    return true;
}

void handle_job_stream(struct call *c)
{
    struct id job;
    char after[EVENT_ID_MAX];
    if (!may_upgrade(c) || !call_job_id(c, &job) ||
        !follow_after(c, "after", http_query(c->request, "after", NULL), after) || !call_store_ready(c))
        return;
    struct stream *s = calloc(1, sizeof *s);
    if (s == NULL) {
        call_fail(c, CE_INTERNAL, "out of memory");
        return;
    }
    *s = (struct stream){.api = c->api, .call = c, .tenant = c->tenant, .job = job, .sending = true};
    memcpy(s->last_id, after, sizeof s->last_id);
    s->follower.leave = leave;
    buf_init(&s->text, 1024 * 1024);
    list_append(&c->api->followers, &s->follower.node);
    uv_timer_init(&c->api->loop.uv, &s->retry);
    s->retry.data = s;
    c->context = s;
    c->gone = on_client_gone;
    queue_get(c->api->queue, c->tenant, job, on_job, s);
}
