/* SPDX-License-Identifier: Apache-2.0 */
/* The queue against a real redis-server. `queue_test cluster` runs the same on one node with cluster-enabled. */
#include "support/queue_world.h"

#include "base/clock.h"
#include "queue/internal.h"
#include "unit/unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool cluster;

struct fixture {
    struct world w;
    struct worker a, b;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    world_init(&f->w, "always", cluster);
    f->w.options.lease_ms = 1500;
    f->w.options.heartbeat_ms = 300;
    world_open(&f->w);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    if (f->a.q)
        world_close_queue(&f->w, f->a.q);
    if (f->b.q)
        world_close_queue(&f->w, f->b.q);
    world_close(&f->w);
    buf_free(&f->a.inputs);
    buf_free(&f->b.inputs);
    free(f);
    return 0;
}

static enum queue_answer finish_costing(struct fixture *f, struct worker *k, size_t i, uint64_t n,
                                        enum event_type end, uint32_t cost_ms)
{
    struct answer a = {0};
    struct event_draft d[] = {
        {.type = EV_OUTPUT, .data = STR("{\"stream\":\"stdout\"}"), .bytes = STR("end\n")},
        {.type = end, .data = STR("{}")}};
    queue_finish(k->q, k->jobs[i].job, k->jobs[i].attempt, n, d, 2, cost_ms, on_answer, &a);
    UNTIL(&f->w, a.done);
    return a.value;
}

static enum queue_answer finish(struct fixture *f, struct worker *k, size_t i, uint64_t n,
                                enum event_type end)
{
    return finish_costing(f, k, i, n, end, 5);
}

static enum queue_answer append(struct fixture *f, struct worker *k, size_t i, uint64_t n, const char *text)
{
    struct answer a = {0};
    struct event_draft d = {.type = EV_OUTPUT, .data = STR("{\"stream\":\"stdout\"}"), .bytes = str_of(text)};
    queue_append(k->q, k->jobs[i].job, k->jobs[i].attempt, n, &d, 1, on_answer, &a);
    UNTIL(&f->w, a.done);
    return a.value;
}

static enum queue_answer cancel(struct fixture *f, const char *tenant, struct id job)
{
    struct answer a = {0};
    queue_cancel(f->w.api, str_of(tenant), job, STR("user"), on_answer, &a);
    UNTIL(&f->w, a.done);
    return a.value;
}

static enum queue_answer client_send(struct fixture *f, struct id job, enum event_type type, struct str bytes)
{
    struct answer a = {0};
    struct event_draft d = {.type = type, .bytes = bytes};
    queue_send(f->w.api, STR("t"), job, 0, &d, on_answer, &a);
    UNTIL(&f->w, a.done);
    return a.value;
}

