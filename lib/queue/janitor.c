/* SPDX-License-Identifier: Apache-2.0 */
/* Where there is no archiver: deletes terminal jobs that are due, and oldest first before that when their bytes press.
   While one is about, or was a while ago, logs are its business: they leave Redis only when they lie in the object store. */
#include "queue/consumer.h"

#include <string.h>

enum { BATCH = 128, ARCHIVER_AWAY_MS = 3600 * 1000 };

/* One look at a partition's `due`, and what came of it. A full batch is followed by another. */
struct sweep {
    struct queue *q;
    unsigned partition, left;
    bool forced, full;
};

struct expiry {
    struct sweep *sweep;
    struct id job;
};

static void clean(struct queue *q, unsigned partition);

static void sweep_release(struct sweep *s)
{
    if (--s->left > 0)
        return;
    if (s->full && !s->q->closing)
        clean(s->q, s->partition);
    free(s);
}

static void on_expired(void *arg, const struct redis_value *v)
{
    struct sweep *s = arg;
    enum queue_answer answer = answer_of(v);
    if (answer != QUEUE_OK && answer != QUEUE_NOT_FOUND)
        s->full = false; /* it would be met again: not before the next round */
    sweep_release(s);
}

static void on_expiry_head(void *arg, const struct redis_value *v)
{
    auto_free struct expiry *x = arg;
    struct sweep *s = x->sweep;
    struct queue *q = s->q;
    if (!v || v->type != REDIS_ARRAY) {
        on_expired(s, NULL);
        return;
    }
    struct keyset keys = {.partition = s->partition,
                          .job = str_of(x->job.text),
                          .tenant = redis_text(redis_item(v, 0)),
                          .idem = redis_text(redis_item(v, 1))};
    struct call *call = call_script(q, SCRIPT_expire, &keys, false);
    call_cstr(call, x->job.text);
    call_cstr(call, q->options.key_prefix);
    call_int(call, s->forced);
    call_go(call, on_expired, s);
}

static void expire(struct sweep *s, struct str job)
{
    struct expiry *x = calloc(1, sizeof *x);
    if (!x || id_parse(job, &x->job) != ERR_OK) {
        free(x);
        return;
    }
    x->sweep = s;
    s->left++;
    struct keyset keys = {.partition = s->partition, .job = job};
    struct call *call = call_plain(s->q, "HMGET");
    call_key(call, &keys, "JOB");
    call_cstr(call, "tenant");
    call_cstr(call, "idem");
    call_go(call, on_expiry_head, x);
}

static void on_due(void *arg, const struct redis_value *v)
{
    struct sweep *s = arg;
    size_t count = v && v->type == REDIS_ARRAY ? v->count : 0;
    s->full = count == BATCH;
    for (size_t i = 0; i < count; i++)
        expire(s, redis_text(&v->items[i]));
    sweep_release(s);
}

/* What is due by now, or just the oldest. */
static void look(struct queue *q, unsigned partition, bool forced, int64_t now_ms)
{
    struct keyset keys = {.partition = partition};
    struct sweep *s = calloc(1, sizeof *s);
    if (!s)
        return;
    *s = (struct sweep){.q = q, .partition = partition, .forced = forced, .left = 1};
    struct call *due = call_plain(q, "ZRANGEBYSCORE");
    call_key(due, &keys, "DUE");
    call_cstr(due, "-inf");
    if (forced)
        call_cstr(due, "+inf");
    else
        call_int(due, now_ms);
    call_cstr(due, "LIMIT");
    call_int(due, 0);
    call_int(due, BATCH);
    call_go(due, on_due, s);
}

struct question {
    struct queue *q;
    unsigned partition;
};

static void on_count(void *arg, const struct redis_value *v)
{
    auto_free struct question *ask = arg;
    struct queue *q = ask->q;
    uint64_t most = q->options.max_bytes / q->partitions;
    if (!v || v->type != REDIS_ARRAY || redis_integer(redis_item(v, 1)) < ARCHIVER_AWAY_MS)
        return;
    int64_t bytes = redis_integer(redis_item(v, 0)), now_ms = redis_integer(redis_item(v, 2));
    look(q, ask->partition, false, now_ms);
    if (bytes >= 0 && (uint64_t)bytes >= most / 10 * 9)
        look(q, ask->partition, true, now_ms);
}

static void clean(struct queue *q, unsigned partition)
{
    struct keyset keys = {.partition = partition};
    struct question *ask = malloc(sizeof *ask);
    if (!ask)
        return;
    *ask = (struct question){.q = q, .partition = partition};
    call_go(call_script(q, SCRIPT_janitor, &keys, false), on_count, ask);
}

void janitor_run(struct queue *q)
{
    for (unsigned p = 0; p < q->partitions; p++)
        clean(q, p);
}
