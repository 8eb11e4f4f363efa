/* SPDX-License-Identifier: Apache-2.0 */
/* What the routes of a session's state share: a call under way, its answers, large blobs. A state is bytes here; nothing looks into
   it but the checks of its frame. */
#ifndef MILLRACE_API_STATE_CALL_H
#define MILLRACE_API_STATE_CALL_H

#include "api/app.h"

#include "queue/state_load.h"

/* A call under way; it outlives its client, whose answers are then dropped. */
struct state_call {
    struct call *call; /* NULL once the client is gone */
    struct api *api;
    struct id session;
    struct session_owner owner; /* views of `texts` */
    struct buf texts;
    void (*next)(struct state_call *x, const struct state_view *view);
    struct state_load *load;
    struct object_op *op;
    struct buf place;                                       /* of the object that is written */
    void (*placed)(struct state_call *x, struct str place); /* behind it; "-": none was needed */
    struct state_seal seal;
    uint64_t version, base; /* of the path's session; what is asked for */
    struct id into;         /* fork */
    struct buf blob;        /* upload, fork */
    char hash[SHA256_HEX_LEN + 1];
    uv_work_t work; /* upload: its check */
    enum err checked;
    struct sha256 blob_hash;
};

/* NULL: the client was told. Else `next` gets what state_call_look() finds, and is not called without a client. */
struct state_call *state_call_begin(struct call *c,
                                    void (*next)(struct state_call *x, const struct state_view *view));
void state_call_look(struct state_call *x, uint64_t version); /* 0: the present one */
void state_call_on_view(void *arg, enum queue_answer answer, const struct state_view *view);
void state_call_free(struct state_call *x);

/* Takes the call out to be answered; NULL when the client is gone. `x` is freed either way. */
struct call *state_call_arrive(struct state_call *x);
/* These answer, and free `x`. */
void state_call_deleted(struct state_call *x); /* 204 */
void state_call_fail(struct state_call *x, enum client_error error, const char *text);
void state_call_fail_answer(struct state_call *x, enum queue_answer answer);

/* The seal of what was found; false: the client was told. */
bool state_call_opened(struct state_call *x, const struct state_view *view);
void state_call_load(struct state_call *x, const struct state_view *view, state_load_cb cb);

/* A change that expects the version that was seen. */
struct state_change state_call_change(const struct state_call *x);
/* Seals `hash` for `version` of `session`. */
void state_call_seal(const struct state_call *x, struct id session, uint64_t version,
                     const struct sha256 *hash, uint64_t size, struct buf *ret_text);
/* False: another version came first, or it failed; the client was told. */
bool state_call_changed(struct state_call *x, enum queue_answer answer, uint64_t version);
/* `x->blob`, whose hash is `hash`, goes to a place of its own when it is large; then `placed`. */
void state_call_place(struct state_call *x, struct id session, const struct sha256 *hash,
                      void (*placed)(struct state_call *x, struct str place));

#endif