static void check_log(struct fixture *f, struct id job, const char *types)
{
    struct reading r;
    reading_open(&r, f->w.api, "t", job, "");
    UNTIL(&f->w, r.over || r.caught_up);
    assert_string_equal(buf_cstr(&r.types), types);
    assert_true(r.in_order);
    reading_close(&r);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void t01_a_job_goes_through(void **state)
{
    struct fixture *f = *state;
    f->a.instant = true;
    worker_open(&f->a, world_queue(&f->w), "w1", 4);
    struct submitted s;
    world_submit(f->w.api, "t", &s, &(struct queue_submit){.sync = true, .retry = true});
    UNTIL(&f->w, s.done);
    UNTIL(&f->w, f->a.finished == 1);
    assert_int_equal(s.answer, QUEUE_OK);
    check_log(f, s.job, "submitted queued claimed started output usage completed");
}

static void sync_opened(void *arg, enum queue_answer answer, const struct queue_submitted *result)
{
    struct {
        struct reading r;
        struct queue *q;
    } *x = arg;
    assert_int_equal(answer, QUEUE_OK);
    x->r.reader = log_reader_open_sync(x->q, result->job, result->event_id, on_reading, &x->r);
}

static void t02_a_synchronous_run_gets_its_events_by_message(void **state)
{
    struct fixture *f = *state;
    struct {
        struct reading r;
        struct queue *q;
    } x = {.q = f->w.api, .r = {.in_order = true, .types = BUF_INIT(4096), .output = BUF_INIT(4096)}};
    f->a.instant = true;
    worker_open(&f->a, world_queue(&f->w), "w1", 4);
    queue_submit(f->w.api,
                 &(struct queue_submit){.tenant = STR("t"),
                                        .user = STR("u"),
                                        .class_name = STR("local"),
                                        .lang = STR("py"),
                                        .request = STR("{}"),
                                        .sync = true,
                                        .retry = true},
                 sync_opened, &x);
    UNTIL(&f->w, x.r.over);
    assert_int_equal(x.r.end, READER_END);
    struct queue_stats stats;
    queue_stats(f->w.api, &stats);
    assert_int_equal(stats.log_reads, 0);
    assert_string_equal(buf_cstr(&x.r.types), "claimed started output usage completed");
    assert_string_equal(buf_cstr(&x.r.output), "1\n");
    reading_close(&x.r);
}

struct found {
    bool done;
    enum queue_answer answer;
    char status[16];
    uint64_t position, last_seq;
    uint32_t attempt;
};

static void on_found(void *arg, enum queue_answer answer, const struct queue_job *job)
{
    struct found *g = arg;
    g->done = true;
    g->answer = answer;
    if (!job)
        return;
    snprintf(g->status, sizeof g->status, STR_FMT, STR_ARG(job->status));
    g->position = job->position;
    g->last_seq = job->last_seq;
    g->attempt = job->attempt;
}

static void wait_found(struct fixture *f, struct id job, const char *status, struct found *ret_found)
{
    do {
        *ret_found = (struct found){0};
        queue_get(f->w.api, STR("t"), job, on_found, ret_found);
        UNTIL(&f->w, ret_found->done);
    } while (strcmp(ret_found->status, status) != 0);
}

/* A claim of its own for each would be two commands a job. */
static void t02b_a_waiting_worker_is_handed_its_jobs(void **state)
{
    enum { JOBS = 50 };
    struct fixture *f = *state;
    struct queue_stats before, after;
    struct found g;
    f->a.instant = true;
    worker_open(&f->a, world_queue(&f->w), "w1", 4);
    wait_found(f, world_submit_now(&f->w, "t"), "completed", &g);
    queue_stats(f->a.q, &before);
    for (size_t i = 0; i < JOBS; i++)
        wait_found(f, world_submit_now(&f->w, "t"), "completed", &g);
    queue_stats(f->a.q, &after);
    UNTIL(&f->w, f->a.finished == JOBS + 1);
    assert_true(after.commands - before.commands >= JOBS);
    if (!cluster) /* where each partition has to see the worker first */
        assert_true(after.commands - before.commands < JOBS * 2 - JOBS / 4);
}

/* Every slot that an end makes free takes the next job along. */
static void t02c_an_end_brings_the_next_job(void **state)
{
    enum { JOBS = 30 };
    struct fixture *f = *state;
    struct found g;
    struct id jobs[JOBS];
    for (size_t i = 0; i < JOBS; i++)
        jobs[i] = world_submit_now(&f->w, "t");
    f->a.instant = true;
    worker_open(&f->a, world_queue(&f->w), "w1", 2);
    for (size_t i = 0; i < JOBS; i++) {
        wait_found(f, jobs[i], "completed", &g);
        assert_int_equal(g.attempt, 1);
    }
    UNTIL(&f->w, f->a.finished == JOBS);
}

static void t02d_what_was_handed_and_not_heard_is_not_lost(void **state)
{
    struct fixture *f = *state;
    char command[256], reply[256];
    struct found g;
    if (cluster)
        return; /* which partition is met is chance */
    worker_open(&f->a, world_queue(&f->w), "w1", 4);
    wait_found(f, world_submit_now(&f->w, "t"), "running", &g);
    /* The message goes to a process that does not know what to do with it. */
    snprintf(command, sizeof command, "HSET millrace:{p00}:c:local:fair hp %s", f->w.api->process);
    redis_server_ask(&f->w.redis, command, reply, sizeof reply);
    struct id unheard = world_submit_now(&f->w, "t");
    wait_found(f, unheard, "running", &g);
    assert_int_equal(f->a.count, 1);
    redis_server_ask(&f->w.redis, "CLIENT KILL TYPE pubsub", reply, sizeof reply);
    UNTIL(&f->w, f->a.count == 2); /* found when the worker was connected again, or by the reaper */
    assert_string_equal(f->a.jobs[1].job.text, unheard.text);
}

static void t03_a_live_reader_sees_each_event_once_and_in_order(void **state)
{
    struct fixture *f = *state;
    struct reading live, late, other;
    struct id job = world_submit_now(&f->w, "t");
    reading_open(&live, f->w.api, "t", job, "");
    reading_open(&other, f->w.api, "someone-else", job, "");
    UNTIL(&f->w, live.caught_up && other.over);
    assert_int_equal(other.end, READER_NOT_FOUND);
    worker_open(&f->a, world_queue(&f->w), "w1", 1);
    UNTIL(&f->w, f->a.count == 1);
    for (uint64_t n = 1; n <= 200; n++)
        assert_int_equal(append(f, &f->a, 0, n, "x"), QUEUE_OK);
    assert_int_equal(finish(f, &f->a, 0, 201, EV_COMPLETED), QUEUE_OK);
    UNTIL(&f->w, live.over);
    assert_int_equal(live.end, READER_END);
    assert_true(live.in_order);
    assert_int_equal(live.last_seq, 2 + 1 + 200 + 2);
    reading_open(&late, f->w.api, "t", job, live.last_id);
    UNTIL(&f->w, late.over);
    assert_int_equal(late.end, READER_END);
    assert_int_equal(late.types.len, 0);
    reading_close(&late);
    reading_open(&late, f->w.api, "t", job, "1-1");
    UNTIL(&f->w, late.over);
    assert_int_equal(late.end, READER_BAD_OFFSET);
    reading_close(&late);
    reading_close(&other);
    reading_close(&live);
}

static void t04_a_paused_reader_misses_nothing(void **state)
{
    struct fixture *f = *state;
    struct reading r;
    struct id job = world_submit_now(&f->w, "t");
    reading_open(&r, f->w.api, "t", job, "");
    UNTIL(&f->w, r.caught_up);
    log_reader_pause(r.reader);
    worker_open(&f->a, world_queue(&f->w), "w1", 1);
    UNTIL(&f->w, f->a.count == 1);
    for (uint64_t n = 1; n <= 150; n++)
        assert_int_equal(append(f, &f->a, 0, n, "y"), QUEUE_OK);
    assert_int_equal(r.last_seq, 2);
    log_reader_resume(r.reader);
    UNTIL(&f->w, r.last_seq == 153);
    assert_true(r.in_order);
    reading_close(&r);
}

static bool store_says(struct fixture *f, const char *command, const char *expected)
{
    char reply[256];
    redis_server_ask(&f->w.redis, command, reply, sizeof reply);
    return strcmp(reply, expected) == 0;
}

/* The subscription is gone and the api process does not know: what it was not told of, it asks for. */
static void t04b_a_lost_wake_up_costs_no_event(void **state)
{
    struct fixture *f = *state;
    struct reading r;
    struct queue_stats stats;
    char channel[128], command[256], reply[256];
    f->w.options.command_timeout_ms = 60000; /* its connection is not made anew meanwhile */
    struct queue *q = world_queue(&f->w);
    struct id job = world_submit_now(&f->w, "t");
    worker_open(&f->a, world_queue(&f->w), "w1", 1);
    UNTIL(&f->w, f->a.count == 1);
    reading_open(&r, q, "t", job, "");
    UNTIL(&f->w, r.caught_up && r.last_seq == 3);
    snprintf(channel, sizeof channel, "millrace:ev:%s", job.text);
    assert_int_equal(redis_unsubscribe(q->sub, str_of(channel)), ERR_OK);
    snprintf(command, sizeof command, "EVAL \"return redis.call('PUBSUB','NUMSUB','%s')[2]\" 0", channel);
    UNTIL(&f->w, store_says(f, command, ":0"));
    assert_int_equal(append(f, &f->a, 0, 1, "a"), QUEUE_OK);
    UNTIL(&f->w, r.last_seq == 4);
    queue_stats(q, &stats);
    assert_int_equal(stats.wakeups_lost, 1);
    /* The same where it is noticed, because the connection is lost. */
    redis_server_ask(&f->w.redis, "CLIENT KILL TYPE pubsub", reply, sizeof reply);
    assert_int_equal(append(f, &f->a, 0, 2, "b"), QUEUE_OK);
    UNTIL(&f->w, r.last_seq == 5);
    assert_int_equal(finish(f, &f->a, 0, 3, EV_COMPLETED), QUEUE_OK);
    UNTIL(&f->w, r.over);
    assert_int_equal(r.end, READER_END);
    assert_true(r.in_order);
    assert_string_equal(buf_cstr(&r.output), "abend\n");
    reading_close(&r);
    world_close_queue(&f->w, q);
}

static void t05_appends_are_fenced_and_repeats_are_dup(void **state)
{
    struct fixture *f = *state;
    world_submit_now(&f->w, "t");
    worker_open(&f->a, world_queue(&f->w), "w1", 1);
    UNTIL(&f->w, f->a.count == 1);
    assert_int_equal(append(f, &f->a, 0, 1, "a"), QUEUE_OK);
    assert_int_equal(append(f, &f->a, 0, 1, "a"), QUEUE_DUP);
    assert_int_equal(append(f, &f->a, 0, 3, "c"), QUEUE_CONFLICT);
    f->a.jobs[0].attempt = 2;
    assert_int_equal(append(f, &f->a, 0, 2, "b"), QUEUE_FENCED);
    f->a.jobs[0].attempt = 1;
    assert_int_equal(finish(f, &f->a, 0, 2, EV_COMPLETED), QUEUE_OK);
    assert_int_equal(finish(f, &f->a, 0, 2, EV_COMPLETED), QUEUE_FENCED); /* the lease is gone here */
    check_log(f, f->a.jobs[0].job, "submitted queued claimed output output completed");
}

static void t06_cancel_of_queued_and_running_jobs(void **state)
{
    struct fixture *f = *state;
    struct id queued = world_submit_now(&f->w, "t");
    assert_int_equal(cancel(f, "foreign", queued), QUEUE_NOT_FOUND);
    assert_int_equal(cancel(f, "t", queued), QUEUE_OK);
    assert_int_equal(cancel(f, "t", queued), QUEUE_CONFLICT);
    check_log(f, queued, "submitted queued cancelled");
    struct id running = world_submit_now(&f->w, "t");
    worker_open(&f->a, world_queue(&f->w), "w1", 1);
    UNTIL(&f->w, f->a.count == 1);
    assert_string_equal(f->a.jobs[0].job.text, running.text);
    assert_int_equal(cancel(f, "t", running), QUEUE_OK);
    assert_int_equal(cancel(f, "t", running), QUEUE_DUP);
    UNTIL(&f->w, f->a.inputs_seen == 1);
    assert_string_equal(buf_cstr(&f->a.inputs), "cancel_requested");
    assert_int_equal(finish(f, &f->a, 0, 1, EV_CANCELLED), QUEUE_OK);
    check_log(f, running, "submitted queued claimed cancel_requested output cancelled");
}

static void t07_inputs_arrive_once_in_order_and_their_box_is_bounded(void **state)
{
    struct fixture *f = *state;
    static char big[40000];
    memset(big, 'z', sizeof big);
    struct id job = world_submit_now(&f->w, "t");
    assert_int_equal(client_send(f, job, EV_INPUT, (struct str){big, sizeof big}), QUEUE_OK);
    assert_int_equal(client_send(f, job, EV_INPUT, (struct str){big, sizeof big}), QUEUE_FULL);
    worker_open(&f->a, world_queue(&f->w), "w1", 1);
    UNTIL(&f->w, f->a.inputs_seen == 1);
    /* Read means room again, well before a lease has passed. */
    struct answer a = {.value = QUEUE_FULL};
    while (a.value == QUEUE_FULL)
        a.value = client_send(f, job, EV_INPUT, (struct str){big, sizeof big});
    assert_int_equal(a.value, QUEUE_OK);
    for (int i = 0; i < 20; i++)
        assert_int_equal(client_send(f, job, EV_INPUT, STR("line")), QUEUE_OK);
    assert_int_equal(client_send(f, job, EV_EOF, (struct str){0}), QUEUE_OK);
    UNTIL(&f->w, f->a.inputs_seen == 23);
    const char *tail = buf_cstr(&f->a.inputs) + f->a.inputs.len - strlen("input=line eof");
    assert_string_equal(tail, "input=line eof");
    assert_int_equal(finish(f, &f->a, 0, 1, EV_COMPLETED), QUEUE_OK);
    assert_int_equal(client_send(f, job, EV_EOF, (struct str){0}), QUEUE_CONFLICT);
}

static void t07_what_is_not_taken_stays_in_order_and_holds_nothing_else_up(void **state)
{
    struct fixture *f = *state;
    static char big[40000];
    memset(big, 'z', sizeof big);
    struct id job = world_submit_now(&f->w, "t");
    f->a.takes_no_input = true;
    worker_open(&f->a, world_queue(&f->w), "w1", 1);
    assert_int_equal(client_send(f, job, EV_INPUT, STR("one")), QUEUE_OK);
    UNTIL(&f->w, f->a.refusals > 0);
    assert_int_equal(client_send(f, job, EV_INPUT, (struct str){big, sizeof big}), QUEUE_OK);
    assert_int_equal(client_send(f, job, EV_INPUT, (struct str){big, sizeof big}), QUEUE_FULL);
    assert_int_equal(client_send(f, job, EV_EOF, (struct str){0}), QUEUE_OK);
    assert_int_equal(client_send(f, job, EV_SIGNAL, (struct str){0}), QUEUE_OK);
    UNTIL(&f->w, f->a.inputs_seen == 1);
    assert_int_equal(cancel(f, "t", job), QUEUE_OK);
    UNTIL(&f->w, f->a.inputs_seen == 2);
    assert_string_equal(buf_cstr(&f->a.inputs), "signal cancel_requested");
    unsigned refused = f->a.refusals;
    queue_take_inputs(f->a.q, job, 1);
    UNTIL(&f->w, f->a.refusals > refused); /* still no */
    assert_int_equal(client_send(f, job, EV_INPUT, (struct str){big, sizeof big}), QUEUE_FULL);
    f->a.takes_no_input = false;
    queue_take_inputs(f->a.q, job, 1);
    UNTIL(&f->w, f->a.inputs_seen == 5);
    assert_true(str_starts(buf_str(&f->a.inputs), STR("signal cancel_requested input=one input=zzz")));
    assert_string_equal(buf_cstr(&f->a.inputs) + f->a.inputs.len - 5, "z eof");
    struct answer a = {.value = QUEUE_FULL};
    while (a.value == QUEUE_FULL)
        a.value = client_send(f, job, EV_INPUT, (struct str){big, sizeof big});
    assert_int_equal(a.value, QUEUE_OK);
    UNTIL(&f->w, f->a.inputs_seen == 6);
    assert_int_equal(finish(f, &f->a, 0, 1, EV_CANCELLED), QUEUE_OK);
}

static void t07_another_attempt_gets_the_input_that_the_first_did_not_take(void **state)
{
    struct fixture *f = *state;
    struct id job = world_submit_now(&f->w, "t");
    f->a.takes_no_input = true;
    worker_open(&f->a, world_queue(&f->w), "w1", 1);
    for (int i = 0; i < 200; i++) /* more than a page of the log */
        assert_int_equal(client_send(f, job, EV_INPUT, STR("x")), QUEUE_OK);
    UNTIL(&f->w, f->a.refusals > 0);
    assert_int_equal(client_send(f, job, EV_SIGNAL, (struct str){0}), QUEUE_OK);
    UNTIL(&f->w, f->a.inputs_seen == 1);
    struct answer a = {0};
    queue_requeue(f->a.q, job, 1, STR("pod_lost"), false, on_answer, &a);
    UNTIL(&f->w, a.done);
    queue_consume_slots(f->a.q, 1);
    UNTIL(&f->w, f->a.count == 2 && f->a.inputs_seen == 2); /* the signal, which lies behind them */
    f->a.takes_no_input = false;
    queue_take_inputs(f->a.q, job, 2);
    UNTIL(&f->w, f->a.inputs_seen == 202);
    assert_string_equal(buf_cstr(&f->a.inputs) + f->a.inputs.len - 15, "input=x input=x");
    assert_int_equal(finish(f, &f->a, 1, 1, EV_COMPLETED), QUEUE_OK);
}

static void t08_a_handed_back_job_runs_again_and_dies_of_too_many(void **state)
{
    struct fixture *f = *state;
    struct id job = world_submit_now(&f->w, "t");
    worker_open(&f->a, world_queue(&f->w), "w1", 1);
    for (size_t i = 0; i < 3; i++) {
        struct answer a = {0};
        UNTIL(&f->w, f->a.count == i + 1);
        assert_int_equal(f->a.jobs[i].attempt, i + 1);
        queue_requeue(f->a.q, job, (uint32_t)i + 1, STR("could_not_start"), false, on_answer, &a);
        UNTIL(&f->w, a.done);
        assert_int_equal(a.value, QUEUE_OK);
        queue_consume_slots(f->a.q, 1);
    }
    check_log(f, job, "submitted queued claimed retried claimed retried claimed dead");
}

static void t09_a_drain_costs_no_attempt_and_no_retry_means_failed(void **state)
{
    struct fixture *f = *state;
    struct submitted s;
    struct answer a = {0};
    world_submit(f->w.api, "t", &s, &(struct queue_submit){.retry = false});
    UNTIL(&f->w, s.done);
    worker_open(&f->a, world_queue(&f->w), "w1", 1);
    for (size_t i = 0; i < 5; i++) {
        UNTIL(&f->w, f->a.count == i + 1);
        a.done = false;
        queue_requeue(f->a.q, s.job, (uint32_t)i + 1, STR("worker_drained"), i == 4, on_answer, &a);
        UNTIL(&f->w, a.done);
        assert_int_equal(a.value, QUEUE_OK);
        queue_consume_slots(f->a.q, 1);
    }
    check_log(
        f, s.job,
        "submitted queued claimed retried claimed retried claimed retried claimed retried claimed failed");
}

static void t10_a_lapsed_lease_is_taken_over_and_its_owner_fenced(void **state)
{
    struct fixture *f = *state;
    struct id job = world_submit_now(&f->w, "t");
    worker_open(&f->a, world_queue(&f->w), "w1", 1);
    UNTIL(&f->w, f->a.count == 1);
    /* The owner's process is "gone": its queue is closed without a word. */
    world_close_queue(&f->w, f->a.q);
    f->a.q = NULL;
    worker_open(&f->b, world_queue(&f->w), "w2", 1);
    UNTIL(&f->w, f->b.count == 1);
    assert_string_equal(f->b.jobs[0].job.text, job.text);
    assert_int_equal(f->b.jobs[0].attempt, 2);
    assert_int_equal(finish(f, &f->b, 0, 1, EV_COMPLETED), QUEUE_OK);
    check_log(f, job, "submitted queued claimed lease_lost retried claimed output completed");
    struct queue_stats stats;
    queue_stats(f->b.q, &stats);
    assert_int_equal(stats.lease_takeovers, 1);
}

static void t11_heartbeats_keep_a_lease(void **state)
{
    struct fixture *f = *state;
    world_submit_now(&f->w, "t");
    worker_open(&f->a, world_queue(&f->w), "w1", 1);
    UNTIL(&f->w, f->a.count == 1);
    worker_open(&f->b, world_queue(&f->w), "w2", 1);
    world_turn(&f->w, 4000); /* more than two leases: that nothing happens is the claim */
    assert_int_equal(f->b.count, 0);
    assert_int_equal(finish(f, &f->a, 0, 1, EV_COMPLETED), QUEUE_OK);
}

static void t12_idempotency_keys(void **state)
{
    struct fixture *f = *state;
    struct submitted first, again, other, foreign;
    struct queue_submit s = {.retry = true, .idempotency_key = STR("k1"), .request_hash = STR("h1")};
    world_submit(f->w.api, "t", &first, &s);
    world_submit(f->w.api, "t", &again, &s);
    s.request_hash = STR("h2");
    world_submit(f->w.api, "t", &other, &s);
    world_submit(f->w.api, "u", &foreign, &s);
    UNTIL(&f->w, first.done && again.done && other.done && foreign.done);
    assert_int_equal(first.answer, QUEUE_OK);
    assert_int_equal(again.answer, QUEUE_DUP);
    assert_true(again.existing);
    assert_string_equal(first.job.text, again.job.text);
    assert_string_equal(first.session.text, again.session.text);
    assert_string_equal(first.event_id, again.event_id);
    assert_int_equal(other.answer, QUEUE_CONFLICT);
    assert_int_equal(foreign.answer, QUEUE_OK);
}

static void t13_jobs_of_a_session_run_in_order_one_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct submitted s[4];
    world_submit(f->w.api, "t", &s[0], &(struct queue_submit){.retry = true, .ordered = true});
    UNTIL(&f->w, s[0].done);
    for (int i = 1; i < 4; i++) {
        world_submit(f->w.api, "t", &s[i],
                     &(struct queue_submit){.retry = true, .ordered = true, .session = s[0].session});
        UNTIL(&f->w, s[i].done);
    }
    assert_int_equal(cancel(f, "t", s[2].job), QUEUE_OK); /* one in the middle */
    worker_open(&f->a, world_queue(&f->w), "w1", 4);
    static const int order[] = {0, 1, 3};
    for (size_t i = 0; i < 3; i++) {
        UNTIL(&f->w, f->a.count == i + 1);
        assert_string_equal(f->a.jobs[i].job.text, s[order[i]].job.text);
        assert_int_equal(finish(f, &f->a, i, 1, EV_COMPLETED), QUEUE_OK);
        queue_consume_slots(f->a.q, 4);
    }
}

