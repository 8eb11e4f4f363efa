/* SPDX-License-Identifier: Apache-2.0 */
/* The archiver program: moves what is due from Redis to the object store, and deletes there what is over. Any number of
   them share the work: what one has taken is due again for the others only when its lease is over, and every step is
   compare-and-set, so that work done twice has no effect. */
#ifndef MILLRACE_ARCHIVER_ARCHIVER_H
#define MILLRACE_ARCHIVER_ARCHIVER_H

#include "base/point.h"
#include "io/http/server.h"
#include "io/loop.h"
#include "io/program.h"
#include "queue/archive.h"
#include "queue/objects.h"
#include "schema/config.h"
#include "schema/metrics.h"

enum {
    ARCHIVER_MOVERS = 4,
    ARCHIVER_PARTITIONS_MAX = 100,
    ARCHIVER_LEASE_MS = 120000,      /* of what was taken; given back at once when it cannot be moved */
    ARCHIVER_WORK_MS = 90000,        /* after which nothing of it is committed any more */
    ARCHIVER_PACK_SPARE_MS = 3600000 /* how much longer a pack stays than the logs in it */
};

struct mover;
struct state_mover;

enum { ARCHIVER_MOVED = METRIC_MOVED_STATE + 1 };

/* When the partition is looked at again, by uv_now. */
struct partition {
    uint64_t logs_at, packs_at, states_at, sessions_at;
    int64_t due_ms[ARCHIVER_MOVED]; /* of the oldest that waits, by the store's clock; 0: nothing does */
    unsigned failures;              /* in a row: the pause grows */
    int64_t states_left_ms; /* until then states wait that could not be moved, and no look finds them */
    bool pressed, asking;
};

struct archiver {
    struct config config;
    struct loop loop;
    struct queue *queue;
    struct objects objects;
    struct http_server *http;
    struct metrics *metrics;
    uv_timer_t tick;
    struct partition partitions[ARCHIVER_PARTITIONS_MAX];
    struct mover *movers[ARCHIVER_MOVERS];
    struct state_mover *state_movers[ARCHIVER_MOVERS];
    uint64_t sweep_at;
    bool sweeping;
    unsigned packs_busy;
    uint64_t pressure_at;
    struct program_args args;
    bool stopping, closing;
    char redis_why[256];
};

/* partition.c: what a look at a partition came to, and so when the next is due. */
enum look { LOOK_DONE, LOOK_MORE, LOOK_FAILED };
void archiver_looked(struct archiver *a, unsigned partition, enum look look);
/* What a look found to be due of METRIC_MOVED_LOG or _STATE, the oldest since `due_ms`; 0: nothing. */
void archiver_found(struct archiver *a, unsigned partition, unsigned what, int64_t due_ms, int64_t now_ms);
void states_looked(struct archiver *a, unsigned partition, bool failed, bool more);

/* mover.c: takes a batch of logs, packs them, reads the pack back, and only then lets them leave Redis. */
MUST_CHECK enum err mover_open(struct archiver *a, struct mover **ret_mover);
void mover_close(struct mover *m);
bool mover_busy(const struct mover *m);
void mover_start(struct mover *m, unsigned partition, bool pressed);

/* packs.c: deletes packs whose time is over. */
void packs_start(struct archiver *a, unsigned partition);

/* states.c: as mover.c, for states that are idle. */
MUST_CHECK enum err state_mover_open(struct archiver *a, struct state_mover **ret_mover);
void state_mover_close(struct state_mover *m);
bool state_mover_busy(const struct state_mover *m);
void state_mover_start(struct state_mover *m, unsigned partition);

/* orphans.c: what a crash left in the object store. At most once in its interval, by one archiver. */
void orphans_sweep(struct archiver *a);

/* sessions.c: ends sessions that are due. */
void sessions_start(struct archiver *a, unsigned partition);

/* service.c */
/* Redis and the object store can be used. `why` (may be NULL) gets a static text when not. */
bool archiver_ready(const struct archiver *a, const char **ret_why);
extern const char *const archiver_routes[]; /* ends with NULL */
MUST_CHECK enum err archiver_http_open(struct archiver *a, struct errinfo *info);

#endif
