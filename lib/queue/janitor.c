/* SPDX-License-Identifier: Apache-2.0 */
/* Until there is an archiver: deletes terminal jobs that are due, and oldest first before that when their bytes press. */
#include "queue/consumer.h"

#include <string.h>

enum { BATCH = 64 };

struct expiry {
    struct queue *q;
    struct id job;
    bool forced;
};

static void on_expiry_head(void *arg, const struct redis_value *v)
{
    auto_free struct expiry *x = arg;
    struct queue *q = x->q;
    if (!v || v->type != REDIS_ARRAY)
        return;
    struct keyset keys = {.partition = id_partition(str_of(x->job.text), q->partitions), .job = str_of(x->job.text),
                          .tenant = redis_text(redis_item(v, 0)), .idem = redis_text(redis_item(v, 1))};
    struct call *call = call_script(q, SCRIPT_expire, &keys, false);
    call_cstr(call, x->job.text);
    call_cstr(call, q->options.key_prefix);
    call_int(call, x->forced);
    call_go(call, NULL, NULL);
}

static void expire(struct queue *q, struct str job, bool forced)
{
    struct expiry *x = calloc(1, sizeof *x);
    if (!x || id_parse(job, &x->job) != ERR_OK) {
        free(x);
        return;
    }
    x->q = q;
    x->forced = forced;
    struct keyset keys = {.partition = id_partition(job, q->partitions), .job = job};
    struct call *call = call_plain(q, "HMGET");
    call_key(call, &keys, "JOB");
    call_cstr(call, "tenant");
    call_cstr(call, "idem");
    call_go(call, on_expiry_head, x);
}

static void on_due(void *arg, const struct redis_value *v)
{
    struct queue *q = arg;
    for (size_t i = 0; v && v->type == REDIS_ARRAY && i < v->count; i++)
        expire(q, redis_text(&v->items[i]), false);
}

static void on_oldest(void *arg, const struct redis_value *v)
{
    struct queue *q = arg;
    for (size_t i = 0; v && v->type == REDIS_ARRAY && i < v->count; i++)
        expire(q, redis_text(&v->items[i]), true);
}

struct pressure {
    struct queue *q;
    unsigned partition;
};

static void on_bytes(void *arg, const struct redis_value *v)
{
    auto_free struct pressure *p = arg;
    struct queue *q = p->q;
    uint64_t most = q->options.max_bytes / q->partitions;
    if (!v || redis_integer(v) < 0 || (uint64_t)redis_integer(v) < most / 10 * 9)
        return;
    struct keyset keys = {.partition = p->partition};
    struct call *call = call_plain(q, "ZRANGE");
    call_key(call, &keys, "DUE");
    call_int(call, 0);
    call_int(call, BATCH - 1);
    call_go(call, on_oldest, q);
}

static void clean(struct queue *q, unsigned partition)
{
    struct keyset keys = {.partition = partition};
    struct call *due = call_plain(q, "ZRANGEBYSCORE");
    call_key(due, &keys, "DUE");
    call_cstr(due, "-inf");
    call_int(due, clock_wall_ms()); /* the script asks the store's clock again */
    call_cstr(due, "LIMIT");
    call_int(due, 0);
    call_int(due, BATCH);
    call_go(due, on_due, q);
    struct pressure *p = malloc(sizeof *p);
    if (!p)
        return;
    *p = (struct pressure){.q = q, .partition = partition};
    struct call *bytes = call_plain(q, "HGET");
    call_key(bytes, &keys, "COUNT");
    call_cstr(bytes, "bytes");
    call_go(bytes, on_bytes, p);
}

void janitor_run(struct queue *q)
{
    for (unsigned p = 0; p < q->partitions; p++)
        clean(q, p);
}