static void t14_caps_refuse_before_acceptance(void **state)
{
    struct fixture *f = *state;
    f->w.options.max_jobs_per_tenant = cluster ? 8 * 3 : 3;
    struct queue *q = world_queue(&f->w);
    struct submitted s;
    struct id session = {0};
    for (int i = 0; i < 4; i++) { /* one session: one partition */
        world_submit(q, "t", &s, &(struct queue_submit){.retry = true, .session = session});
        UNTIL(&f->w, s.done);
        session = s.session;
        assert_int_equal(s.answer, i < 3 ? QUEUE_OK : QUEUE_FULL);
    }
    world_submit(q, "u", &s, NULL);
    UNTIL(&f->w, s.done);
    assert_int_equal(s.answer, QUEUE_OK);
    world_close_queue(&f->w, q);
}

struct listing {
    bool done;
    enum queue_answer answer;
    size_t count;
    char ids[64][ID_LEN + 1], statuses[64][16], cursor[64];
};

static void on_listing(void *arg, enum queue_answer answer, const struct queue_job *jobs, size_t count,
                       const char *next)
{
    struct listing *l = arg;
    l->done = true;
    l->answer = answer;
    l->count = count;
    for (size_t i = 0; i < count; i++) {
        memcpy(l->ids[i], jobs[i].job.text, ID_LEN + 1);
        snprintf(l->statuses[i], sizeof l->statuses[i], STR_FMT, STR_ARG(jobs[i].status));
    }
    snprintf(l->cursor, sizeof l->cursor, "%s", next);
}

