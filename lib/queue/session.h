/* SPDX-License-Identifier: Apache-2.0 */
/* The session's log and its table of files (PROTOCOL.md 4 and 7): one function per transition. As in queue.h every
   call is asynchronous, its callback runs once and never before the call returns, and views in it are valid only
   until it returns. Foreign, unknown, expired and deleted are all QUEUE_NOT_FOUND. */
#ifndef MILLRACE_QUEUE_SESSION_H
#define MILLRACE_QUEUE_SESSION_H

#include "queue/queue.h"

/* Who asks. A session is used by its tenant's same user; one that is shared or was made without a user by the whole
   tenant; a caller without a user speaks for the tenant. */
struct session_owner {
    struct str tenant, user;
};

enum { SESSION_FILES_MAX = 1000, FILE_HASH_LEN = 64 };

/* One row of the table. Texts are UTF-8; empty = not known. */
struct session_file {
    struct id id;
    struct str path; /* relative to /mnt/data */
    struct str hash; /* SHA-256, 64 hex digits */
    uint64_t size;
    struct str source; /* "upload" or "run" */
    bool read_only;
    struct str type;                  /* content type as the client gave it */
    struct str job;                   /* of a run: its job and attempt */
    uint32_t attempt;                 /* also in the object's name, below */
    struct str from_id, from_session; /* the input that it is a changed version of */
    /* Of a workspace: */
    struct str origin; /* the file of another session that was first put there */
    struct str gone;   /* the job that removed it, which may be run again; "": it is there */
    struct str link;   /* its target, of a link; neither that nor a folder has a hash or an object */
    bool folder;
    unsigned mode;      /* permissions; 0: as usual */
    int64_t written_ms; /* last write; 0: not known */
    int64_t added_ms;   /* by the store's clock; set by the store */
};

/* The name of a file's object: tenant, session, hash and id, so that no two puts ever meet and a sweeper can tell by
   name what a table must have. ERR_FULL when `out` is too small. */
MUST_CHECK enum err session_object_name(struct str tenant, struct id session, const struct session_file *file,
                                        struct buf *out);

/* Fresh ids. Every id of a session lies in its partition. The store must have been reached (queue_ready). */
struct id session_draw(const struct queue *q);
struct id session_draw_file(const struct queue *q, struct id session);

struct session_view {
    struct id id;
    struct str tenant, user;
    bool shared, cold; /* cold: its state is in the object store */
    int64_t created_ms, changed_ms, due_ms, now_ms;
    uint64_t file_count, bytes, seq, version; /* version: of its state, 0 = none */
    const struct session_file *files;         /* those asked for that exist, in the order of their arrival */
    size_t count;
};
/* view == NULL unless QUEUE_OK. */
typedef void (*session_cb)(void *arg, enum queue_answer answer, const struct session_view *view);
/* The session with these files of it; `files` NULL with count 0: without files. */
void session_look(struct queue *q, struct session_owner owner, struct id session, const struct id *files,
                  size_t count, session_cb cb, void *arg);
/* With all files. */
void session_list(struct queue *q, struct session_owner owner, struct id session, session_cb cb, void *arg);
/* With those too that a run of its removed last. */
void session_list_workspace(struct queue *q, struct session_owner owner, struct id session, session_cb cb,
                            void *arg);

struct session_add {
    struct session_owner owner;
    struct id session; /* is made when there is none, unless it must exist (QUEUE_NOT_FOUND) */
    bool must_exist;
    bool shared;    /* when made: the whole tenant may use it */
    int64_t ttl_ms; /* lives at least so long from now */
    uint64_t max_files, max_bytes;
    /* Of a run: its job and attempt, QUEUE_FENCED when that is not the present one. Then room is made by what the
       run replaces (older outputs of the same path), and what an earlier attempt left goes. */
    struct id job;
    uint32_t attempt;
    const struct session_file *files; /* at least one, but of a workspace; all are added or none */
    size_t count;
    /* Of a run in a workspace: what its files were becomes what they are, in one step. */
    bool workspace;
    int64_t
        created_ms; /* of the session as the run found it, 0: there was none; QUEUE_NOT_FOUND when it went meanwhile */
    const struct id *drops;
    size_t drop_count;
};
/* What a change took out of the table, so that the caller deletes the objects; may be none. */
struct session_removed {
    const struct session_file *files;
    size_t count;
    struct str tenant; /* of the objects' names */
};
typedef void (*session_change_cb)(void *arg, enum queue_answer answer, const struct session_removed *removed);
/* QUEUE_FULL: the session's files or bytes are at their limit. QUEUE_UNAVAILABLE also when the store's memory is short and
   it is a client that asks. */
void session_add_files(struct queue *q, const struct session_add *add, session_change_cb cb, void *arg);
void session_remove_file(struct queue *q, struct session_owner owner, struct id session, struct id file,
                         session_change_cb cb, void *arg);
#define SESSION_TOMBSTONE_MS ((int64_t)24 * 3600 * 1000) /* longer than any run that may still be in it */
/* The end: by its owner, or because it is due (QUEUE_CONFLICT: it is not). A tombstone stays for `keep_ms`. */
void session_remove(struct queue *q, struct session_owner owner, struct id session, struct str by,
                    int64_t keep_ms, session_change_cb cb, void *arg);
void session_expire(struct queue *q, struct id session, int64_t keep_ms, session_change_cb cb, void *arg);

/* ---- records (pure) ---- */

/* The `d` of file_added. */
void session_file_write(const struct session_file *file, struct buf *out);
/* Its reverse, and of the table's value; strings live in `texts`. ERR_INVALID. */
struct arena;
MUST_CHECK enum err session_file_read(struct str id, struct str record, struct arena *texts,
                                      struct session_file *ret_file);

#endif
