/* SPDX-License-Identifier: Apache-2.0 */
#include "support/queue_world.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_nothing(uv_timer_t *timer)
{
    (void)timer; /* it only ends the turn */
}

void world_step(struct world *w)
{
    uv_timer_t timer;
    uv_timer_init(&w->loop, &timer);
    uv_timer_start(&timer, on_nothing, 50, 0);
    uv_run(&w->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&w->loop, UV_RUN_NOWAIT);
}

void world_until(struct world *w, bool (*done)(void *arg), void *arg, const char *what)
{
    int64_t end = clock_mono_ns() + 60ll * 1000000000;
    while (!done(arg)) {
        if (clock_mono_ns() > end) {
            fprintf(stderr, "waited in vain for: %s\n", what);
            abort();
        }
        world_step(w);
    }
}

void world_turn(struct world *w, int ms)
{
    int64_t end = clock_mono_ns() + (int64_t)ms * 1000000;
    while (clock_mono_ns() < end)
        world_step(w);
}

void world_init(struct world *w, const char *fsync, bool cluster)
{
    memset(w, 0, sizeof *w);
    uv_loop_init(&w->loop);
    redis_server_start(&w->redis, fsync, cluster);
    w->options = (struct queue_options){.redis_url = w->redis.url,
                                        .command_timeout_ms = 3000,
                                        .development = strcmp(fsync, "no") == 0}; /* refused elsewhere */
}

static bool is_ready(void *q)
{
    return queue_ready(q);
}

struct queue *world_queue(struct world *w)
{
    struct queue *q;
    struct errinfo info = {0};
    if (queue_open(&w->loop, &w->options, &q, &info) != ERR_OK) {
        fprintf(stderr, "queue_open: %s\n", info.text);
        abort();
    }
    w->open_queues++;
    world_until(w, is_ready, q, "the queue is ready");
    return q;
}

void world_open(struct world *w)
{
    w->api = world_queue(w);
}

static void on_closed(void *arg)
{
    struct world *w = arg;
    w->open_queues--;
}

void world_close_queue(struct world *w, struct queue *q)
{
    unsigned left = w->open_queues - 1;
    queue_close(q, on_closed, w);
    while (w->open_queues > left)
        world_step(w);
}

void world_close(struct world *w)
{
    if (w->api)
        world_close_queue(w, w->api);
    uv_run(&w->loop, UV_RUN_DEFAULT); /* hangs when a handle was left */
    uv_loop_close(&w->loop);
    redis_server_stop(&w->redis);
}

/* ---- submit ------------------------------------------------------------------------------------------------------ */

static void on_submitted(void *arg, enum queue_answer answer, const struct queue_submitted *result)
{
    struct submitted *s = arg;
    s->done = true;
    s->answer = answer;
    s->job = result->job;
    s->session = result->session;
    s->position = result->position;
    s->existing = result->existing;
    snprintf(s->event_id, sizeof s->event_id, "%s", result->event_id ? result->event_id : "");
}

void world_submit(struct queue *q, const char *tenant, struct submitted *ret, const struct queue_submit *more)
{
    struct queue_submit s = more ? *more : (struct queue_submit){.retry = true};
    *ret = (struct submitted){0};
    s.tenant = str_of(tenant);
    s.user = STR("user");
    s.class_name = s.class_name.n ? s.class_name : STR("local");
    s.lang = STR("py");
    s.request = s.request.n ? s.request : STR("{\"code\":\"print(1)\"}");
    queue_submit(q, &s, on_submitted, ret);
}

static bool is_submitted(void *arg)
{
    struct submitted *s = arg;
    return s->done;
}

struct id world_submit_now(struct world *w, const char *tenant)
{
    struct submitted s;
    world_submit(w->api, tenant, &s, NULL);
    world_until(w, is_submitted, &s, "a submit's answer");
    if (s.answer != QUEUE_OK) {
        fprintf(stderr, "submit answered %d\n", s.answer);
        abort();
    }
    return s.job;
}

