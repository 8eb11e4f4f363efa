/* SPDX-License-Identifier: Apache-2.0 */
/* Pods kept ready ahead of demand, one pool for each kind, over any backend. A state is a list; pod_set_state
   is the one function that moves a pod. Filling goes on behind the caller's back and is bounded; a job that
   finds its pool empty waits for a pod made on demand, and is counted. A kind that cannot be made falls back
   to another.

     starting -> idle -> claimed -> running -> doomed -> dead
        \---------\---------\------------------>/ */
#ifndef MILLRACE_WORKER_POOL_H
#define MILLRACE_WORKER_POOL_H

#include "base/list.h"
#include "worker/backend.h"

enum pod_state {
    POD_ST_STARTING,
    POD_ST_IDLE,
    POD_ST_CLAIMED,
    POD_ST_RUNNING,
    POD_ST_DOOMED,
    POD_ST_DEAD,
    POD_STATES
};

struct pool;
struct pools;

struct pool_pod {
    struct list link;
    struct pool *pool;
    struct pod *pod;
    enum pod_state state;
    int64_t since_ns; /* in this state */
    /* The holder's, from claim to release. */
    pod_event_cb on_event;
    void *arg;
};

/* A job that waits for a pod. Zero it; the caller's memory until `got` ran or pools_cancel. */
struct pool_wait {
    struct list link;
    /* NULL: none can be made; `why` is one line. */
    void (*got)(void *arg, struct pool_pod *pod, const char *why);
    void *arg;
    const char
        *never; /* a kind that will not do, also as a fallback: better wait POOL_PATIENCE_SECONDS; or NULL */
    int64_t since_ns;
    bool waiting;
    enum reason reason; /* with `why`: what the job is told */
};

struct pool_kind {
    const char *name;     /* as the backend calls it; static */
    unsigned size;        /* kept ready */
    const char *fallback; /* kind to take while this one cannot be made, or NULL */
    const char *missing;  /* what the host lacks for it: none is ever made, the fallback is taken; or NULL */
    bool later;           /* none is made in the background before the first kind was ready once */
    bool heavy;           /* starts an interpreter: in the background one at a time of all such kinds */
    bool slow;            /* a job that finds none ready takes the fallback and does not wait */
};

enum { POOL_KINDS_MAX = 16, POOL_GIVE_UP = 5, POOL_START_SECONDS = 60, POOL_PATIENCE_SECONDS = 10 };

struct pools_options {
    struct pod_backend *backend;
    const struct pool_kind *kinds;
    size_t kind_count;
    struct pod_limits limits;    /* every pod is made with these */
    unsigned max_pods;           /* all kinds, whatever their state */
    unsigned create_concurrency; /* when jobs wait or a pool is nearly empty; else few */
    bool remote;                 /* making pods takes nothing of this host: always as many */
    int64_t start_ms;            /* from making to ready; 0: POOL_START_SECONDS */
    int64_t cluster_ms;   /* how long jobs wait while REASON_CLUSTER_UNAVAILABLE keeps pods from being made */
    int64_t pause_max_ms; /* between two tries to make one that fail; 0: 1 s */
    int64_t (*now_ns)(void);
    void (*changed)(void *arg); /* after pods became ready or went; may be NULL */
    void *arg;
};

MUST_CHECK enum err pools_open(const struct pools_options *options, struct pools **ret_pools);
/* Destroys every pod; call pools_free when pools_count() is 0. */
void pools_stop(struct pools *pools);
void pools_free(struct pools *pools);

/* An idle pod of the kind, claimed for the caller; or NULL, and `wait` is told later. */
struct pool_pod *pools_take(struct pools *pools, const char *kind, struct pool_wait *wait);
void pools_cancel(struct pools *pools, struct pool_wait *wait);
/* From now on the pod's events go to the holder. */
void pool_pod_hold(struct pool_pod *pod, pod_event_cb on_event, void *arg);
void pool_pod_running(struct pool_pod *pod);
/* The holder wants nothing more of it: it is destroyed. `dead`: it failed before its job began. */
void pool_pod_release(struct pool_pod *pod, bool dead);
const struct pod_backend_ops *pool_pod_ops(const struct pool_pod *pod);
bool pool_pod_is(const struct pool_pod *pod, const char *kind);
/* Of another kind than the wanted one, which cannot be made at present. */
bool pool_pod_is_fallback(const struct pool_pod *pod, const char *wanted);

/* Fills what is below its size and gives up on what hangs. Call it some times a second. */
void pools_tick(struct pools *pools);

size_t pools_count(const struct pools *pools);                /* pods that are not gone */
bool pools_idle(const struct pools *pools, const char *kind); /* one is ready, or can be made */
/* Jobs of all languages come by one way. What keeps the first kind from being made mostly keeps all: then they wait in the queue, where another
   worker may have them. But where its image alone cannot be had and pods of others are there, theirs go on, and its own are told. */
bool pools_take_jobs(const struct pools *pools);
/* How many more jobs of this kind to take: those that could start at once, and one for which a pod is then made on
   demand (and counted as a miss). UINT_MAX where all are made so. */
unsigned pools_room(const struct pools *pools, const char *kind);

struct pool_stats {
    const char *kind;
    unsigned size;
    unsigned pods[POD_STATES];
    const char *missing; /* or NULL */
    unsigned failures;   /* to make one, in a row, at present */
    uint64_t hits, misses, fallbacks, created, failed, lost, replaced;
    int64_t waited_ns; /* by all misses together */
    uint64_t ready;
    int64_t made_ns;    /* from the asking to READY, by all `ready` together */
    const char *why;    /* why the kind cannot be made at present; "" otherwise */
    enum reason reason; /* with `why` */
};
size_t pools_stats(const struct pools *pools, struct pool_stats *ret_stats, size_t max);

#endif
