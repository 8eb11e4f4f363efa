/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the S3 store: an operation, and how its requests are signed, sent and sent again (s3_call.c); the operations
   (store_s3.c, s3_put.c) are chains of requests. */
#ifndef MILLRACE_IO_STORE_S3_H
#define MILLRACE_IO_STORE_S3_H

#include "base/id.h"
#include "io/http/client.h"
#include "io/store/s3_answer.h"
#include "io/store/s3_credentials.h"
#include "io/store/s3sign.h"
#include "io/store/store.h"

enum { S3_TRIES = 6, S3_BEGINS = 3, S3_ETAG_MAX = 128, S3_PIECE = 256 << 10, S3_PARTS_MAX = 10000 };

enum s3_setup { S3_SETUP_NONE, S3_SETUP_RUNNING, S3_SETUP_DONE };

struct s3_store {
    struct object_store base;
    struct http_client *http;
    struct s3_credentials *credentials;
    char *url;  /* scheme://host */
    char *host; /* as libcurl writes it into Host: without the scheme's own port */
    char *bucket, *region, *ca_file;
    bool virtual_host;
    int stall_ms;
    uint64_t part_size;
    enum s3_setup setup;
    struct list waiting; /* operations, until the bucket is known to be there */
    bool conditional;    /* what the probe found */
    uint32_t random;     /* state of the jitter */
};

/* One request of an operation; texts live in the operation. */
struct s3_request {
    const char *method;
    const char *key; /* NULL: the bucket itself */
    struct s3sign_pair query[5], headers[5];
    size_t query_count, header_count;
    struct str body;                 /* {NULL, 0}: none */
    const struct store_source *from; /* or a piece of this */
    uint64_t at, size;
    char sha256[SHA256_HEX_LEN + 1]; /* of the body; "": it is empty */
    bool streams;                    /* the answer goes to op->on_data */
};

/* What the answer's header said. */
struct s3_head {
    char etag[S3_ETAG_MAX + 1], put_id[ID_LEN + 1];
    uint64_t length, range_from, range_size; /* range_size: of the whole object */
    bool has_length, has_range;
    int64_t time_ms;
};

struct s3_op {
    struct object_op base;
    struct list waiting;
    uv_timer_t timer;
    uv_work_t work;
    struct http_call *call;
    bool working;   /* on the pool */
    bool in_call;   /* inside a callback of libcurl: nothing may be freed */
    bool cancelled; /* freed as soon as it can be */
    bool resend;    /* when the pool is done */
    unsigned tries, begins;
    struct s3_request request;
    struct s3_head head;
    /* Status 200 to 299, or what s3_call.c did not take for a failure: 404, 412, 416. */
    void (*answered)(struct s3_op *op, int status, struct str body);
    void (*begin)(struct s3_op *op);     /* the first step, when the bucket is there */
    void (*pool)(struct s3_op *op);      /* on the pool, for pool_done */
    void (*pool_done)(struct s3_op *op); /* on the loop */
    void (*release)(struct s3_op *op);   /* of what the kind of operation holds; may be NULL */
    bool (*on_data)(struct s3_op *op, struct str bytes);
    bool (*again)(struct s3_op *op); /* before a try is repeated: NULL, or whether it may be */
    bool (*give_up)(struct s3_op *op,
                    enum err e); /* before a failure is told: NULL, or true when it goes on otherwise */
    char key[OBJECT_KEY_MAX + 1];
    struct errinfo info;
    struct object_meta meta;
    /* put: source, and the piece of it that is being sent */
    struct store_source source;
    char *piece;
    size_t piece_len, piece_at;
    uint64_t sent; /* of request.size, read into pieces */
    bool piece_failed;
    void *kind; /* more of the operation's kind, freed with it */
};

static inline struct s3_store *s3_of(const struct s3_op *op)
{
    return container_of(op->base.store, struct s3_store, base);
}

MUST_CHECK enum err s3_op_new(struct object_store *store, const char *key, void (*begin)(struct s3_op *op),
                              object_cb cb, void *arg, struct s3_op **ret_op);
/* Waits for the bucket, then op->begin(). */
void s3_op_start(struct s3_op *op);
/* Tells `done` and frees. `e` ERR_OK or what op->info says. */
void s3_op_finish(struct s3_op *op, enum err e, const struct object_page *page);
void s3_op_fail(struct s3_op *op, enum err e, const char *why);
void s3_op_free(struct s3_op *op);
void s3_op_cancel(struct object_op *op);

/* A new request: fill it, then s3_send(). */
struct s3_request *s3_request(struct s3_op *op, const char *method, const char *key);
void s3_query(struct s3_op *op, const char *name, const char *value);
void s3_header(struct s3_op *op, const char *name, const char *value);
void s3_send(struct s3_op *op, void (*answered)(struct s3_op *op, int status, struct str body));
/* What a caller has no row for. */
void s3_unexpected(struct s3_op *op, int status);
/* The answer of a HEAD: op->meta is set, or the operation has failed and false is returned. */
bool s3_headed(struct s3_op *op, int status);
void s3_pool(struct s3_op *op, void (*pool)(struct s3_op *op), void (*done)(struct s3_op *op));

/* s3_setup.c */
void s3_setup_start(struct s3_store *s);
/* s3_put.c */
enum err s3_put(struct object_store *store, const char *key, struct store_source *source, bool if_absent,
                object_cb cb, void *arg, struct object_op **ret_op);
/* s3_sweep.c */
enum err s3_sweep(struct object_store *store, const char *prefix, int64_t age_ms, object_cb cb, void *arg,
                  struct object_op **ret_op);
/* s3_get.c */
enum err s3_get(struct object_store *store, const struct object_get *get, object_cb cb, void *arg,
                struct object_op **ret_op);

#endif
