/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing, and the clock that drives everything periodic. */
#include "queue/internal.h"

#include <string.h>

enum { TICK_MS = 100 };

void queue_set_ready(struct queue *q, bool ready, const char *why)
{
    bool changed = ready != q->ready || (!ready && strcmp(why, q->why) != 0);
    bool lost = q->ready && !ready;
    if (q->closing || !changed)
        return;
    q->ready = ready;
    snprintf(q->why, sizeof q->why, "%s", ready ? "" : why);
    if (lost)
        q->check_at = 0;
    if (q->options.on_state)
        q->options.on_state(q->options.arg, ready, why);
    if (ready) {
        calls_resend(q);
        topics_second(q);
        consumer_connected(q);
    }
}

static void on_command_state(void *arg, bool up, const char *why)
{
    struct queue *q = arg;
    if (up) {
        store_check(q);
        return;
    }
    q->stats.reconnects++;
    q->checking = false;
    queue_set_ready(q, false, why);
}

static void on_pubsub_state(void *arg, bool up, const char *why)
{
    struct queue *q = arg;
    (void)why; /* the command connection says it */
    if (!up)
        return;
    topics_connected(q);
    if (q->subscribed_before)
        consumer_look_again(q); /* for a job that was handed to us meanwhile */
    q->subscribed_before = true;
}

static void on_tick(uv_timer_t *timer)
{
    struct queue *q = timer->data;
    uint64_t now = uv_now(q->loop);
    calls_tick(q);
    if (!q->ready && !q->checking && redis_up(q->cmd) && now >= q->check_at)
        store_check(q);
    if (now < q->next_second)
        return;
    q->next_second = now + 1000;
    store_gather(q);
    topics_second(q);
    consumer_second(q);
}

static void on_soon(uv_timer_t *timer)
{
    struct queue *q = timer->data;
    calls_tick(q);
    topics_soon(q);
}

void queue_soon(struct queue *q)
{
    if (!q->closing)
        uv_timer_start(&q->soon, on_soon, 0, 0);
}

void remember_class(struct queue *q, struct str name)
{
    for (size_t i = 0; i < q->class_count; i++) {
        if (str_eq(name, str_of(q->classes[i])))
            return;
    }
    if (q->class_count < MAX_CLASSES) {
        char *copy = strndup(name.p, name.n);
        if (copy)
            q->classes[q->class_count++] = copy;
    }
}

/* ---- open and close ---------------------------------------------------------------------------------------------- */

void part_opened(struct queue *q)
{
    q->parts++;
}

static void forget(const char *text)
{
    union {
        const char *shared;
        char *own;
    } u = {text};
    free(u.own);
}

static void queue_free(struct queue *q)
{
    forget(q->options.redis_url);
    forget(q->options.key_prefix);
    forget(q->options.ca_file);
    for (size_t i = 0; i < q->class_count; i++)
        forget(q->classes[i]);
    free(q);
}

