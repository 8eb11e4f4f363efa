/* SPDX-License-Identifier: Apache-2.0 */
/* The queue and the event log: one function per transition of schema/PROTOCOL.md, and the reader of a log.
   Every call is asynchronous on the caller's uv loop; the callback runs once, never before the call returns.
   Views in a callback are valid only until it returns. A transition whose answer got lost is retried by this
   library where PROTOCOL.md says that it is safe (append, finish, claim: `dup` repeats the first answer). */
#ifndef MILLRACE_QUEUE_QUEUE_H
#define MILLRACE_QUEUE_QUEUE_H

#include "base/id.h"
#include "schema/event.h"

#include <uv.h>

struct queue;

enum queue_answer {
    QUEUE_OK,
    QUEUE_FENCED,    /* another attempt owns the job: stop, no effect */
    QUEUE_DUP,       /* was done before; the first answer is repeated */
    QUEUE_CONFLICT,  /* precondition failed: job terminal, other body under the same key, ... */
    QUEUE_FULL,      /* a cap is reached: retry_after_ms; nothing was accepted */
    QUEUE_NOT_FOUND, /* unknown, foreign or deleted: the same */
    QUEUE_DAMAGED,   /* of a session's state: what the store has under its keys is not what should be there */
    QUEUE_UNAVAILABLE, /* Redis cannot be reached or refused; nothing is known to have happened */
    QUEUE_CLOSED,      /* input for a job that was submitted to take none */
};

enum queue_priority { QUEUE_INTERACTIVE, QUEUE_NORMAL, QUEUE_BATCH, QUEUE_PRIORITIES };

struct queue_options {
    const char *redis_url; /* redis://[user:password@]host:port[/db], rediss:// for TLS, unix:///path */
    const char *key_prefix;
    unsigned partitions; /* 0: what the store has, else 1 standalone or 8 on a cluster */
    bool development;    /* allow no maxmemory and weaker persistence, with a warning */
    int connect_timeout_ms, command_timeout_ms;
    uint64_t max_jobs, max_jobs_per_tenant, max_bytes; /* backlog caps */
    int64_t result_ttl_ms, sync_result_ttl_ms;
    uint32_t lease_ms, heartbeat_ms;
    uint32_t max_attempts; /* without a result, then `dead`; 0: 3 */
    const char *ca_file;   /* for rediss://; NULL: the system's */
    /* told on every change; `why` is one line for people when not ready. May be NULL. */
    void (*on_state)(void *arg, bool ready, const char *why);
    void *arg;
};

/* Starts connecting and returns at once; loops for ever with a growing pause (bounded at 1 s) until close. */
MUST_CHECK enum err queue_open(uv_loop_t *loop, const struct queue_options *options, struct queue **ret_queue,
                               struct errinfo *info);
/* The same with the options that the settings of a program say. */
struct config;
MUST_CHECK enum err queue_open_configured(uv_loop_t *loop, const struct config *config,
                                          void (*on_state)(void *arg, bool ready, const char *why), void *arg,
                                          struct queue **ret_queue, struct errinfo *info);
/* Outstanding callbacks run with QUEUE_UNAVAILABLE; `closed` (may be NULL) when the loop holds nothing of it. */
void queue_close(struct queue *q, void (*closed)(void *arg), void *arg);
/* Where archived logs are read from; must outlive the queue. Without it they are READER_UNAVAILABLE. */
struct object_store;
void queue_set_objects(struct queue *q, struct object_store *objects);
bool queue_ready(const struct queue *q);
unsigned queue_partitions(const struct queue *q); /* 0 until first connected */
/* How an operator sees the store: version, appendfsync, policy, maxmemory, loss window. Valid while q lives. */
const char *queue_store_text(const struct queue *q);

/* ---- clients (api) ------------------------------------------------------------------------------------------- */

struct queue_submit {
    struct str tenant, user;
    struct id session; /* "" : a fresh one is drawn */
    enum queue_priority priority;
    struct str class_name; /* what a worker must offer: "local" for now */
    struct str lang;
    struct str request; /* JSON text of the run, kept under its own key (code, args, env, limits ...) */
    struct str idempotency_key; /* empty: none */
    struct str request_hash;    /* of the client's body, compared under an idempotency key */
    bool sync;                  /* events go to this process's reply channel; short retention */
    bool retry;                 /* may be run again when its worker was lost after `started` */
    bool ordered;               /* uses the session's state or workspace: one at a time, in order */
    unsigned
        max_ordered; /* QUEUE_FULL when so many ordered jobs of the session are there; 0: no bound but the tenant's */
    uint32_t cost_ms; /* for virtual finish time; corrected at finish */
    int64_t wait_ms;  /* the longest wait for a worker; 0: a day */
};