static void t15_list_and_get(void **state)
{
    struct fixture *f = *state;
    struct id jobs[10];
    for (int i = 0; i < 10; i++)
        jobs[i] = world_submit_now(&f->w, "t");
    world_submit_now(&f->w, "other");
    assert_int_equal(cancel(f, "t", jobs[3]), QUEUE_OK);
    static char seen[16][ID_LEN + 1];
    size_t count = 0;
    struct listing l = {0};
    do {
        struct str cursor = str_of(l.cursor);
        char copy[64];
        snprintf(copy, sizeof copy, STR_FMT, STR_ARG(cursor));
        l.done = false;
        queue_list(f->w.api, STR("t"), (struct str){0}, 3, str_of(copy), on_listing, &l);
        UNTIL(&f->w, l.done);
        assert_int_equal(l.answer, QUEUE_OK);
        for (size_t i = 0; i < l.count; i++)
            memcpy(seen[count++], l.ids[i], ID_LEN + 1);
    } while (l.cursor[0]);
    assert_int_equal(count, 10);
    for (size_t i = 0; i < 10; i++) {
        bool found = false;
        for (size_t k = 0; k < 10; k++)
            found = found || strcmp(jobs[i].text, seen[k]) == 0;
        assert_true(found);
    }
    l.done = false;
    queue_list(f->w.api, STR("t"), STR("cancelled"), 10, (struct str){0}, on_listing, &l);
    UNTIL(&f->w, l.done);
    assert_int_equal(l.count, 1);
    assert_string_equal(l.ids[0], jobs[3].text);
    l.done = false;
    queue_list(f->w.api, STR("t"), (struct str){0}, 10, STR("nonsense"), on_listing, &l);
    UNTIL(&f->w, l.done);
    assert_int_equal(l.answer, QUEUE_CONFLICT);

    struct found g = {0};
    queue_get(f->w.api, STR("t"), jobs[9], on_found, &g);
    UNTIL(&f->w, g.done);
    assert_int_equal(g.answer, QUEUE_OK);
    assert_string_equal(g.status, "queued");
    assert_true(g.position >= 1 && g.position <= 10);
    assert_true(cluster ||
                g.position == 10); /* one in the lane, one cancelled; the other tenant's goes first */
    g = (struct found){0};
    queue_get(f->w.api, STR("foreign"), jobs[9], on_found, &g);
    UNTIL(&f->w, g.done);
    assert_int_equal(g.answer, QUEUE_NOT_FOUND);
}

