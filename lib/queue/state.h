/* SPDX-License-Identifier: Apache-2.0 */
/* The versions of a session's state in the store (PROTOCOL.md 4 and 7). Blobs and seals (io/state_blob.h) are bytes here:
   whoever reads one checks it. As in queue.h every call is asynchronous, its callback runs once and never before the call
   returns, and views in it are valid only until it returns. */
#ifndef MILLRACE_QUEUE_STATE_H
#define MILLRACE_QUEUE_STATE_H

#include "queue/session.h"

enum { STATE_INLINE_MAX = 64 * 1024 }; /* a larger blob is an object */

struct state_version {
    uint64_t version, base; /* base: the version that it was made from */
    int64_t made_ms;
    struct str place; /* "-": in the store; else the name of an object */
    struct str from;  /* "job:attempt", "upload", "fork", "rewind" */
    struct str seal;  /* empty: the version is an empty state */
};

struct state_view {
    bool pending;     /* there is none yet, and a job of this tenant that may make it has not ended */
    bool exists;      /* false: nobody has such a session: it is free to be used */
    uint64_t present; /* version of the session's state; 0: none */
    int64_t created_ms, due_ms, now_ms;
    struct state_version of;         /* the version that was asked for */
    bool found;                      /* it has a record */
    struct str blob;                 /* with place "-" */
    const struct state_version *all; /* state_list: oldest first */
    size_t count;
};
/* view == NULL unless QUEUE_OK. QUEUE_NOT_FOUND: somebody else's, or gone. QUEUE_DAMAGED: keys of another type or without what they
   should have; nothing was changed. */
typedef void (*state_cb)(void *arg, enum queue_answer answer, const struct state_view *view);
/* version 0: the present one. */
void state_read(struct queue *q, struct session_owner owner, struct id session, uint64_t version, state_cb cb,
                void *arg);
/* Whether it exists, and its version; no blob is read. */
void state_look(struct queue *q, struct session_owner owner, struct id session, state_cb cb, void *arg);
void state_list(struct queue *q, struct session_owner owner, struct id session, state_cb cb, void *arg);

/* What makes a new version. */
struct state_change {
    struct session_owner owner;
    struct id session;
    uint64_t expected; /* the present version; QUEUE_CONFLICT when it is another */
    uint64_t base;     /* that it is made from */
    struct str place, seal, blob, hash;
    uint64_t size;
    unsigned keep; /* versions that are kept */
    int64_t ttl_ms;
};
/* `version`: the new one, or with QUEUE_CONFLICT the present one. */
typedef void (*state_put_cb)(void *arg, enum queue_answer answer, uint64_t version);
/* from "upload" | "fork" | "rewind". rewind: the blob is that of version `base`. An empty seal removes the state. */
void state_put(struct queue *q, const struct state_change *change, struct str from, state_put_cb cb,
               void *arg);
/* The session's log says that it was forked. */
void state_forked(struct queue *q, struct session_owner owner, struct id session, struct id into,
                  uint64_t version, queue_done_cb cb, void *arg);

/* queue_finish() that commits a state too, where the drafts have `state_saved`: when the session has another version by
   then, is gone or damaged, the run ends all the same and its log has `state_kept` instead. */
void queue_finish_state(struct queue *q, struct id job, uint32_t attempt, uint64_t n,
                        const struct event_draft *drafts, size_t count, uint32_t cost_ms,
                        const struct state_change *state, queue_done_cb cb, void *arg);

/* The keys of STATE_KEYS ("id:secret"), checked before; without any one made from the id of the store, which must have been
   reached. */
struct state_keys;
void state_keys_open(const struct queue *q, const char *const *items, size_t count,
                     struct state_keys *ret_keys);

#endif
