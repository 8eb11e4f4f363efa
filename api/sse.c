/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/jobs/{id}/events with Accept: text/event-stream. */
#include "api/follow.h"

#include <stdlib.h>
#include <string.h>

struct sse {
    struct follower follower;
    struct call *call;
    struct log_reader *reader;
    uv_timer_t heartbeat;
    struct buf piece; /* of one event */
    bool begun;
};

static void on_timer_closed(uv_handle_t *handle)
{
    struct sse *s = handle->data;
    buf_free(&s->piece);
    free(s);
}

static void end(struct sse *s)
{
    list_remove(&s->follower.node);
    if (s->reader != NULL)
        log_reader_close(s->reader);
    s->reader = NULL;
    uv_close((uv_handle_t *)&s->heartbeat, on_timer_closed);
}

static void on_client_gone(struct call *c)
{
    end(c->context);
}

static void begin(struct sse *s)
{
    static const struct http_field fields[] = {{.name = "X-Accel-Buffering", .value = "no"}, {NULL, NULL}};
    if (!s->begun)
        http_stream_begin(s->call->request, 200, "text/event-stream; charset=utf-8", fields);
    s->begun = true;
}

static void send_piece(struct sse *s)
{
    if (buf_status(&s->piece) == ERR_OK && !http_stream_write(s->call->request, buf_str(&s->piece)))
        log_reader_pause(s->reader);
    buf_reset(&s->piece);
}

static void on_drained(struct call *c)
{
    struct sse *s = c->context;
    log_reader_resume(s->reader);
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct sse *s = timer->data;
    begin(s);
    if (http_stream_pending(s->call->request) > 0)
        return; /* it has bytes to read already */
    buf_append_cstr(&s->piece, ": still here\n\n");
    send_piece(s);
}

/* A browser that resumes after the last event would come again and again: 204 tells it to stop. */
static void finish(struct sse *s)
{
    struct call *c = s->call;
    bool begun = s->begun;
    end(s);
    if (!begun) {
        call_reply(c, 204, NULL, NULL, STR(""));
        return;
    }
    http_stream_end(c->request);
    call_end(c, 200);
}

static void leave(struct follower *f)
{
    struct sse *s = container_of(f, struct sse, follower);
    begin(s);
    finish(s);
}

static void refuse(struct sse *s, enum client_error error, const char *detail)
{
    struct call *c = s->call;
    if (s->begun) { /* the log went away under a reader: it ends, and a new request is told why */
        finish(s);
        return;
    }
    end(s);
    call_fail(c, error, "%s", detail);
}

static void on_event(void *arg, enum reader_state state, const struct event *event)
{
    struct sse *s = arg;
    switch (state) {
    case READER_EVENT:
        begin(s);
        sse_write(event, &s->piece);
        metrics_add(s->call->api->metrics, METRIC_EVENTS_SENT, 0, 0, 1);
        send_piece(s);
        break;
    case READER_CAUGHT_UP:
        begin(s);
        break;
    case READER_END:
        finish(s);
        break;
    case READER_NOT_FOUND:
        refuse(s, CE_NOT_FOUND, "");
        break;
    case READER_BAD_OFFSET:
        refuse(s, CE_BAD_CURSOR, "Last-Event-ID: is not an event of this job");
        break;
    case READER_UNAVAILABLE:
        refuse(s, CE_UNAVAILABLE, "the archive of this job cannot be read at present");
        break;
    case READER_GONE:
        refuse(s, CE_GONE, "Last-Event-ID: these events are no longer kept; read from the start");
        break;
    }
}

void follow_sse(struct call *c, struct id job, const char *after)
{
    struct sse *s = calloc(1, sizeof *s);
    if (s == NULL) {
        call_fail(c, CE_INTERNAL, "out of memory");
        return;
    }
    s->call = c;
    s->follower.leave = leave;
    buf_init(&s->piece, 1024 * 1024);
    list_append(&c->api->followers, &s->follower.node);
    uv_timer_init(&c->api->loop.uv, &s->heartbeat);
    s->heartbeat.data = s;
    uv_timer_start(&s->heartbeat, on_heartbeat, FOLLOW_HEARTBEAT_MS, FOLLOW_HEARTBEAT_MS);
    c->context = s;
    c->gone = on_client_gone;
    c->drained = on_drained;
    s->reader = log_reader_open(c->api->queue, c->tenant, job, str_of(after), on_event, s);
}