static void t16_due_jobs_are_deleted_with_all_that_is_theirs(void **state)
{
    struct fixture *f = *state;
    f->w.options.sync_result_ttl_ms = 1;
    struct queue *q = world_queue(&f->w);
    struct submitted s;
    world_submit(q, "t", &s,
                 &(struct queue_submit){.sync = true, .idempotency_key = STR("k"), .request_hash = STR("h")});
    UNTIL(&f->w, s.done);
    f->a.instant = true;
    worker_open(&f->a, world_queue(&f->w), "w1", 1);
    struct found g = {.answer = QUEUE_OK};
    while (g.answer == QUEUE_OK) {
        g.done = false;
        queue_get(q, STR("t"), s.job, on_found, &g);
        UNTIL(&f->w, g.done);
    }
    assert_int_equal(g.answer, QUEUE_NOT_FOUND);
    world_close_queue(&f->w, q);
    char reply[256], command[128];
    for (unsigned p = 0; p < queue_partitions(f->w.api); p++) {
        snprintf(command, sizeof command, "HGET millrace:{p%02u}:count bytes", p);
        redis_server_ask(&f->w.redis, command, reply, sizeof reply);
        assert_true(strcmp(reply, "0") == 0 || strcmp(reply, "$-1") == 0);
    }
    redis_server_ask(&f->w.redis,
                     "EVAL \"return #redis.call('KEYS', '*j:*') + #redis.call('KEYS', '*}:i:*') + "
                     "#redis.call('KEYS', '*}:t:*')\" 0",
                     reply, sizeof reply);
    assert_string_equal(reply, ":0");
}

