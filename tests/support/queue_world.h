/* SPDX-License-Identifier: Apache-2.0 */
/* A redis-server, one queue as an api process has it, and workers; all on one loop that the test turns until a
   condition holds. */
#ifndef MILLRACE_TESTS_QUEUE_WORLD_H
#define MILLRACE_TESTS_QUEUE_WORLD_H

#include "base/buf.h"
#include "queue/queue.h"
#include "support/redis_server.h"

enum { WORLD_JOBS = 4096 };

struct world {
    uv_loop_t loop;
    struct redis_server redis;
    struct queue_options options;
    struct queue *api;
    unsigned open_queues;
};

/* Options may be changed between world_init and world_open. */
void world_init(struct world *w, const char *fsync, bool cluster);
void world_open(struct world *w);
struct queue *world_queue(struct world *w); /* one more, ready */
void world_close_queue(struct world *w, struct queue *q);
void world_close(struct world *w);

/* Turns the loop until the condition holds; aborts the test after 20 s. */
void world_until(struct world *w, bool (*done)(void *arg), void *arg, const char *what);
void world_turn(struct world *w,
                int ms); /* for "nothing happens": bounded, and only where that is the claim */
#define UNTIL(w, condition)                                                                                  \
    do {                                                                                                     \
        int64_t end_ = clock_mono_ns() + 20ll * 1000000000;                                                  \
        while (!(condition)) {                                                                               \
            if (clock_mono_ns() > end_)                                                                      \
                fail_msg("waited in vain for: %s", #condition);                                              \
            world_step(w);                                                                                   \
        }                                                                                                    \
    } while (0)
void world_step(struct world *w); /* one turn, at most 50 ms */

/* What a submit answered. */
struct submitted {
    bool done;
    enum queue_answer answer;
    struct id job, session;
    char event_id[EVENT_ID_MAX];
    uint64_t position;
    bool existing;
};
void world_submit(struct queue *q, const char *tenant, struct submitted *ret,
                  const struct queue_submit *more);
struct id world_submit_now(struct world *w, const char *tenant);

struct answer {
    bool done;
    enum queue_answer value;
};
void on_answer(void *arg, enum queue_answer answer);

/* What a reader was told: names of events, joined by blanks. */
struct reading {
    struct log_reader *reader;
    struct buf types, output;
    uint64_t last_seq;
    bool caught_up, over, in_order;
    enum reader_state end;
    char last_id[EVENT_ID_MAX];
};
void reading_open(struct reading *r, struct queue *q, const char *tenant, struct id job, const char *after);
void reading_close(struct reading *r);
void on_reading(void *arg, enum reader_state state, const struct event *event);

/* A worker that keeps what it was given. */
struct worker {
    struct queue *q;
    size_t count;
    struct {
        struct id job;
        uint32_t attempt;
        bool fenced;
        char request[64];
    } jobs[WORLD_JOBS];
    struct buf inputs;
    unsigned inputs_seen;
    bool takes_no_input; /* nor its end; how often it refused one */
    unsigned refusals;
    bool instant; /* finishes each job at once */
    unsigned finished;
};
void worker_open(struct worker *k, struct queue *q, const char *name, unsigned slots);

#endif