struct queue_submitted {
    struct id job, session;
    const char *event_id; /* of `queued`; read on from here */
    uint64_t position;    /* 1 = next */
    int retry_after_ms;   /* with QUEUE_FULL */
    bool existing;        /* the idempotency key's earlier job */
};
typedef void (*queue_submit_cb)(void *arg, enum queue_answer answer, const struct queue_submitted *result);
void queue_submit(struct queue *q, const struct queue_submit *submit, queue_submit_cb cb, void *arg);

/* Fails jobs that have waited for a worker longer than their wait_ms: at most 512 of each partition a call, `cb` for each. To be
   repeated. */
typedef void (*queue_overdue_cb)(void *arg, struct id job);
void queue_look_overdue(struct queue *q, queue_overdue_cb cb, void *arg);

typedef void (*queue_done_cb)(void *arg, enum queue_answer answer);
/* input, eof, signal, cancel_requested, tool_result: unfenced, while the job is not terminal (QUEUE_CONFLICT).
   QUEUE_FULL: 64 KiB are unread. QUEUE_CLOSED. Cancel of a queued job is terminal at once. Repeated by this library when the answer
   was lost (it counts its sends itself; `seq` is not needed, pass 0). */
void queue_send(struct queue *q, struct str tenant, struct id job, uint64_t seq,
                const struct event_draft *draft, queue_done_cb cb, void *arg);
void queue_cancel(struct queue *q, struct str tenant, struct id job, struct str reason, queue_done_cb cb,
                  void *arg);

/* The job's projection. */
struct queue_job {
    struct id job, session;
    struct str tenant, user, lang,
        status; /* queued | running | completed | failed | timed_out | cancelled | dead */
    enum queue_priority priority;
    uint32_t attempt;
    uint64_t last_seq;
    int64_t created_ms, started_ms, finished_ms; /* 0 = not yet */
    uint64_t position;                           /* in the queue while it waits, else 0 */
};
/* job == NULL unless QUEUE_OK. Another tenant's job is QUEUE_NOT_FOUND. */
typedef void (*queue_job_cb)(void *arg, enum queue_answer answer, const struct queue_job *job);
void queue_get(struct queue *q, struct str tenant, struct id job, queue_job_cb cb, void *arg);

/* Jobs of a tenant, newest first, over all partitions. status empty = any. cursor "" = from the newest; the next
   one is handed to the callback ("" = no more). ERR-like answers: QUEUE_CONFLICT = bad cursor. */
typedef void (*queue_list_cb)(void *arg, enum queue_answer answer, const struct queue_job *jobs, size_t count,
                              const char *next_cursor);
void queue_list(struct queue *q, struct str tenant, struct str status, unsigned limit, struct str cursor,
                queue_list_cb cb, void *arg);

/* ---- readers -------------------------------------------------------------------------------------------------- */

/* Follows one job's log: everything after `after` ("" or "0": from the start), then live, in order, each event
   once. Wake-ups come by pub/sub; a gap in seq is filled from the stream and the log is re-read each second.
   After a terminal event it is told READER_END and nothing more. One Redis subscription serves all readers of a
   job in this process. */
enum reader_state {
    READER_EVENT,
    READER_CAUGHT_UP,
    READER_END,
    READER_NOT_FOUND,
    READER_BAD_OFFSET,
    READER_GONE,
    READER_UNAVAILABLE /* it is archived, and the archive cannot be read at present */
};
struct log_reader;
typedef void (*log_reader_cb)(void *arg, enum reader_state state, const struct event *event);
struct log_reader *log_reader_open(struct queue *q, struct str tenant, struct id job, struct str after,
                                   log_reader_cb cb, void *arg);
/* As above for a job this process submitted with `sync`: no subscription of its own. */
struct log_reader *log_reader_open_sync(struct queue *q, struct id job, const char *after, log_reader_cb cb,
                                        void *arg);
/* No callback after it returns. May be called inside the reader's callback. */
void log_reader_close(struct log_reader *reader);
/* A slow consumer stops delivery (bounded: the reader then forgets what it was told and reads the log again). */
void log_reader_pause(struct log_reader *reader);
void log_reader_resume(struct log_reader *reader);