static void t16b_much_that_is_due_goes_in_one_round(void **state)
{
    struct fixture *f = *state;
    enum { JOBS = 600 };
    static struct submitted s[JOBS];
    char reply[64];
    f->w.options.sync_result_ttl_ms = 1;
    struct queue *q = world_queue(&f->w);
    for (int i = 0; i < JOBS; i++)
        world_submit(q, "t", &s[i], &(struct queue_submit){.sync = true, .retry = true});
    for (int i = 0; i < JOBS; i++)
        UNTIL(&f->w, s[i].done);
    f->a.instant = true;
    worker_open(&f->a, world_queue(&f->w), "w1", 4);
    UNTIL(&f->w, f->a.finished == JOBS);
    world_close_queue(&f->w, q);
    do {
        world_step(&f->w);
        redis_server_ask(&f->w.redis, "EVAL \"return #redis.call('KEYS', '*j:*')\" 0", reply, sizeof reply);
    } while (strcmp(reply, ":0") != 0);
}

static void t17_scripts_come_back_after_a_flush(void **state)
{
    struct fixture *f = *state;
    char reply[64];
    f->a.instant = true;
    worker_open(&f->a, world_queue(&f->w), "w1", 2);
    for (unsigned i = 1; i <= 20; i++) {
        redis_server_ask(&f->w.redis, "SCRIPT FLUSH", reply, sizeof reply);
        world_submit_now(&f->w, "t");
        UNTIL(&f->w, f->a.finished == i);
    }
}

static void t18_killed_connections_lose_and_double_nothing(void **state)
{
    struct fixture *f = *state;
    char reply[64];
    enum { JOBS = 60 };
    static struct submitted s[JOBS];
    f->a.instant = true;
    worker_open(&f->a, world_queue(&f->w), "w1", 4);
    for (unsigned i = 0; i < JOBS; i++) {
        world_submit(f->w.api, "t", &s[i], NULL);
        if (i % 6 == 0)
            redis_server_ask(&f->w.redis, "CLIENT KILL TYPE normal SKIPME yes", reply, sizeof reply);
        world_step(&f->w);
    }
    unsigned accepted = 0;
    for (unsigned i = 0; i < JOBS; i++) {
        UNTIL(&f->w, s[i].done);
        accepted += s[i].answer == QUEUE_OK;
    }
    assert_true(accepted > 0);
    for (unsigned i = 0; i < JOBS; i++) {
        struct found g = {0};
        if (s[i].answer != QUEUE_OK)
            continue;
        while (strcmp(g.status, "completed") != 0) {
            g.done = false;
            queue_get(f->w.api, STR("t"), s[i].job, on_found, &g);
            UNTIL(&f->w, g.done);
        }
        assert_int_equal(g.last_seq, 7 + (g.attempt - 1) * 3); /* nothing twice */
    }
}

static void t19_a_killed_store_comes_back_with_everything(void **state)
{
    struct fixture *f = *state;
    struct id jobs[5];
    for (int i = 0; i < 5; i++)
        jobs[i] = world_submit_now(&f->w, "t");
    worker_open(&f->a, world_queue(&f->w), "w1", 1);
    UNTIL(&f->w, f->a.count == 1);
    redis_server_kill(&f->w.redis);
    UNTIL(&f->w, !queue_ready(f->w.api));
    struct submitted s;
    world_submit(f->w.api, "t", &s, NULL);
    UNTIL(&f->w, s.done); /* while the store is away */
    assert_int_equal(s.answer, QUEUE_UNAVAILABLE);
    struct answer a = {0};
    struct event_draft d = {.type = EV_COMPLETED, .data = STR("{}")};
    f->a.instant = true;                                                   /* finish brings the next job */
    queue_finish(f->a.q, f->a.jobs[0].job, 1, 1, &d, 1, 1, on_answer, &a); /* kept until the store is back */
    redis_server_again(&f->w.redis);
    UNTIL(&f->w, a.done);
    assert_int_equal(a.value, QUEUE_OK);
    queue_consume_slots(f->a.q, 4);
    UNTIL(&f->w, f->a.finished == 4);
    UNTIL(&f->w, queue_ready(f->w.api));
    for (int i = 0; i < 5; i++) {
        struct found g = {0};
        queue_get(f->w.api, STR("t"), jobs[i], on_found, &g);
        UNTIL(&f->w, g.done);
        assert_string_equal(g.status, "completed");
    }
}

static void t20_an_empty_store_in_the_place_of_ours_is_refused(void **state)
{
    struct fixture *f = *state;
    char reply[64];
    redis_server_ask(&f->w.redis, "FLUSHALL", reply, sizeof reply);
    redis_server_ask(&f->w.redis, "CLIENT KILL TYPE normal SKIPME yes", reply, sizeof reply);
    UNTIL(&f->w, !queue_ready(f->w.api));
    world_turn(&f->w, 1500); /* it stays so: that is the claim */
    assert_false(queue_ready(f->w.api));
    redis_server_ask(&f->w.redis, "DBSIZE", reply, sizeof reply);
    assert_string_equal(reply, ":0");
}

static void t21_wrong_types_are_refused_before_the_first_write(void **state)
{
    struct fixture *f = *state;
    char reply[4096], command[256];
    struct submitted s;
    static const char *const keys[] = {"count", "c:local:fair", "c:local:b0", "c:local:ready", "t:t"};
    for (unsigned p = 0; p < queue_partitions(f->w.api); p++) {
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            snprintf(command, sizeof command, "SETRANGE millrace:{p%02u}:%s 0 x", p, keys[i]);
            redis_server_ask(&f->w.redis, command, reply, sizeof reply);
        }
    }
    char before[64], after[64];
    redis_server_ask(&f->w.redis, "DBSIZE", before, sizeof before);
    world_submit(f->w.api, "t", &s, NULL);
    UNTIL(&f->w, s.done);
    assert_int_equal(s.answer, QUEUE_UNAVAILABLE);
    redis_server_ask(&f->w.redis, "DBSIZE", after, sizeof after);
    assert_string_equal(before, after);
}

