/* SPDX-License-Identifier: Apache-2.0 */
/* Where bytes are kept by name: files, state, finished logs. One interface over a directory (the embedded default) and
   S3/MinIO; everything is asynchronous on the caller's uv loop, streams in both directions, and holds at most a few
   hundred KiB in memory for an operation. The loop never waits for a disk: files are read and written on uv's thread
   pool.

   Keys: 1 to 8 parts of 1 to 128 of [A-Za-z0-9_.-], joined with '/', no part beginning with '.', at most 512 bytes.
   Anything else is ERR_INVALID, before anything happens. No key may be another one with '/' and more behind it: some
   stores do not list both. DECISIONS 8: files are `tenant/session/sha256`; what is not
   named by its content has an attempt-unique name. An object is whole or not there: nobody ever sees half of one.

   Writing something of unknown length (an upload, collected output, a framed state):
     object_spool(store, max, on_room, arg, &spool)      an unnamed file, hashed while it is written
     spool_push(spool, bytes)  ...  spool_end(spool, cb) back-pressure: ERR_AGAIN says "wait for on_room"
     object_put(store, &(struct object_put){.key = ..., .spool = spool}, cb, arg, &op)   the key may hold the hash
     spool_drop(spool)                                   any time from now on; also the way to abort
   The directory store links a spool into place and copies nothing. What a crash leaves behind is gone with the process.

   How an operation ends (struct object_result, `e`):
     ERR_OK
     ERR_NOT_FOUND    no such object (get, head). Deleting what is not there is ERR_OK.
     ERR_EXISTS       if_absent, and it is there
     ERR_INVALID      the key or the options (told by the call itself, no callback follows)
     ERR_RANGE        `from` lies behind the end
     ERR_DENIED       the store does not let us (permissions, credentials)
     ERR_FULL         the store or its disk is full, or a maximum was passed
     ERR_TIMEOUT      no progress for too long, retries included
     ERR_UNAVAILABLE  the store cannot be reached, fails, or asks to slow down; retries are behind us
     ERR_CORRUPT      what was read is not what was written (hash, length); nothing of it may be used
     ERR_UNSUPPORTED  if_absent where the store cannot do it (object_store_can_put_if_absent())
     ERR_NOMEM
   Only ERR_TIMEOUT and ERR_UNAVAILABLE are worth another try by the caller; then it may have happened already.

   Callbacks run on the loop, never before the call that started the operation returned, and exactly once (not at all
   after object_op_cancel() or object_store_close()). An operation lives until its callback was called; inside it the
   handle is gone already. Texts and views given to a callback live until it returns; those given to a call are copied
   unless the field says otherwise. Everything here belongs to the thread of the loop. */
#ifndef MILLRACE_IO_STORE_OBJECT_STORE_H
#define MILLRACE_IO_STORE_OBJECT_STORE_H

#include "base/str.h"
#include "io/crypto.h"
#include "io/store/spool.h"

#include <uv.h>

enum { OBJECT_KEY_MAX = 512, OBJECT_LIST_MAX = 1000, OBJECT_PUT_BYTES_MAX = 16 << 20 };

struct object_store;
struct object_op;

enum object_store_kind { OBJECT_STORE_DIRECTORY, OBJECT_STORE_S3 };

struct object_store_s3 {
    const char *endpoint; /* host[:port] */
    const char *bucket, *region;
    const char *access_key, *secret_key, *session_token; /* token: NULL or "" for none */
    const char *ca_file;                                 /* NULL or "": the system's */
    bool secure;                                         /* https */
    bool virtual_host;                                   /* bucket.endpoint instead of endpoint/bucket */
    bool use_iam;       /* credentials from the environment's role (container, web identity, instance) */
    int timeout_ms;     /* without progress; 0: 20 s */
    uint64_t part_size; /* of a multipart upload; 0: 16 MiB. Objects above twice of it go in parts */
};

struct object_store_options {
    enum object_store_kind kind;
    const char *path; /* the directory; S3: where spools are (NULL: /var/tmp) */
    bool no_tmpfile;  /* as if the file system had no O_TMPFILE (for tests) */
    struct object_store_s3 s3;
};

struct object_meta {
    uint64_t size;
    int64_t time_ms; /* of the last write */
};

struct object_entry {
    const char *key;
    struct object_meta meta;
};

struct object_page {
    const struct object_entry *entries; /* in the order of their keys' bytes */
    size_t count;
    const char *next; /* cursor of the next page; NULL: this was the last */
};

