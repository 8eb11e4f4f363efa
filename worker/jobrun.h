/* SPDX-License-Identifier: Apache-2.0 */
/* One claimed job from its claim to its terminal event: takes a pod, hands the program over, appends what it
   writes, passes inputs on, finishes or hands back. Every job is in exactly one state of the table below; the
   functions that the queue and the pod call only move it along.

     new -> [fetching the session's state] -> [looking up its input files] -> waiting for a pod
         -> [setting limits] -> [loading input files]
         -> [recording `started`] -> starting -> running -> ending -> [collecting output files] -> finishing -> over
     any of them: -> handing back -> over, or (fenced) -> over */
#ifndef MILLRACE_WORKER_JOBRUN_H
#define MILLRACE_WORKER_JOBRUN_H

#include "io/state_blob.h"
#include "queue/queue.h"
#include "queue/state.h"
#include "schema/metrics.h"
#include "schema/reasons.h"
#include "worker/compile_cache.h"
#include "worker/pool.h"
#include "worker/run_files.h"

#define JOBRUN_STATES(X)                                                                                     \
    X(NEW, "new")                                                                                            \
    X(FETCHING, "fetching")                                                                                  \
    X(LOOKING, "looking")                                                                                    \
    X(WAITING, "waiting")                                                                                    \
    X(LIMITING, "limiting")                                                                                  \
    X(LOADING, "loading")                                                                                    \
    X(RECORDING, "recording")                                                                                \
    X(STARTING, "starting")                                                                                  \
    X(RUNNING, "running")                                                                                    \
    X(PARKED, "parked") /* without a pod, until the results of its tool calls are there */                   \
    X(ENDING, "ending")                                                                                      \
    X(COLLECTING, "collecting")                                                                              \
    X(FINISHING, "finishing")                                                                                \
    X(RETURNING, "returning")                                                                                \
    X(OVER, "over")

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
    /* With a new version of the session's state. */
    void (*finish_state)(void *arg, struct id job, uint32_t attempt, uint64_t n,
                         const struct event_draft *drafts, size_t count, uint32_t cost_ms,
                         const struct state_change *state, queue_done_cb cb, void *cb_arg);
    void (*state_read)(void *arg, struct session_owner owner, struct id session, state_cb cb, void *cb_arg);
    void (*requeue)(void *arg, struct id job, uint32_t attempt, struct str reason, bool started,
                    queue_done_cb cb, void *cb_arg);
    void (*inputs)(void *arg, struct id job, uint32_t attempt); /* queue_take_inputs() */
    void *arg;
};

struct jobruns;
struct jobruns_state {
    struct object_store *store;    /* for large states; NULL: all lie in the store of the log */
    const struct state_keys *keys; /* filled before the first job comes */
    int64_t max_bytes, time_ms, ttl_ms;
    unsigned keep;
    bool on_error;
};

/* A job that is handed back counts no attempt, and its log grows by two events each time. */
enum { JOBRUN_ATTEMPTS_MAX = 1000 };

struct jobruns_options {
    uv_loop_t *loop;
    struct jobruns_state state;
    struct jobrun_queue queue;
    struct pools *pools;
    struct metrics *metrics;
    struct pod_limits pod_limits; /* what pods are made with */
    bool pods_by_language;        /* the kinds are those of pool_plan_images() */
    const char *const
        *missing; /* by language: what it cannot run without, or NULL; NULL: nothing is missing */
    const struct file_services *files; /* NULL: runs have no files */
    struct compile_cache *compiled;    /* NULL: nothing is kept */
    unsigned tools_paused_max;         /* programs of one tenant that wait for tool results in pods */
    int64_t tools_pause_ms;            /* longest wait of a program for the results of its tool calls */
    void (*changed)(void *arg);        /* a job is over: slots may be free */
    /* A kind of which no pod can be had here: whether to hand the job back, for another worker has some; may be NULL.
       Not asked from attempt JOBRUN_ATTEMPTS_MAX on. */
    bool (*elsewhere)(void *arg, const char *kind, uint32_t attempt);
    const char *(*gaps)(void *arg); /* a JSON array for every end (outcome.h), or NULL; may be NULL */
    void *arg;
};

MUST_CHECK enum err jobruns_open(const struct jobruns_options *options, struct jobruns **ret_runs);
void jobruns_free(struct jobruns *runs); /* when jobruns_count() is 0 */

/* The consumer's callbacks. */
void jobruns_start(struct jobruns *runs, const struct claimed_job *job);
bool jobruns_input(struct jobruns *runs, struct id job, uint32_t attempt, const struct event *event);
void jobruns_fenced(struct jobruns *runs, struct id job, uint32_t attempt);

/* Ends pods and hands every job back that has no end yet. */
void jobruns_hand_back(struct jobruns *runs, enum reason reason);
/* Deadlines and retries, in one pass. Call it ten times a second or more. */
void jobruns_tick(struct jobruns *runs);

size_t jobruns_count(const struct jobruns *runs);
/* Of these, programs that wait for a client's tools, and use nothing but memory. */
size_t jobruns_waiting(const struct jobruns *runs);

#endif