static void t22_a_stopped_store_ends_no_lease(void **state)
{
    struct fixture *f = *state;
    world_submit_now(&f->w, "t");
    worker_open(&f->a, world_queue(&f->w), "w1", 1);
    UNTIL(&f->w, f->a.count == 1);
    worker_open(&f->b, world_queue(&f->w), "w2", 1);
    world_turn(&f->w, 800);
    redis_server_signal(&f->w.redis, SIGSTOP);
    world_turn(&f->w, 2500); /* longer than a lease */
    redis_server_signal(&f->w.redis, SIGCONT);
    UNTIL(&f->w, queue_ready(f->w.api));
    assert_int_equal(finish(f, &f->a, 0, 1, EV_COMPLETED), QUEUE_OK);
    assert_int_equal(f->b.count, 0);
}

static void t23_a_drain_hands_everything_back(void **state)
{
    struct fixture *f = *state;
    f->w.options.lease_ms = 600 * 1000; /* none lapses here */
    worker_open(&f->a, world_queue(&f->w), "w1", 2);
    UNTIL(&f->w, queue_ready(f->a.q));
    world_turn(&f->w, 100);
    queue_consume_stop(f->a.q);
    struct id job = world_submit_now(&f->w, "t");
    worker_open(&f->b, world_queue(&f->w), "w2", 1);
    UNTIL(&f->w, f->b.count == 1);
    assert_string_equal(f->b.jobs[0].job.text, job.text);
    assert_int_equal(f->a.count, 0);
}

/* Each accepted job ends exactly once, its log without gaps, however often the store dies. */
static void t23b_a_store_that_dies_again_and_again_loses_nothing(void **state)
{
    struct fixture *f = *state;
    enum { KILLS = 5, JOBS = 40 };
    static struct submitted s[KILLS * JOBS];
    f->a.instant = f->b.instant = true;
    worker_open(&f->a, world_queue(&f->w), "w1", 4);
    worker_open(&f->b, world_queue(&f->w), "w2", 4);
    for (unsigned k = 0; k < KILLS; k++) {
        UNTIL(&f->w, queue_ready(f->w.api));
        for (unsigned i = 0; i < JOBS; i++) {
            world_submit(f->w.api, "t", &s[k * JOBS + i], NULL);
            if (i == JOBS / 2 + k) {
                redis_server_kill(&f->w.redis);
                redis_server_again(&f->w.redis);
            }
            world_step(&f->w);
        }
    }
    unsigned accepted = 0;
    for (unsigned i = 0; i < KILLS * JOBS; i++) {
        UNTIL(&f->w, s[i].done);
        if (s[i].answer != QUEUE_OK)
            continue;
        struct reading r;
        accepted++;
        reading_open(&r, f->w.api, "t", s[i].job, "");
        UNTIL(&f->w, r.over);
        assert_int_equal(r.end, READER_END);
        assert_true(r.in_order);
        const char *end = strstr(buf_cstr(&r.types), "completed");
        assert_non_null(end);
        assert_string_equal(end, "completed"); /* and nothing behind it */
        reading_close(&r);
    }
    assert_true(accepted > KILLS * JOBS / 4);
}

static void t23c_a_store_that_became_a_replica_is_left_until_it_is_none(void **state)
{
    struct fixture *f = *state;
    char reply[64];
    struct submitted s;
    if (cluster)
        return; /* REPLICAOF is another command there */
    redis_server_ask(&f->w.redis, "REPLICAOF 127.0.0.1 1", reply, sizeof reply);
    world_submit(f->w.api, "t", &s, NULL);
    UNTIL(&f->w, s.done);
    assert_int_equal(s.answer, QUEUE_UNAVAILABLE);
    UNTIL(&f->w, !queue_ready(f->w.api));
    redis_server_ask(&f->w.redis, "REPLICAOF NO ONE", reply, sizeof reply);
    UNTIL(&f->w, queue_ready(f->w.api));
    world_submit_now(&f->w, "t");
}

static void t23d_without_memory_nothing_is_accepted_and_all_can_end(void **state)
{
    struct fixture *f = *state;
    char reply[64];
    struct submitted s;
    struct id waiting = world_submit_now(&f->w, "t");
    worker_open(&f->a, world_queue(&f->w), "w1", 1);
    UNTIL(&f->w, f->a.count == 1);
    redis_server_ask(&f->w.redis, "CONFIG SET maxmemory 500000", reply, sizeof reply);
    world_submit(f->w.api, "t", &s, NULL);
    UNTIL(&f->w, s.done);
    assert_int_equal(s.answer, QUEUE_FULL);
    assert_int_equal(append(f, &f->a, 0, 1, "out"), QUEUE_OK);
    assert_int_equal(finish(f, &f->a, 0, 2, EV_COMPLETED), QUEUE_OK);
    check_log(f, waiting, "submitted queued claimed output output completed");
}

static void t24_tls_checks_the_server(void **state)
{
    struct fixture *f = *state;
    struct redis_server tls;
    char url[64], ca[128];
    redis_server_start_tls(&tls);
    snprintf(url, sizeof url, "rediss://127.0.0.1:%u", tls.tls_port);
    snprintf(ca, sizeof ca, "%s/cert.pem", tls.dir);
    f->w.options.redis_url = url;
    f->w.options.ca_file = ca;
    struct queue *good = world_queue(&f->w);
    struct submitted s;
    world_submit(good, "t", &s, NULL);
    UNTIL(&f->w, s.done);
    assert_int_equal(s.answer, QUEUE_OK);
    world_close_queue(&f->w, good);

    /* Another name than the certificate's, and an authority that the system does not know. */
    char other[64];
    snprintf(other, sizeof other, "rediss://127.0.0.2:%u", tls.tls_port);
    const struct {
        const char *url, *ca;
    } bad[] = {{other, ca}, {url, NULL}};
    for (size_t i = 0; i < 2; i++) {
        struct queue *q;
        f->w.options.redis_url = bad[i].url;
        f->w.options.ca_file = bad[i].ca;
        assert_int_equal(queue_open(&f->w.loop, &f->w.options, &q, NULL), ERR_OK);
        f->w.open_queues++;
        struct queue_stats stats = {0};
        while (stats.reconnects < 2) { /* it tried, and was not satisfied */
            world_step(&f->w);
            queue_stats(q, &stats);
        }
        assert_false(queue_ready(q));
        world_close_queue(&f->w, q);
    }
    redis_server_stop(&tls);
}

