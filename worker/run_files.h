/* SPDX-License-Identifier: Apache-2.0 */
/* The files of one run: inputs.c brings those that the request names into the pod before the program is released,
   outputs.c takes what the pod gives back to the object store and the session's table. Made only for runs that have
   some. Neither trusts the pod. */
#ifndef MILLRACE_WORKER_RUN_FILES_H
#define MILLRACE_WORKER_RUN_FILES_H

#include "io/store/object_store.h"
#include "queue/session.h"
#include "schema/reasons.h"
#include "worker/backend.h"
#include "worker/file_refused.h"
#include "worker/request.h"

enum { INPUTS_MAX = 256, REFUSED_LISTED_MAX = 64, FILES_ECHOED_MAX = 50, OUTPUTS_OPEN_MAX = 8 };

struct file_services {
    struct queue *queue;
    struct object_store *store;
    uint64_t max_outputs, max_file_bytes, max_total_bytes; /* of a run */
    uint64_t max_session_files, max_session_bytes;
    uint64_t max_workspace_files, max_workspace_bytes;
    int64_t session_ttl_ms;
};

/* Whose run it is. Texts are owned by the run. */
struct run_owner {
    struct id job, session;
    uint32_t attempt;
    struct str tenant, user;
};

/* ---- inputs ---- */

struct input {
    struct id id, session;
    struct str path; /* in the request */
    bool dropped;    /* a later one has its name */
    bool found;
    uint64_t size;
    int64_t time_ms;
    bool read_only;
    char hash[SHA256_HEX_LEN + 1];
    struct sha256 sha256;
    char key[OBJECT_KEY_MAX + 1];
    /* Of a workspace */
    bool kept;     /* it is the workspace's, and named by nobody */
    bool shadowed; /* dropped, and rightly so: the workspace's file of this name, or what takes its place */
    struct id told_id,
        told_session; /* of a reference that is this file: what the client calls it; "": none */
    struct id origin; /* the file of another session that was first put there */
    unsigned mode;
    bool folder;
    struct str link; /* target */
};

struct inputs;
struct inputs_events {
    /* All are found, or (why != NULL: one sentence; text: lines for the model, naming each) the run cannot begin. */
    void (*looked)(void *arg, enum reason reason, const char *why, struct str text);
    /* All are in the pod, or not. */
    void (*loaded)(void *arg, enum reason reason, const char *why, struct str text);
    void *arg;
};
/* `files` of the canonical request (an array of objects, or NULL). `workspace`: those of the run's session too.
   ERR_INVALID with the reason. */
MUST_CHECK enum err inputs_open(const struct file_services *services, const struct run_owner *owner,
                                const json_t *files, bool workspace, const struct inputs_events *events,
                                struct inputs **ret_inputs, struct errinfo *info);
void inputs_look(struct inputs *in);
/* Into this pod; again, from the first, into another. */
void inputs_load(struct inputs *in, const struct pod_backend_ops *ops, struct pod *pod);
void inputs_room(struct inputs *in); /* the pod said POD_ROOM */
void inputs_stop(struct inputs *in); /* no event follows; NULL is fine, and so is a second call */
void inputs_free(struct inputs *in); /* NULL is fine */
const struct input *inputs_at(const struct inputs *in, size_t i); /* NULL behind the last; dropped ones too */
/* False: the run has none. *ret_created_ms 0: it is new. */
bool inputs_workspace(const struct inputs *in, int64_t *ret_created_ms);

/* ---- outputs ---- */

struct outputs;
struct outputs_events {
    void (*stored)(void *arg, bool fenced); /* everything is where it belongs */
    void *arg;
};
/* `inputs` may be NULL and must outlive it. */
MUST_CHECK enum err outputs_open(const struct file_services *services, const struct run_owner *owner,
                                 const struct inputs *inputs, const struct outputs_events *events,
                                 const struct pod_backend_ops *ops, struct pod *pod,
                                 struct outputs **ret_outputs);
/* FILE, FILE_DATA, FILE_END, FILE_REFUSED. ERR_PROTOCOL: the pod breaks the protocol. */
MUST_CHECK enum err outputs_take(struct outputs *out, const struct pod_event *event);
/* The pod has nothing more (and is not used any more); `stored` follows, perhaps before this returns. */
void outputs_end(struct outputs *out);
/* The pod is gone, or time is up: what is not stored by now is refused. `stored` follows. */
void outputs_cut(struct outputs *out);
bool outputs_moved(struct outputs *out); /* since the last question: for deadlines */
/* The `d` of one event `file` after the other, each told to `each`. */
void outputs_write(const struct outputs *out, void (*each)(void *arg, struct str json), void *arg);
void outputs_free(struct outputs *out); /* no event follows; NULL is fine */

#endif