struct object_result {
    enum err e;
    const char *why;                /* a sentence for the log when e is not ERR_OK; without secrets */
    struct object_meta meta;        /* put (size only), get, head */
    const struct object_page *page; /* list */
};
typedef void (*object_cb)(void *arg, const struct object_result *result);

/* Touches neither disk nor network: a store that is away shows at the first operation and in object_check(). Texts in
   `options` are copied. ERR_INVALID with the reason in `info`. */
MUST_CHECK enum err object_store_open(uv_loop_t *loop, const struct object_store_options *options,
                                      struct object_store **ret_store, struct errinfo *info);
/* Operations under way end without a callback; spools must have been dropped. `closed` (may be NULL) runs on the loop
   when nothing of the store is left on it. */
void object_store_close(struct object_store *store, void (*closed)(void *arg), void *arg);
const char *object_store_name(const struct object_store *store); /* "directory", "s3" */
/* The directory: always. S3: what the probe at its first use found; true before. */
bool object_store_can_put_if_absent(struct object_store *store);
bool object_key_valid(struct str key);

/* Is it there and may we use it? ERR_OK also makes what is made on first use (folder, bucket). For /health. */
MUST_CHECK enum err object_check(struct object_store *store, object_cb cb, void *arg,
                                 struct object_op **ret_op);

/* A spool beside the store; at most `max` bytes. io/store/spool.h. */
MUST_CHECK enum err object_spool(struct object_store *store, uint64_t max, void (*on_room)(void *arg),
                                 void *arg, struct spool **ret_spool);

/* Exactly one source: `spool` (ended), `fd` with `size` (from its offset `from`; duplicated, so it may be closed when
   the call has returned; a shorter file is ERR_CORRUPT), or `bytes` (copied; at most OBJECT_PUT_BYTES_MAX). */
struct object_put {
    const char *key;
    struct spool *spool;
    bool has_fd;
    int fd;
    uint64_t from, size;
    struct str bytes;
    const struct sha256 *sha256; /* when known: another content is ERR_CORRUPT and writes nothing */
    bool if_absent;
};
MUST_CHECK enum err object_put(struct object_store *store, const struct object_put *put, object_cb cb,
                               void *arg, struct object_op **ret_op);

/* Reading: `begin` once (may be NULL), then `data` for every piece in order, then `done`. With `sha256` the whole
   object is checked and ERR_CORRUPT told at its end (needs from = 0 and length = 0): use nothing before `done`. */
struct object_get {
    const char *key;
    uint64_t from, length;       /* length 0: to the end; behind the end: cut there */
    const struct sha256 *sha256; /* or NULL */
    void (*begin)(void *arg, const struct object_meta *meta); /* the whole object's */
    void (*data)(void *arg, struct str bytes);
};
MUST_CHECK enum err object_get(struct object_store *store, const struct object_get *get, object_cb done,
                               void *arg, struct object_op **ret_op);
/* No `data` and no `done` from pause (inside `data` too) until some time after resume. A paused get has no time limit:
   the caller's own holds. */
void object_get_pause(struct object_op *op);
void object_get_resume(struct object_op *op);
/* The same into `fd` (at its present offset, which moves; duplicated). begin and data are not used. */
MUST_CHECK enum err object_get_to_fd(struct object_store *store, const struct object_get *get, int fd,
                                     object_cb done, void *arg, struct object_op **ret_op);

MUST_CHECK enum err object_head(struct object_store *store, const char *key, object_cb cb, void *arg,
                                struct object_op **ret_op);
MUST_CHECK enum err object_delete(struct object_store *store, const char *key, object_cb cb, void *arg,
                                  struct object_op **ret_op);
/* Keys that begin with `prefix` ("" for all) and come behind `cursor` (NULL or "" for the first page, then page->next).
   `limit`: 1 to OBJECT_LIST_MAX. */
MUST_CHECK enum err object_list(struct object_store *store, const char *prefix, const char *cursor,
                                unsigned limit, object_cb cb, void *arg, struct object_op **ret_op);

/* What puts left that never came to their end: uploads in parts that were begun before `before_ms` of the store's clock (S3), temporary
   files that nobody holds (directory). Only of keys that begin with `prefix`, "" for all: MinIO tells only of those of one
   whole key. meta.size of the result is how many uploads went. For the archiver. */
MUST_CHECK enum err object_sweep(struct object_store *store, const char *prefix, int64_t before_ms,
                                 object_cb cb, void *arg, struct object_op **ret_op);

/* No callback after it returns. A put or delete may still happen, whole. Not inside the operation's own `done`;
   inside `data` it is fine. `ret_op` of the calls above may be NULL. */
void object_op_cancel(struct object_op *op);

#endif