/* ---- the order of the queue ---- */

static struct submitted submit_in(struct fixture *f, const char *tenant, const struct queue_submit *more)
{
    struct submitted s;
    world_submit(f->w.api, tenant, &s, more);
    UNTIL(&f->w, s.done);
    assert_int_equal(s.answer, QUEUE_OK);
    return s;
}

/* Without a worker the lane holds one job; the others wait in the backlog. One session: one partition. */
static void t25_the_priorities_are_mixed_8_3_1(void **state)
{
    static const char *const requests[QUEUE_PRIORITIES] = {"interactive", "normal", "batch"};
    static const unsigned counts[QUEUE_PRIORITIES] = {32, 12, 4};
    enum { SHOWN = 36 };
    struct fixture *f = *state;
    struct id session = submit_in(f, "t", &(struct queue_submit){.retry = true}).session;
    for (int q = QUEUE_PRIORITIES - 1; q >= 0; q--)
        for (unsigned i = 0; i < counts[q]; i++)
            submit_in(f, "t",
                      &(struct queue_submit){.retry = true,
                                             .session = session,
                                             .priority = (enum queue_priority)q,
                                             .request = str_of(requests[q])});
    worker_open(&f->a, world_queue(&f->w), "w1", 60);
    UNTIL(&f->w, f->a.count == 1 + 32 + 12 + 4);
    char order[SHOWN + 1] = "";
    for (size_t i = 0; i < SHOWN; i++)
        order[i] = f->a.jobs[1 + i].request[0];
    assert_string_equal(order, "iniibiniiini"
                               "iniibiniiini"
                               "iniibiniiini");
}

/* By the estimates alone it would be the other way round: dear, fair, cheap. */
static void t26_a_tenant_pays_what_its_jobs_cost_and_not_the_estimate(void **state)
{
    static const struct {
        const char *tenant;
        unsigned estimate, cost;
    } tenants[] = {{"dear", 50, 1000}, {"fair", 100, 100}, {"cheap", 300, 1}};
    enum { COUNT = sizeof tenants / sizeof tenants[0] };
    struct fixture *f = *state;
    struct queue_submit more = {.retry = true};
    struct id again[COUNT];
    char capacity[64];
    worker_open(&f->a, world_queue(&f->w), "w1", COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        more.cost_ms = tenants[i].estimate;
        more.session = submit_in(f, tenants[i].tenant, &more).session;
        UNTIL(&f->w, f->a.count == i + 1);
        assert_int_equal(finish_costing(f, &f->a, i, 1, EV_COMPLETED, tenants[i].cost), QUEUE_OK);
        queue_consume_slots(f->a.q, COUNT);
    }
    queue_consume_stop(f->a.q);
    snprintf(capacity, sizeof capacity, "HGET millrace:{p%02u}:c:local:fair cap",
             id_partition(str_of(more.session.text), queue_partitions(f->w.api)));
    UNTIL(&f->w, store_says(f, capacity, "0"));
    more.cost_ms = 1;
    submit_in(f, "first", &more); /* all that the lane holds without a worker */
    more.cost_ms = 100;
    for (size_t i = 0; i < COUNT; i++)
        again[i] = submit_in(f, tenants[i].tenant, &more).job;
    worker_open(&f->b, world_queue(&f->w), "w2", 16);
    UNTIL(&f->w, f->b.count == 1 + COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_string_equal(f->b.jobs[1 + i].job.text, again[COUNT - 1 - i].text);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(t01_a_job_goes_through),
        T(t02_a_synchronous_run_gets_its_events_by_message),
        T(t02b_a_waiting_worker_is_handed_its_jobs),
        T(t02c_an_end_brings_the_next_job),
        T(t02d_what_was_handed_and_not_heard_is_not_lost),
        T(t03_a_live_reader_sees_each_event_once_and_in_order),
        T(t04_a_paused_reader_misses_nothing),
        T(t04b_a_lost_wake_up_costs_no_event),
        T(t05_appends_are_fenced_and_repeats_are_dup),
        T(t06_cancel_of_queued_and_running_jobs),
        T(t07_inputs_arrive_once_in_order_and_their_box_is_bounded),
        T(t07_what_is_not_taken_stays_in_order_and_holds_nothing_else_up),
        T(t07_another_attempt_gets_the_input_that_the_first_did_not_take),
        T(t08_a_handed_back_job_runs_again_and_dies_of_too_many),
        T(t09_a_drain_costs_no_attempt_and_no_retry_means_failed),
        T(t10_a_lapsed_lease_is_taken_over_and_its_owner_fenced),
        T(t11_heartbeats_keep_a_lease),
        T(t12_idempotency_keys),
        T(t13_jobs_of_a_session_run_in_order_one_at_a_time),
        T(t14_caps_refuse_before_acceptance),
        T(t15_list_and_get),
        T(t16_due_jobs_are_deleted_with_all_that_is_theirs),
        T(t16b_much_that_is_due_goes_in_one_round),
        T(t17_scripts_come_back_after_a_flush),
        T(t18_killed_connections_lose_and_double_nothing),
        T(t19_a_killed_store_comes_back_with_everything),
        T(t20_an_empty_store_in_the_place_of_ours_is_refused),
        T(t21_wrong_types_are_refused_before_the_first_write),
        T(t22_a_stopped_store_ends_no_lease),
        T(t23_a_drain_hands_everything_back),
        T(t23b_a_store_that_dies_again_and_again_loses_nothing),
        T(t23c_a_store_that_became_a_replica_is_left_until_it_is_none),
        T(t23d_without_memory_nothing_is_accepted_and_all_can_end),
        T(t24_tls_checks_the_server),
        T(t25_the_priorities_are_mixed_8_3_1),
        T(t26_a_tenant_pays_what_its_jobs_cost_and_not_the_estimate),
    };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "cluster") == 0)
            cluster = true;
        else
            cmocka_set_test_filter(argv[i]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
