/* SPDX-License-Identifier: Apache-2.0 */
/* How finished logs leave Redis (PROTOCOL.md 9): one function per transition, for the archiver. As in queue.h every call
   is asynchronous, its callback runs once and never before the call returns, and views in it are valid only until it
   returns. No function walks the keyspace.

   A pack is an object that holds the records (queue/log_record.h) of many logs, one behind the other. It is told to Redis
   before it is written, and every log in it leaves Redis for the same time; so it can be deleted as a whole, by the clock,
   and one that nobody came to use goes in the same way. */
#ifndef MILLRACE_QUEUE_ARCHIVE_H
#define MILLRACE_QUEUE_ARCHIVE_H

#include "io/crypto.h"
#include "queue/log_record.h"
#include "queue/queue.h"

enum {
    ARCHIVE_STATE_KEY_MAX = 160,
    ARCHIVE_DROP_GRACE_MS = 60000,
    ARCHIVE_PLACE_MAX = 128,
    ARCHIVE_KEY_MAX = 64,
    ARCHIVE_TAKE_MAX = 256
};

/* Where an archived log is. */
struct archive_place {
    struct id pack;
    uint64_t offset, length;
    struct record_hash hash;
};
void archive_place_write(const struct archive_place *place, char ret_text[ARCHIVE_PLACE_MAX]);
MUST_CHECK enum err archive_place_parse(struct str text, struct archive_place *ret_place); /* ERR_INVALID */
/* The name of a pack's object; no tenant's files can have it (session_object_name). */
void archive_pack_key(unsigned partition, const struct id *pack, char ret_key[ARCHIVE_KEY_MAX]);

struct archive_job {
    struct id job;
    int64_t due_ms;
};
struct archive_taken {
    int64_t now_ms;                 /* by the store's clock */
    const struct archive_job *jobs; /* the oldest first */
    size_t count;
};
typedef void (*archive_taken_cb)(void *arg, enum queue_answer answer, const struct archive_taken *taken);
/* At most ARCHIVE_TAKE_MAX jobs that are due, or the oldest of the others when memory presses. They are ours for
   `lease_ms`. Tells the workers' janitors that there is an archiver. */
void archive_take(struct queue *q, unsigned partition, unsigned most, bool pressed, int64_t lease_ms,
                  archive_taken_cb cb, void *arg);
/* What could not be moved is for anybody again, as if it had not been taken. */
void archive_give_back(struct queue *q, unsigned partition, const struct archive_job *jobs, size_t count,
                       queue_done_cb cb, void *arg);
/* Do the stored bytes of the partition press (90 % of their cap), or Redis's memory? */
typedef void (*archive_pressed_cb)(void *arg, bool pressed);
void archive_pressed(struct queue *q, unsigned partition, archive_pressed_cb cb, void *arg);

struct archive_head {
    struct id session;
    struct str tenant, user, status, lang, last, idem;
    uint32_t attempt;
    uint64_t seq;
    int64_t created_ms, started_ms, finished_ms, due_ms;
    bool archived;
};
/* head == NULL unless QUEUE_OK. */
typedef void (*archive_head_cb)(void *arg, enum queue_answer answer, const struct archive_head *head);
void archive_head(struct queue *q, struct id job, archive_head_cb cb, void *arg);
/* The next entries behind `after` ("" = from the start); none: that was the end. An entry of more fields than a record
   takes is QUEUE_CONFLICT. */
typedef void (*archive_page_cb)(void *arg, enum queue_answer answer, const struct record_entry *entries,
                                size_t count);
void archive_page(struct queue *q, struct id job, const char *after, archive_page_cb cb, void *arg);
/* The request's bytes from `from` on, at most RECORD_REQUEST_PIECE; empty: that was the end. */
typedef void (*archive_request_cb)(void *arg, enum queue_answer answer, struct str piece);
void archive_request(struct queue *q, struct id job, uint64_t from, archive_request_cb cb, void *arg);

/* Before a pack is written: it goes at `until_ms` of the store's clock unless a log was put into it. */
void archive_register(struct queue *q, unsigned partition, struct str name, int64_t until_ms,
                      queue_done_cb cb, void *arg);
struct archive_commit {
    struct id job;
    const char *last; /* the last event that was packed */
    struct archive_place place;
    int64_t ttl_ms, spare_ms; /* how long it stays readable; how much longer the pack stays */
};
/* The log leaves Redis. QUEUE_CONFLICT: it is not the one that was packed, or lies in another pack already;
   QUEUE_FENCED: the pack's time was over. */
void archive_commit(struct queue *q, const struct archive_commit *commit, queue_done_cb cb, void *arg);
/* A job that is due goes for good. QUEUE_CONFLICT: it is not due. */
void archive_expire(struct queue *q, struct id job, struct str tenant, struct str idem, queue_done_cb cb,
                    void *arg);

/* Objects whose time is over, ours to delete for `lease_ms`; then archive_pack_gone(). A name with a slash is an object's key,
   another one a pack's id. */
typedef void (*archive_packs_cb)(void *arg, enum queue_answer answer, const struct str *names, size_t count);
void archive_packs(struct queue *q, unsigned partition, unsigned most, int64_t lease_ms, archive_packs_cb cb,
                   void *arg);
void archive_pack_gone(struct queue *q, unsigned partition, struct str name, queue_done_cb cb, void *arg);
/* What the session's scripts noted for deletion goes to the above, `grace_ms` later. */
void archive_drop(struct queue *q, unsigned partition, unsigned most, int64_t grace_ms, queue_done_cb cb,
                  void *arg);

/* ---- idle states and sessions that are due ---- */

/* As archive_take: sessions whose state was idle for `after_ms`. */
void archive_idle(struct queue *q, unsigned partition, unsigned most, int64_t after_ms, int64_t lease_ms,
                  archive_taken_cb cb, void *arg);
/* Versions whose blobs are in Redis. `record` is the version's record as it is there: what a move compares. */
struct archive_version {
    struct str version, record;
};
typedef void (*archive_versions_cb)(void *arg, enum queue_answer answer,
                                    const struct archive_version *versions, size_t count);
void archive_versions(struct queue *q, struct id session, archive_versions_cb cb, void *arg);
void archive_blob(struct queue *q, struct id session, struct str version, archive_request_cb cb, void *arg);
/* The object of a blob: named by its content, and by nobody else. */
void archive_state_key(struct id session, const struct sha256 *hash, char ret_key[ARCHIVE_STATE_KEY_MAX]);
bool archive_state_key_is(struct str place, struct sha256 *ret_hash);
/* QUEUE_OK: the blob left Redis. QUEUE_CONFLICT: the version is another by now; the object will be deleted. Without a
   version: nothing is left to move, or nothing was, for every version is an object already. */
void archive_state(struct queue *q, struct id session, struct str version, struct str record,
                   const char *place, int64_t ttl_ms, queue_done_cb cb, void *arg);

/* Sessions that are due, by the store's clock. */
typedef void (*archive_sessions_cb)(void *arg, enum queue_answer answer, const struct id *sessions,
                                    size_t count);
void archive_sessions(struct queue *q, unsigned partition, unsigned most, archive_sessions_cb cb, void *arg);

#endif