void part_closed(void *arg)
{
    struct queue *q = arg;
    if (--q->parts > 0)
        return;
    void (*closed)(void *arg) = q->closed;
    void *closed_arg = q->closed_arg;
    queue_free(q);
    if (closed)
        closed(closed_arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

static enum err check_options(const struct queue_options *o, struct errinfo *info)
{
    if (!o->redis_url)
        return errinfo_set(info, ERR_INVALID, 0, "no Redis URL");
    if (o->key_prefix &&
        (strchr(o->key_prefix, '{') || strchr(o->key_prefix, '}') || strlen(o->key_prefix) > 64))
        return errinfo_set(info, ERR_INVALID, 0, "the key prefix has at most 64 characters and no braces");
    if (o->partitions > MAX_PARTITIONS)
        return errinfo_set(info, ERR_RANGE, 0, "at most %d partitions", MAX_PARTITIONS);
    if (o->lease_ms && o->heartbeat_ms && o->lease_ms < 3 * o->heartbeat_ms)
        return errinfo_set(info, ERR_RANGE, 0, "a lease must be at least three heartbeats");
    return ERR_OK;
}

static void fill_defaults(struct queue_options *o)
{
    static const struct queue_options d = {
        .max_jobs = 100000,
        .max_jobs_per_tenant = 10000,
        .max_bytes = 1ull << 30,
        .result_ttl_ms = 24 * 3600 * 1000,
        .sync_result_ttl_ms = 600 * 1000,
        .lease_ms = 10000,
        .heartbeat_ms = 2000,
        .max_attempts = MAX_ATTEMPTS,
    };
#define DEFAULT(field) o->field = o->field ? o->field : d.field
    DEFAULT(max_jobs);
    DEFAULT(max_jobs_per_tenant);
    DEFAULT(max_bytes);
    DEFAULT(result_ttl_ms);
    DEFAULT(sync_result_ttl_ms);
    DEFAULT(lease_ms);
    DEFAULT(heartbeat_ms);
    DEFAULT(max_attempts);
#undef DEFAULT
}

static enum err open_connection(struct queue *q, const struct redis_url *url, bool pubsub,
                                struct redis **ret_redis, struct errinfo *info)
{
    struct redis_options o = {
        .url = *url,
        .ca_file = q->options.ca_file,
        .connect_timeout_ms = q->options.connect_timeout_ms,
        .command_timeout_ms = q->options.command_timeout_ms,
        .on_state = pubsub ? on_pubsub_state : on_command_state,
        .on_message = pubsub ? on_pubsub : NULL,
        .arg = q,
    };
    return redis_open(q->loop, &o, ret_redis, info);
}

enum err queue_open(uv_loop_t *loop, const struct queue_options *options, struct queue **ret_queue,
                    struct errinfo *info)
{
    struct redis_url url;
    enum err e = check_options(options, info);
    if (!e)
        e = redis_url_parse(str_of(options->redis_url), &url, info);
    struct queue *q = e ? NULL : calloc(1, sizeof *q);
    if (!q)
        return e ? e : errinfo_set(info, ERR_NOMEM, 0, "queue");
    q->loop = loop;
    q->options = *options;
    fill_defaults(&q->options);
    q->options.redis_url = strdup(options->redis_url);
    q->options.key_prefix = strdup(options->key_prefix ? options->key_prefix : "millrace:");
    q->options.ca_file = options->ca_file ? strdup(options->ca_file) : NULL;
    memcpy(q->process, id_new().text, sizeof q->process);
    list_init(&q->calls);
    list_init(&q->ready_topics);
    idmap_init(&q->topics);
    if (!q->options.redis_url || !q->options.key_prefix)
        e = ERR_NOMEM;
    if (!e)
        e = open_connection(q, &url, false, &q->cmd, info);
    if (!e)
        e = open_connection(q, &url, true, &q->sub, info);
    if (e) {
        if (q->cmd)
            redis_close(q->cmd, NULL, NULL);
        queue_free(q);
        return e;
    }
    q->parts = 4;
    uv_timer_init(loop, &q->tick);
    uv_timer_init(loop, &q->soon);
    q->tick.data = q->soon.data = q;
    uv_timer_start(&q->tick, on_tick, TICK_MS, TICK_MS);
    *ret_queue = q;
    return ERR_OK;
}

void queue_close(struct queue *q, void (*closed)(void *arg), void *arg)
{
    q->closing = true;
    q->ready = false;
    q->closed = closed;
    q->closed_arg = arg;
    redis_close(q->cmd, part_closed, q); /* answers what was sent, with nothing; then what was not */
    redis_close(q->sub, part_closed, q);
    calls_fail_all(q);
    consumer_close(q);
    calls_fail_all(q);
    topics_free(q);
    uv_close((uv_handle_t *)&q->tick, on_timer_closed);
    uv_close((uv_handle_t *)&q->soon, on_timer_closed);
}

bool queue_ready(const struct queue *q)
{
    return q->ready;
}

unsigned queue_partitions(const struct queue *q)
{
    return q->partitions;
}

const char *queue_store_text(const struct queue *q)
{
    return q->store_text;
}

void queue_stats(const struct queue *q, struct queue_stats *ret_stats)
{
    *ret_stats = q->stats;
    ret_stats->ready = q->stats.ready > q->stats.running ? q->stats.ready - q->stats.running : 0;
}
