/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the worker's side share: lanes that are read, leases that are kept, others' leases watched. */
#ifndef MILLRACE_QUEUE_CONSUMER_H
#define MILLRACE_QUEUE_CONSUMER_H

#include "queue/internal.h"

struct seen;
struct told;

/* One partition and class. */
struct lane {
    struct consumer *c;
    unsigned partition;
    const char *class_name;
    unsigned leases, claiming;
    int64_t told; /* the capacity that the store knows of; -1: none */
    bool beating;
    /* reaper.c */
    struct seen *seen;
    size_t seen_count;
    int64_t scanned_ns;
    unsigned looking;
    struct told *workers;
    size_t worker_count;
};

/* The connection that waits for the entries of a partition. */
struct port {
    struct consumer *c;
    unsigned partition;
    struct redis *conn;
    bool reading, recovered;
    int64_t client_id;
    unsigned groups_left; /* XGROUP CREATE not answered */
};

struct lease {
    struct idnode node; /* by job */
    struct lane *lane;
    struct id session;
    char tenant[NAME_MAX_LEN];
    uint32_t attempt, cost_ms;
    char entry[EVENT_ID_MAX];
    struct list steps; /* appends, the first one is under way */
    bool ending;       /* a finish or requeue is among them */
    /* Client events: the last one in the store, the last one up to which all were handed on, how far the log was read for them;
       and how far for those that wait for nothing (signals, cancels, results), while the others are held back. */
    uint64_t ins, delivered;
    struct place {
        uint64_t seq;
        char id[EVENT_ID_MAX];
    } read, looked;
    bool reading, held;
    size_t unacknowledged; /* bytes handed on since the store was told */
};

struct consumer {
    struct queue *q;
    char worker[NAME_MAX_LEN];
    struct consumer_callbacks cb;
    const char *classes[MAX_CLASSES];
    size_t class_count;
    struct lane *lanes;
    size_t lane_count;
    struct port *ports;
    size_t port_count;
    unsigned free_slots, claiming;
    bool stopping, left;
    struct idmap leases;
    struct list claims; /* under way, so that what is read twice is claimed once */
    uv_timer_t beat, watch;
    unsigned timers; /* not closed yet */
};

struct keyset lane_keys(const struct lane *l, struct str job);
/* What this worker can do in this lane, for the refill. */
int64_t lane_capacity(const struct lane *l);
/* As an argument: empty when the store knows it already. */
void call_capacity(struct call *call, struct lane *l);
/* What submit may hand us without a claim: our process, and the slots that are free, `more` of them by this call. */
void call_offer(struct call *call, struct lane *l, unsigned more);
void consumer_pump(struct consumer *c);
/* An entry was delivered: claim it, or give it back. */
void lane_take(struct lane *l, struct str entry, struct str job);
bool consumer_holds(struct consumer *c, struct str job, struct str entry);

/* lease.c */
struct lease *lease_find(struct consumer *c, struct str job);
struct lease *lease_new(struct lane *l, const struct redis_value *claimed, struct str entry, struct id job);
void lease_end(struct lease *l);
/* Up to this entry nothing is for us, or all was told. */
void lease_begin(struct lease *l, struct str id);
void lease_inputs(struct lease *l, uint64_t ins);
void lanes_beat(struct consumer *c);
void lane_beat(struct lane *l);

/* reaper.c, janitor.c */
void lanes_watch(struct consumer *c);
void lane_watch_free(struct lane *l);
void janitor_run(struct queue *q);

/* session_state.c: the state that a claim's answer tells. False: it tells none. */
struct state_view;
bool state_given(const struct redis_value *claimed, struct state_view *ret_view);
/* The arguments of finish_state behind the drafts. */
struct state_change;
void state_arguments(struct call *call, const struct state_change *state);

#endif
