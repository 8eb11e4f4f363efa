/* SPDX-License-Identifier: Apache-2.0 */
/* Fairness of the queue alone: 8 slots, jobs of 50 ms, one tenant that always has 100 waiting, another that has one at
   a time; the time from the small one's submit to its start, alone and beside the large one.
     queue_fair [SAMPLES [MAX_RATIO]]    ends with 1 when p99 beside is more than MAX_RATIO (default 2) times p99 alone
   The floor of 2 ms for "alone" keeps a machine's jitter out of the ratio. With MILLRACE_TEST_QUEUE_OFF=fairness in a test build
   the backlog is first come, first served, and this must fail. */
#include "support/queue_world.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 8, SLEEP_MS = 50, WAITING = 100 };

struct run {
    uv_timer_t timer;
    struct fair *f;
    struct id job;
    uint32_t attempt;
    bool small;
};

struct fair {
    struct world w;
    struct queue *worker;
    unsigned samples, taken, running;
    bool loaded;
    int64_t began_ns, *waits_ns;
    unsigned waiting; /* of the large tenant */
    unsigned large_done;
};

static void submit_small(struct fair *f);
static void fill_large(struct fair *f);

static void on_run_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_finished(void *arg, enum queue_answer answer)
{
    struct run *r = arg;
    struct fair *f = r->f;
    (void)answer; /* a run that could not end shows in the waits */
    f->running--;
    queue_consume_slots(f->worker, SLOTS - f->running);
    if (r->small && f->taken < f->samples)
        submit_small(f);
    f->large_done += !r->small;
    uv_close((uv_handle_t *)&r->timer, on_run_closed);
}

static void on_slept(uv_timer_t *timer)
{
    struct run *r = timer->data;
    struct event_draft drafts[] = {{.type = EV_STARTED, .data = STR("{}")},
                                   {.type = EV_COMPLETED, .data = STR("{}")}};
    queue_finish(r->f->worker, r->job, r->attempt, 1, drafts, 2, SLEEP_MS, on_finished, r);
}

static void on_job(void *arg, const struct claimed_job *job)
{
    struct fair *f = arg;
    struct run *r = calloc(1, sizeof *r);
    *r = (struct run){
        .f = f, .job = job->job, .attempt = job->attempt, .small = str_eq(job->tenant, STR("small"))};
    f->running++;
    if (r->small)
        f->waits_ns[f->taken++] = clock_mono_ns() - f->began_ns;
    else {
        f->waiting--;
        fill_large(f);
    }
    uv_timer_init(&f->w.loop, &r->timer);
    r->timer.data = r;
    uv_timer_start(&r->timer, on_slept, SLEEP_MS, 0);
}

static void on_submitted(void *arg, enum queue_answer answer, const struct queue_submitted *result)
{
    (void)arg;
    (void)result;
    if (answer != QUEUE_OK) {
        fprintf(stderr, "queue_fair: a submit was answered %d\n", answer);
        abort();
    }
}

static void submit(struct fair *f, const char *tenant)
{
    struct queue_submit s = {.tenant = str_of(tenant),
                             .user = STR("u"),
                             .class_name = STR("local"),
                             .lang = STR("py"),
                             .request = STR("{}"),
                             .sync = true,
                             .retry = true,
                             .cost_ms = SLEEP_MS};
    queue_submit(f->w.api, &s, on_submitted, f);
}

static void submit_small(struct fair *f)
{
    f->began_ns = clock_mono_ns();
    submit(f, "small");
}

static void fill_large(struct fair *f)
{
    for (; f->loaded && f->waiting < WAITING; f->waiting++)
        submit(f, "large");
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* p99 of the waits, ms. */
static double measure(struct fair *f, bool loaded)
{
    f->loaded = loaded;
    f->taken = 0;
    f->large_done = 0;
    int64_t start = clock_mono_ns();
    fill_large(f);
    submit_small(f);
    while (f->taken < f->samples || (!loaded && f->running > 0))
        uv_run(&f->w.loop, UV_RUN_ONCE);
    double seconds = (double)(clock_mono_ns() - start) / 1e9;
    qsort(f->waits_ns, f->samples, sizeof *f->waits_ns, by_value);
    double p50 = (double)f->waits_ns[f->samples / 2] / 1e6,
           p99 = (double)f->waits_ns[f->samples * 99 / 100] / 1e6;
    printf("%s: %u samples, submit to start p50 %.2f ms, p99 %.2f ms; the large tenant ran %.0f jobs/s\n",
           loaded ? "beside" : "alone", f->samples, p50, p99, f->large_done / seconds);
    fflush(stdout);
    return p99;
}

int main(int argc, char **argv)
{
    static const char *const classes[] = {"local"};
    static struct fair f;
    double most = argc > 2 ? strtod(argv[2], NULL) : 2;
    f.samples = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000;
    if (f.samples < 10 || f.samples > 100000)
        return 2;
    f.waits_ns = calloc(f.samples, sizeof *f.waits_ns);
    const char *fsync = getenv("QUEUE_FAIR_FSYNC");
    world_init(&f.w, fsync ? fsync : "always", false);
    world_open(&f.w);
    f.worker = world_queue(&f.w);
    struct consumer_callbacks cb = {.on_job = on_job, .arg = &f};
    queue_consume(f.worker, STR("w"), classes, 1, &cb);
    queue_consume_slots(f.worker, SLOTS);
    double alone = measure(&f, false);
    double beside = measure(&f, true);
    double ratio = beside / (alone < 2 ? 2 : alone);
    printf("ratio %.2f, at most %.2f: %s\n", ratio, most, ratio <= most ? "fair" : "NOT FAIR");
    redis_server_stop(&f.w.redis);
    return ratio <= most ? 0 : 1;
}