/* ---- workers --------------------------------------------------------------------------------------------------- */

struct state_view;
struct claimed_job {
    struct id job, session;
    uint32_t attempt;
    struct str tenant, user, lang, request;
    bool retry;                 /* false: append `started` before the program is released */
    int64_t created_ms, now_ms; /* by the store's clock: queue wait = now - created */
    uint64_t last_seq;
    uint64_t last_input; /* sequence of the last client event; 0: none. All up to it are told by on_input */
    const struct state_view *state; /* state.h: what its session's state is; NULL: ask with state_read() */
};

struct consumer_callbacks {
    /* A job was claimed for this worker (attempt raised, `claimed` appended). The views are valid until return. */
    void (*on_job)(void *arg, const struct claimed_job *job);
    /* Inputs of a running job (input, eof, signal, cancel_requested), in order, each once; a new attempt gets all of
       them again. False, of an input or eof: not now; it stays unread in the store, and what is behind it too, until
       queue_take_inputs(). All others are taken, and are told also while such a one waits. */
    bool (*on_input)(void *arg, struct id job, uint32_t attempt, const struct event *event);
    /* The attempt is no longer ours: kill its pod, append nothing. Steps of it that wait are answered QUEUE_FENCED
       too; a QUEUE_FENCED from append, finish or requeue says the same without this call. */
    void (*on_fenced)(void *arg, struct id job, uint32_t attempt);
    void *arg;
};
/* Reads the ready lanes of `classes` and keeps the leases of what it claimed (heartbeats, batched). Never claims
   more than queue_consume_slots allows; but queue_finish makes a slot free, and the store may hand over the next job for
   it at once, or one more than there are slots for when it does not know better yet. One per queue. */
void queue_consume(struct queue *q, struct str worker, const char *const *classes, size_t count,
                   const struct consumer_callbacks *callbacks);
void queue_consume_slots(struct queue *q, unsigned free_slots);
void queue_consume_stop(struct queue *q); /* claims no more; leases are kept until finish or requeue */

/* What this worker offers (its own text), told to the apis; "" takes it back. A word holds for three times
   QUEUE_OFFER_MS: it is to be repeated. Not sent while the store cannot be used. */
enum { QUEUE_OFFER_MS = 10000 };
/* Member of an offer beside the languages: how a worker fares whose pods a cluster makes. */
#define QUEUE_OFFER_KUBERNETES "kubernetes"
/* And the defences that its pods lack and that were accepted by name: an array of names, where there are any. */
#define QUEUE_OFFER_GAPS "accepted_gaps"
void queue_offer(struct queue *q, struct str worker, struct str text);
struct queue_offered {
    struct str worker, text;
};
typedef void (*queue_offers_cb)(void *arg, enum queue_answer answer, const struct queue_offered *offers,
                                size_t count);
/* Those of all workers that are alive. */
void queue_offers(struct queue *q, queue_offers_cb cb, void *arg);

/* Append events of a running attempt. `n` = count of this attempt's appends so far + 1 (retries repeat it). */
void queue_append(struct queue *q, struct id job, uint32_t attempt, uint64_t n,
                  const struct event_draft *drafts, size_t count, queue_done_cb cb, void *arg);
/* The last append: drafts end with one terminal event. Stores facts, acknowledges, frees the session's next job. */
void queue_finish(struct queue *q, struct id job, uint32_t attempt, uint64_t n,
                  const struct event_draft *drafts, size_t count, uint32_t cost_ms, queue_done_cb cb,
                  void *arg);
/* Hand a claimed job back (drain, or the pod could not be had): queued again as a new attempt, or `dead`. */
void queue_requeue(struct queue *q, struct id job, uint32_t attempt, struct str reason, bool started,
                   queue_done_cb cb, void *arg);

/* What on_input() did not take is told again, in a later turn. */
void queue_take_inputs(struct queue *q, struct id job, uint32_t attempt);

/* Counters for /metrics. */
struct queue_stats {
    uint64_t backlog[QUEUE_PRIORITIES], ready, running;
    uint64_t reconnects, commands, command_failures, lease_takeovers, wakeups_lost, log_reads, archive_reads,
        state_restores;
};
void queue_stats(const struct queue *q, struct queue_stats *ret_stats);

#endif
