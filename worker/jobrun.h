/* SPDX-License-Identifier: Apache-2.0 */
/* One claimed job from its claim to its terminal event: takes a pod, hands the program over, appends what it
   writes, passes inputs on, finishes or hands back. Every job is in exactly one state of the table below; the
   functions that the queue and the pod call only move it along.

     new -> waiting for a pod -> [setting limits] -> [recording `started`] -> starting -> running -> ending
         -> finishing -> over            any of them: -> handing back -> over, or (fenced) -> over             */
#ifndef MILLRACE_WORKER_JOBRUN_H
#define MILLRACE_WORKER_JOBRUN_H

#include "queue/queue.h"
#include "worker/pool.h"

#define JOBRUN_STATES(X)                                                                                     \
    X(NEW, "new") X(WAITING, "waiting") X(LIMITING, "limiting") X(RECORDING, "recording")                    \
    X(STARTING, "starting") X(RUNNING, "running") X(ENDING, "ending") X(FINISHING, "finishing")              \
    X(RETURNING, "returning") X(OVER, "over")

enum jobrun_state {
#define X(symbol, name) JR_##symbol,
    JOBRUN_STATES(X)
#undef X
    JR_COUNT,
};

/* What the job needs of the queue; a test puts its own functions here. */
struct jobrun_queue {
    void (*append)(void *arg, struct id job, uint32_t attempt, uint64_t n, const struct event_draft *drafts,
                   size_t count, queue_done_cb cb, void *cb_arg);
    void (*finish)(void *arg, struct id job, uint32_t attempt, uint64_t n, const struct event_draft *drafts,
                   size_t count, uint32_t cost_ms, queue_done_cb cb, void *cb_arg);
    void (*requeue)(void *arg, struct id job, uint32_t attempt, struct str reason, bool started, queue_done_cb cb,
                    void *cb_arg);
    void *arg;
};

enum { HISTOGRAM_BUCKETS = 16 };
extern const double histogram_bounds[HISTOGRAM_BUCKETS]; /* seconds; +Inf is count */
struct histogram {
    uint64_t bucket[HISTOGRAM_BUCKETS]; /* not cumulated */
    uint64_t count;
    double sum;
};
void histogram_add(struct histogram *h, double seconds);

enum { JOBRUN_LANGS_MAX = 32 };
struct jobrun_stats {
    uint64_t ended[EV_COUNT];                         /* by the terminal event */
    uint64_t by_lang[JOBRUN_LANGS_MAX][EV_COUNT];     /* rows of the language table */
    uint64_t fenced, returned, replaced, append_retries;
    uint64_t paused; /* times that a program had to wait for the log */
    struct histogram duration, append_latency, pod_wait;
};

struct jobruns;
struct jobruns_options {
    uv_loop_t *loop;
    struct jobrun_queue queue;
    struct pools *pools;
    struct pod_limits pod_limits; /* what pods are made with */
    void (*changed)(void *arg);   /* a job is over: slots may be free */
    void *arg;
};

MUST_CHECK enum err jobruns_open(const struct jobruns_options *options, struct jobruns **ret_runs);
void jobruns_free(struct jobruns *runs); /* when jobruns_count() is 0 */

/* The consumer's callbacks. */
void jobruns_start(struct jobruns *runs, const struct claimed_job *job);
void jobruns_input(struct jobruns *runs, struct id job, uint32_t attempt, const struct event *event);
void jobruns_fenced(struct jobruns *runs, struct id job, uint32_t attempt);

/* Ends pods and hands every job back that has no end yet. */
void jobruns_hand_back(struct jobruns *runs, struct str reason);
/* Deadlines and retries, in one pass. Call it ten times a second or more. */
void jobruns_tick(struct jobruns *runs);

size_t jobruns_count(const struct jobruns *runs);
const struct jobrun_stats *jobruns_stats(const struct jobruns *runs);

#endif
