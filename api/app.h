/* SPDX-License-Identifier: Apache-2.0 */
/* The program context of millrace-api, and the request that its handlers work on. */
#ifndef MILLRACE_API_APP_H
#define MILLRACE_API_APP_H

#include "api/auth.h"
#include "api/exec_request.h"
#include "api/fault.h"
#include "api/offers.h"
#include "api/router.h"
#include "api/wrong_keys.h"
#include "base/list.h"
#include "io/crypto.h"
#include "io/http/server.h"
#include "io/loop.h"
#include "io/state_blob.h"
#include "queue/objects.h"
#include "queue/queue.h"
#include "schema/config.h"
#include "schema/metrics.h"

struct api {
    struct config config;
    struct loop loop;
    struct queue *queue;
    struct state_keys state_keys; /* once the store was reached */
    struct objects objects;
    struct http_server *http;
    struct auth auth;
    struct wrong_keys wrong_keys;
    struct metrics *metrics;
    struct limit_bounds bounds;
    struct offers offers; /* which languages there are; asked for by a timer */
    uv_timer_t ask;
    bool asking;
    struct list calls;     /* requests not yet answered */
    struct list runs;      /* synchronous ones that wait for their end */
    struct list rounds;    /* of programmatic runs, likewise */
    struct list followers; /* streams and long-polls */
    struct list unparsed;  /* large bodies that wait (body.c) */
    unsigned parsing;      /* those that the pool has */
    unsigned cancels;      /* sent for clients that left, not yet answered */
    uint64_t sends;        /* count of queue_send, which makes each safe to repeat */
    bool draining;
    char redis_why[200]; /* "" while the store can be used */
    int64_t started_wall_ms;
};

/* One routed request. Made when its head is there, freed by the call_* function that answers it; a client
   that goes away first is told to `gone`, after which it is freed. */
struct call {
    struct api *api;
    struct http_request *request;
    const struct route *route;
    struct str param;                          /* what {id} matched */
    struct str tenant;                         /* who calls; lives as long as the process */
    struct auth_identity who;                  /* the same, and the user: "" when the credential names none */
    char idempotency[AUTH_USER_MAX + 1 + 256]; /* the user, and the key that it chose */
    bool unproven;                             /* no credential so far: the key may be in the body */
    struct list node;
    struct body_work *body;          /* of a large body (body.c); else NULL */
    json_t *json;                    /* the body, for a handler that goes on later; or NULL */
    char job_text[ID_LEN + 1];       /* what `param` is a view of, where the path has none */
    void *context;                   /* the handler's */
    void (*gone)(struct call *c);    /* may be NULL */
    void (*drained)(struct call *c); /* room again for a stream */
};

typedef void (*call_handler)(struct call *c);
#define X(name) void handle_##name(struct call *c);
HANDLER_TABLE(X)
#undef X

/* What http_server is given. */
void call_on_head(void *arg, struct http_request *r);
void call_on_request(void *arg, struct http_request *r);
void call_write_fields(void *arg, const struct http_request *r, struct buf *out);
/* False: the client expects another service than this, and was told. */
bool call_check_profile(struct call *c);
/* Does a runtime_session_hint of the request name a workspace? */
bool call_is_stateful(const struct call *c);
void call_write_error(int status, const char *details, const char *request_id, struct buf *out);

/* Answers; `c` is freed. */
void call_reply(struct call *c, int status, const char *type, const struct http_field *fields,
                struct str body);
void call_json(struct call *c, int status, const struct buf *body);
void call_fail(struct call *c, enum client_error error, const char *fmt, ...) PRINTF_LIKE(3, 4);
void call_refuse(struct call *c, const struct api_fault *fault);
/* What a queue answer other than QUEUE_OK means for a client. */
void call_queue_failed(struct call *c, enum queue_answer answer, int retry_after_ms);
/* 409: the session's state has this version, not the one that the client named. */
void call_state_conflict(struct call *c, uint64_t version);
/* After http_stream_end() or http_upgrade(): counts it and frees. */
void call_end(struct call *c, int status);

/* False: the store is not there, and the client was told 503. */
bool call_store_ready(struct call *c);
/* {id} of the path as an id. False: the client was told 404. */
bool call_job_id(struct call *c, struct id *ret_job);

/* With the head of an upload: its body is taken in pieces (upload.c). */
void upload_head(struct call *c);
/* The session and file that the path ends with. False: they are no ids. */
bool call_file_ids(const struct call *c, struct id *ret_session, struct id *ret_file);

/* May the caller see what belongs to `user` ("": to nobody in particular) of its tenant? */
bool call_owns(const struct call *c, struct str user);
/* Goes on with `next` when the job of the path is the caller's; else the client is told 404. */
void call_check_owner(struct call *c, call_handler next);

/* The projection as clients see it: {job_id, session_id, status, ...}, left open for more members ("}" is
 * missing). */
void job_write(const struct api *api, const struct queue_job *job, struct buf *out);

/* Streams and long-polls end, with what they have, because this process leaves. */
void followers_drain(struct api *api);
/* False: the body is no JSON by its content type, and the client was told. */
bool exec_is_json(struct call *c);
/* A body as a run; `rules` says `sync` and `tools`, `size` how long its text was. On refusal the client was told. */
bool exec_take(struct call *c, json_t *body, size_t size, const struct exec_rules *rules,
               struct exec_request *ret_request);
/* A POST body as a run; on refusal the client was told. */
bool exec_read(struct call *c, bool sync, struct exec_request *ret_request);
/* Goes on with `next`, which owns the request then, once its session is known to be usable; or answers. */
typedef void (*exec_next)(struct call *c, struct exec_request *request);
void exec_settle_session(struct call *c, struct exec_request *request, bool strict, exec_next next);
/* Idempotency-Key, or {NULL, 0}. False: it is malformed and the client was told. */
bool exec_idempotency_key(struct call *c, struct str *ret_key);
/* No worker takes jobs (offers.h): the runs that wait for one are told so, and cancelled unless they go on without their client. */
void exec_tell_stuck(struct api *api);
void programmatic_tell_stuck(struct api *api);
/* 503 with why no worker takes jobs. */
void exec_refuse_stuck(struct call *c);
/* Cancels a job whose client left before its answer; a failure is logged. */
void exec_abandon(struct api *api, struct str tenant, struct id job);
/* A UUID, as clients give their programmatic requests. */
bool request_id_valid(struct str id);
/* Counts and logs an accepted job. */
void exec_accepted(const struct api *api, enum language lang, enum queue_priority priority,
                   const struct queue_submitted *result);
/* The hash of the body, under which an Idempotency-Key repeats; "" without a key. */
void exec_body_hash(const struct call *c, struct str key, char ret_hex[SHA256_HEX_LEN + 1]);
void exec_fill_submit(const struct call *c, const struct exec_request *request, struct str key,
                      const char *hash, bool sync, struct queue_submit *ret_submit);

#endif
