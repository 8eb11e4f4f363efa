/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that have waited for a worker as long as they may. Any api looks for them, for there may be no worker; the script
   decides, by the store's clock, so it does not matter who else looks. */
#include "queue/internal.h"

#include "base/clock.h"

#include <string.h>

enum { BATCH = 512 };

struct overdue {
    struct queue *q;
    struct id job;
    queue_overdue_cb cb;
    void *arg;
};

static void on_lapsed(void *arg, const struct redis_value *v)
{
    auto_free struct overdue *o = arg;
    if (answer_of(v) == QUEUE_OK)
        o->cb(o->arg, o->job);
}

static void on_head(void *arg, const struct redis_value *v)
{
    struct overdue *o = arg;
    struct keyset keys = head_keys(o->q, &o->job, v);
    if (!v || v->type != REDIS_ARRAY) {
        free(o); /* the store is away */
        return;
    }
    struct call *c = call_script(o->q, SCRIPT_overdue, &keys, false);
    call_cstr(c, o->job.text);
    call_cstr(c, o->q->options.key_prefix);
    call_go(c, on_lapsed, o);
}

struct look {
    struct queue *q;
    queue_overdue_cb cb;
    void *arg;
};

static void on_waiting(void *arg, const struct redis_value *v)
{
    auto_free struct look *l = arg;
    for (size_t i = 0; v && v->type == REDIS_ARRAY && i < v->count; i++) {
        struct overdue *o = calloc(1, sizeof *o);
        if (!o || id_parse(redis_text(&v->items[i]), &o->job) != ERR_OK) {
            free(o);
            continue;
        }
        o->q = l->q;
        o->cb = l->cb;
        o->arg = l->arg;
        call_head(l->q, &o->job, on_head, o);
    }
}

void queue_look_overdue(struct queue *q, queue_overdue_cb cb, void *arg)
{
    for (unsigned p = 0; q->ready && p < q->partitions; p++) {
        struct keyset keys = {.partition = p};
        struct look *l = malloc(sizeof *l);
        if (!l)
            return;
        *l = (struct look){q, cb, arg};
        struct call *c = call_plain(q, "ZRANGEBYSCORE");
        call_key(c, &keys, "WAITING");
        call_cstr(c, "-inf");
        call_int(c, clock_wall_ms());
        call_cstr(c, "LIMIT");
        call_int(c, 0);
        call_int(c, BATCH);
        call_go(c, on_waiting, l);
    }
}
