/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/jobs/{id}/events: what is there after an event, or what comes within `wait` seconds. */
#include "api/follow.h"

#include "json/json.h"

#include <stdlib.h>
#include <string.h>

struct poll {
    struct follower follower;
    struct call *call;
    struct log_reader *reader;
    uv_timer_t timer;
    struct buf events; /* JSON texts with commas between */
    unsigned count;
    char next[EVENT_ID_MAX];
    bool caught_up, waits, ended;
};

static void on_timer_closed(uv_handle_t *handle)
{
    struct poll *p = handle->data;
    buf_free(&p->events);
    free(p);
}

static void end(struct poll *p)
{
    list_remove(&p->follower.node);
    if (p->reader != NULL)
        log_reader_close(p->reader);
    p->reader = NULL;
    uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}

static void on_client_gone(struct call *c)
{
    end(c->context);
}

static void answer(struct poll *p)
{
    struct call *c = p->call;
    auto_buf body = BUF_INIT(p->events.len + 1024);
    buf_append_cstr(&body, "{\"events\":[");
    buf_append_str(&body, buf_str(&p->events));
    buf_printf(&body, "],\"next\":\"%s\",\"done\":%s}\n", p->next[0] != '\0' ? p->next : "0",
               p->ended ? "true" : "false");
    metrics_add(c->api->metrics, METRIC_EVENTS_SENT, 0, 0, p->count);
    end(p);
    call_json(c, 200, &body);
}

static void on_timer(uv_timer_t *timer)
{
    answer(timer->data);
}

static void leave(struct follower *f)
{
    answer(container_of(f, struct poll, follower));
}

static void take(struct poll *p, const struct event *event)
{
    buf_append_cstr(&p->events, p->count > 0 ? "," : "");
    event_write_json(event, &p->events);
    p->count++;
    memcpy(p->next, event->id, sizeof p->next);
}

static void refuse(struct poll *p, enum client_error error, const char *detail)
{
    struct call *c = p->call;
    end(p);
    call_fail(c, error, "%s", detail);
}

/* Live events that come in one turn of the loop go together: the timer fires when the turn is over. */
static void on_event(void *arg, enum reader_state state, const struct event *event)
{
    struct poll *p = arg;
    switch (state) {
    case READER_EVENT:
        take(p, event);
        if (p->count >= FOLLOW_PAGE_EVENTS || p->events.len >= FOLLOW_PAGE_BYTES)
            answer(p);
        else if (p->caught_up && p->count == 1)
            uv_timer_start(&p->timer, on_timer, 0, 0);
        break;
    case READER_CAUGHT_UP:
        p->caught_up = true;
        if (p->count > 0 || !p->waits)
            answer(p);
        break;
    case READER_END:
        p->ended = true;
        answer(p);
        break;
    case READER_NOT_FOUND:
        refuse(p, CE_NOT_FOUND, "");
        break;
    case READER_BAD_OFFSET:
        refuse(p, CE_BAD_CURSOR, "after: is not an event of this job");
        break;
    case READER_UNAVAILABLE:
        refuse(p, CE_UNAVAILABLE, "the archive of this job cannot be read at present");
        break;
    case READER_GONE:
        refuse(p, CE_GONE, "after: these events are no longer kept; read from the start");
        break;
    }
}

/* Whole or fractional seconds, 0 or more; above the most it is the most. */
static bool read_wait(struct call *c, uint64_t *ret_ms)
{
    bool present = false;
    struct str text = http_query(c->request, "wait", &present);
    char copy[32] = "", *rest = copy;
    if (present && text.n > 0 && text.n < sizeof copy &&
        ((text.p[0] >= '0' && text.p[0] <= '9') || text.p[0] == '.'))
        memcpy(copy, text.p, text.n);
    double wait = present ? strtod(copy, &rest) : 0;
    if (present && (rest == copy || *rest != '\0' || strpbrk(copy, "xX") != NULL || !(wait >= 0))) {
        call_fail(c, CE_INVALID_FIELD, "wait: must be seconds, 0 or more (at most %d are waited)",
                  FOLLOW_WAIT_MAX_S);
        return false;
    }
    *ret_ms = wait > FOLLOW_WAIT_MAX_S ? FOLLOW_WAIT_MAX_S * 1000 : (uint64_t)(wait * 1000);
    return true;
}

void follow_poll(struct call *c, struct id job, const char *after)
{
    uint64_t wait_ms = 0;
    if (!read_wait(c, &wait_ms))
        return;
    struct poll *p = calloc(1, sizeof *p);
    if (p == NULL) {
        call_fail(c, CE_INTERNAL, "out of memory");
        return;
    }
    p->call = c;
    p->waits = wait_ms > 0;
    p->follower.leave = leave;
    memcpy(p->next, after, strlen(after) + 1);
    buf_init(&p->events, FOLLOW_PAGE_BYTES + 1024 * 1024);
    list_append(&c->api->followers, &p->follower.node);
    uv_timer_init(&c->api->loop.uv, &p->timer);
    p->timer.data = p;
    if (p->waits)
        uv_timer_start(&p->timer, on_timer, wait_ms, 0);
    c->context = p;
    c->gone = on_client_gone;
    p->reader = log_reader_open(c->api->queue, c->tenant, job, str_of(after), on_event, p);
}