void on_answer(void *arg, enum queue_answer answer)
{
    struct answer *a = arg;
    a->done = true;
    a->value = answer;
}

/* ---- readers ------------------------------------------------------------------------------------------------------ */

void on_reading(void *arg, enum reader_state state, const struct event *event)
{
    struct reading *r = arg;
    if (state == READER_CAUGHT_UP) {
        r->caught_up = true;
        return;
    }
    if (state != READER_EVENT) {
        r->over = true;
        r->end = state;
        return;
    }
    if (r->last_seq && event->seq != r->last_seq + 1)
        r->in_order = false;
    r->last_seq = event->seq;
    memcpy(r->last_id, event->id, sizeof r->last_id);
    buf_printf(&r->types, "%s%s", r->types.len ? " " : "", event_type_name(event->type));
    if (event->type == EV_OUTPUT)
        buf_append_str(&r->output, event->bytes);
}

void reading_open(struct reading *r, struct queue *q, const char *tenant, struct id job, const char *after)
{
    *r = (struct reading){.in_order = true, .types = BUF_INIT(1 << 20), .output = BUF_INIT(1 << 24)};
    r->reader = log_reader_open(q, str_of(tenant), job, str_of(after), on_reading, r);
}

void reading_close(struct reading *r)
{
    if (r->reader)
        log_reader_close(r->reader);
    buf_free(&r->types);
    buf_free(&r->output);
}

/* ---- workers ------------------------------------------------------------------------------------------------------ */

static void on_finished(void *arg, enum queue_answer answer)
{
    struct worker *k = arg;
    k->finished += answer == QUEUE_OK || answer == QUEUE_DUP;
    queue_consume_slots(k->q, 4);
}

static void on_job(void *arg, const struct claimed_job *job)
{
    struct worker *k = arg;
    size_t i = k->count++ % WORLD_JOBS;
    k->jobs[i].job = job->job;
    k->jobs[i].attempt = job->attempt;
    k->jobs[i].fenced = false;
    snprintf(k->jobs[i].request, sizeof k->jobs[i].request, STR_FMT, STR_ARG(job->request));
    if (!k->instant)
        return;
    struct event_draft drafts[] = {
        {.type = EV_STARTED, .data = STR("{\"backend\":\"test\"}")},
        {.type = EV_OUTPUT, .data = STR("{\"stream\":\"stdout\"}"), .bytes = STR("1\n")},
        {.type = EV_USAGE, .data = STR("{\"wall_ms\":1}")},
        {.type = EV_COMPLETED, .data = STR("{\"exit_code\":0}")},
    };
    queue_finish(k->q, job->job, job->attempt, 1, drafts, 4, 1, on_finished, k);
}

static bool on_input(void *arg, struct id job, uint32_t attempt, const struct event *event)
{
    struct worker *k = arg;
    (void)job;
    (void)attempt;
    if (k->takes_no_input && (event->type == EV_INPUT || event->type == EV_EOF)) {
        k->refusals++;
        return false;
    }
    k->inputs_seen++;
    buf_printf(&k->inputs, "%s%s", k->inputs.len ? " " : "", event_type_name(event->type));
    if (event->bytes.n)
        buf_printf(&k->inputs, "=" STR_FMT, STR_ARG(event->bytes));
    return true;
}

static void on_fenced(void *arg, struct id job, uint32_t attempt)
{
    struct worker *k = arg;
    for (size_t i = 0; i < k->count && i < WORLD_JOBS; i++) {
        if (strcmp(k->jobs[i].job.text, job.text) == 0 && k->jobs[i].attempt == attempt)
            k->jobs[i].fenced = true;
    }
}

void worker_open(struct worker *k, struct queue *q, const char *name, unsigned slots)
{
    static const char *const classes[] = {"local"};
    k->q = q;
    k->count = 0;
    k->inputs = BUF_INIT(1 << 20);
    struct consumer_callbacks cb = {.on_job = on_job, .on_input = on_input, .on_fenced = on_fenced, .arg = k};
    queue_consume(q, str_of(name), classes, 1, &cb);
    queue_consume_slots(q, slots);
}
