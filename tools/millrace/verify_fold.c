/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/verify_fold.h"

#include "json/json.h"

#include <stdio.h>
#include <string.h>

enum { ENTRY_BYTES = 100 /* what event.lua counts beside d and b */ };

static void keep(char *out, size_t size, const json_t *d, const char *name)
{
    const char *text = json_string_value(json_object_get(d, name));
    snprintf(out, size, "%s", text ? text : "");
}
#define KEEP(field, d, name) keep(field, sizeof(field), d, name)

static void fold_data(struct folded *f, const struct event *e)
{
    auto_json d = NULL;
    if (e->data.n && json_parse(e->data, &d, NULL))
        return;
    if (e->type == EV_SUBMITTED) {
        KEEP(f->session, d, "session_id");
        KEEP(f->lang, d, "lang");
        KEEP(f->priority, d, "priority");
    } else if (e->type == EV_QUEUED) {
        KEEP(f->class_name, d, "class");
        memcpy(f->queued_id, e->id, sizeof f->queued_id);
    } else if (e->type == EV_CLAIMED) {
        KEEP(f->worker, d, "worker");
    } else if (e->type == EV_DEAD) {
        f->reasons = (int64_t)json_array_size(json_object_get(d, "reasons"));
    }
}

static void take(struct folded *f, const struct event *e)
{
    fold_data(f, e);
    f->seq = (int64_t)e->seq;
    f->ms = e->time_ms;
    f->stored += ENTRY_BYTES + (int64_t)(e->data.n + e->bytes.n);
    memcpy(f->last, e->id, sizeof f->last);
    const char *status = NULL;
    if (e->type == EV_SUBMITTED)
        f->created = e->time_ms;
    if (e->type == EV_SUBMITTED || e->type == EV_RETRIED)
        status = "queued";
    if (event_is_client(e->type))
        f->ins = (int64_t)e->seq;
    f->cancel = f->cancel || e->type == EV_CANCEL_REQUESTED;
    if (e->type == EV_CLAIMED) {
        status = "running";
        f->attempt = e->attempt;
        f->claimed = e->time_ms;
    } else if (e->type == EV_STARTED) {
        f->started = e->time_ms;
        f->released = e->attempt;
    } else if (event_is_terminal(e->type)) {
        status = event_type_name(e->type);
        f->finished = e->time_ms;
        f->over = true;
    }
    if (status)
        snprintf(f->status, sizeof f->status, "%s", status);
}

/* Is this the event that has to follow? */
static void check_order(struct verify *v, const char *key, const struct folded *f, const struct event *e)
{
    int64_t attempt = f->attempt + (e->type == EV_CLAIMED);
    if ((int64_t)e->seq != f->seq + 1)
        verify_differs(v, key, "log: seq %lld follows %lld", (long long)e->seq, (long long)f->seq);
    if (e->attempt != attempt)
        verify_differs(v, key, "log: event %lld says attempt %u in attempt %lld", (long long)e->seq,
                       e->attempt, (long long)attempt);
    if (e->time_ms < f->ms)
        verify_differs(v, key, "log: the time of event %lld goes back", (long long)e->seq);
    if (f->over)
        verify_differs(v, key, "log: event %lld follows the end", (long long)e->seq);
}

void verify_fold(struct verify *v, const char *key, struct folded *f, const struct event *e)
{
    check_order(v, key, f, e);
    take(f, e);
    v->events++;
}
