/* SPDX-License-Identifier: Apache-2.0 */
/* Writing an object of S3: its hash is computed first and signed, so that the store checks what arrives. What is larger
   than two parts goes in parts, and is aborted when it does not come to its end. */
#include "io/store/s3.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct s3_putting {
    bool if_absent;
    char put_id[ID_LEN + 1]; /* tells our own object from another's, when the answer to a try was lost */
    uint64_t part_size, at;
    unsigned part, parts;
    char upload_id[S3_UPLOAD_ID_MAX + 1], part_text[8];
    char (*etags)[S3_ETAG_MAX + 1];
    struct buf xml;
    struct errinfo failed; /* what is told once the upload is aborted */
};

static struct s3_putting *putting(const struct s3_op *op)
{
    return op->kind;
}

static void finish(struct s3_op *op)
{
    op->meta.size = op->source.size;
    putting(op)->upload_id[0] = '\0';
    s3_op_finish(op, ERR_OK, NULL);
}

/* ---- hashing, on the pool ---- */

static void hash_range(struct s3_op *op, uint64_t at, uint64_t size, struct sha256 *ret_hash)
{
    struct sha256_state *hash = sha256_begin();
    for (uint64_t done = 0; !op->info.code && done < size;) {
        size_t n = size - done < S3_PIECE ? (size_t)(size - done) : S3_PIECE;
        enum err e = store_source_read(&op->source, at + done, op->piece, n, &op->info);
        if (!e)
            sha256_add(hash, (struct str){.p = op->piece, .n = n});
        done += n;
    }
    *ret_hash = sha256_end(hash);
}

static void hash_source(struct s3_op *op)
{
    struct sha256 got;
    hash_range(op, 0, op->source.size, &got);
    if (!op->info.code && op->source.has_sha256 && memcmp(got.bytes, op->source.sha256.bytes, SHA256_LEN))
        errinfo_set(&op->info, ERR_CORRUPT, 0, "what is to be stored has another SHA-256 than was said");
    op->source.sha256 = got;
}

static void hash_part(struct s3_op *op)
{
    struct sha256 got;
    hash_range(op, op->request.at, op->request.size, &got);
    sha256_hex(&got, op->request.sha256);
}

/* ---- was it us? ---- */

static void on_whose(struct s3_op *op, int status, struct str body)
{
    (void)body;
    if (status == 200 && !strcmp(op->head.put_id, putting(op)->put_id))
        finish(op);
    else
        s3_op_fail(op, putting(op)->if_absent ? ERR_EXISTS : ERR_UNAVAILABLE,
                   "there is another object of this name");
}

/* A conditional put whose first answer was lost meets its own object at the second try. (libcurl tries again by itself
   where a connection that was kept turns out to be closed, so nobody knows which try it is.) */
static void ask_whose(struct s3_op *op)
{
    s3_request(op, "HEAD", op->key);
    s3_send(op, on_whose);
}

/* ---- in one request ---- */

static void on_put(struct s3_op *op, int status, struct str body)
{
    (void)body;
    if (status == 412)
        ask_whose(op);
    else if (status == 200 && op->head.etag[0])
        finish(op);
    else
        s3_unexpected(op, status);
}

static void send_source(struct s3_op *op, uint64_t at, uint64_t size)
{
    op->request.from = &op->source;
    op->request.at = at;
    op->request.size = size;
}

static void put_whole(struct s3_op *op)
{
    s3_request(op, "PUT", op->key);
    send_source(op, 0, op->source.size);
    sha256_hex(&op->source.sha256, op->request.sha256);
    s3_header(op, "x-amz-meta-millrace-put", putting(op)->put_id);
    if (putting(op)->if_absent)
        s3_header(op, "if-none-match", "*");
    s3_send(op, on_put);
}

/* ---- in parts ---- */

static void on_aborted(struct s3_op *op, int status, struct str body)
{
    (void)status, (void)body;
    putting(op)->upload_id[0] = '\0';
    op->info = putting(op)->failed;
    s3_op_finish(op, op->info.code, NULL);
}

/* The upload goes first, then the failure is told; should the abort fail, the sweeper finds it. */
static bool abort_upload(struct s3_op *op, enum err e, const char *why)
{
    struct s3_putting *p = putting(op);
    if (p->upload_id[0] == '\0' || p->failed.code)
        return false;
    if (op->info.code != e || op->info.text[0] == '\0')
        errinfo_set(&op->info, e, 0, "%s", why);
    p->failed = op->info;
    op->give_up = NULL;
    s3_request(op, "DELETE", op->key);
    s3_query(op, "uploadId", p->upload_id);
    s3_send(op, on_aborted);
    return true;
}

static bool give_up(struct s3_op *op, enum err e)
{
    return abort_upload(op, e, err_text(e));
}

static void next_part(struct s3_op *op);

static void on_part(struct s3_op *op, int status, struct str body)
{
    struct s3_putting *p = putting(op);
    (void)body;
    if (status != 200 || op->head.etag[0] == '\0') {
        if (!abort_upload(op, ERR_UNAVAILABLE, "the store lost a part"))
            s3_unexpected(op, status);
        return;
    }
    memcpy(p->etags[p->part - 1], op->head.etag, sizeof p->etags[0]);
    p->at += op->request.size;
    next_part(op);
}

static void part_hashed(struct s3_op *op)
{
    if (op->info.code) {
        if (!abort_upload(op, op->info.code, op->info.text))
            s3_op_finish(op, op->info.code, NULL);
        return;
    }
    s3_send(op, on_part);
}

static void on_completed(struct s3_op *op, int status, struct str body)
{
    char etag[S3_ETAG_MAX + 1];
    struct s3_error error;
    if (status == 412 ||
        status == 404) { /* 404: there is no such upload any more, for a try has completed it */
        op->give_up = NULL;
        ask_whose(op);
    } else if (status == 200 &&
               !s3_read_value(body, "CompleteMultipartUploadResult", "ETag", etag, sizeof etag)) {
        finish(op);
    } else { /* a failure may come with status 200 */
        if (s3_read_error(body, &error))
            errinfo_set(&op->info, ERR_UNAVAILABLE, 0, "complete: %s %s", error.code, error.message);
        if (!abort_upload(op, ERR_UNAVAILABLE, "the store could not put the parts together"))
            s3_unexpected(op, status);
    }
}

static void append_escaped(struct buf *out, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c == '&' || *c == '<' || *c == '>' || *c == '"')
            buf_printf(out, "&#%d;", *c);
        else
            buf_append_char(out, *c);
    }
}

static void complete(struct s3_op *op)
{
    struct s3_putting *p = putting(op);
    buf_append_cstr(&p->xml, "<CompleteMultipartUpload>");
    for (unsigned i = 0; i < p->part; i++) {
        buf_printf(&p->xml, "<Part><PartNumber>%u</PartNumber><ETag>", i + 1);
        append_escaped(&p->xml, p->etags[i]);
        buf_append_cstr(&p->xml, "</ETag></Part>");
    }
    buf_append_cstr(&p->xml, "</CompleteMultipartUpload>");
    if (buf_status(&p->xml)) {
        if (!abort_upload(op, ERR_NOMEM, "out of memory"))
            s3_op_fail(op, ERR_NOMEM, "out of memory");
        return;
    }
    struct s3_request *r = s3_request(op, "POST", op->key);
    r->body = buf_str(&p->xml);
    struct sha256 hash = sha256_of(r->body);
    sha256_hex(&hash, r->sha256);
    s3_query(op, "uploadId", p->upload_id);
    if (p->if_absent)
        s3_header(op, "if-none-match", "*");
    s3_send(op, on_completed);
}

static void next_part(struct s3_op *op)
{
    struct s3_putting *p = putting(op);
    if (p->at == op->source.size) {
        complete(op);
        return;
    }
    uint64_t left = op->source.size - p->at;
    snprintf(p->part_text, sizeof p->part_text, "%u", ++p->part);
    s3_request(op, "PUT", op->key);
    send_source(op, p->at, left < p->part_size ? left : p->part_size);
    s3_query(op, "partNumber", p->part_text);
    s3_query(op, "uploadId", p->upload_id);
    s3_pool(op, hash_part, part_hashed);
}

static void on_created(struct s3_op *op, int status, struct str body)
{
    struct s3_putting *p = putting(op);
    char id[S3_UPLOAD_ID_MAX + 1];
    if (status != 200 || s3_read_value(body, "InitiateMultipartUploadResult", "UploadId", id, sizeof id) ||
        !id[0]) {
        s3_unexpected(op, status);
        return;
    }
    memcpy(p->upload_id, id, sizeof id);
    op->give_up = give_up;
    next_part(op);
}

/* Parts grow when there would be too many of them. */
static void put_in_parts(struct s3_op *op)
{
    struct s3_putting *p = putting(op);
    p->part_size = s3_of(op)->part_size;
    while (op->source.size / p->part_size >= S3_PARTS_MAX)
        p->part_size *= 2;
    p->parts = (unsigned)(op->source.size / p->part_size) + 1;
    p->part = 0;
    p->at = 0;
    free(p->etags);
    p->etags = calloc(p->parts, sizeof *p->etags);
    buf_free(&p->xml);
    buf_init(&p->xml, (size_t)p->parts * (2 * S3_ETAG_MAX + 64) + 128);
    if (!p->etags) {
        s3_op_fail(op, ERR_NOMEM, "out of memory");
        return;
    }
    s3_request(op, "POST", op->key);
    op->request.body = STR("");
    s3_query(op, "uploads", "");
    s3_header(op, "x-amz-meta-millrace-put", p->put_id);
    s3_send(op, on_created);
}

static void hashed(struct s3_op *op)
{
    bool whole = op->source.size <= 2 * s3_of(op)->part_size;
    if (op->info.code)
        s3_op_finish(op, op->info.code, NULL);
    else if (whole)
        put_whole(op);
    else
        put_in_parts(op);
}

static void begin(struct s3_op *op)
{
    bool whole = op->source.size <= 2 * s3_of(op)->part_size;
    bool needed = op->source.check || (whole && !op->source.has_sha256);
    if (putting(op)->if_absent && !s3_of(op)->conditional)
        s3_op_fail(op, ERR_UNSUPPORTED, "this store knows no conditional writes");
    else if (needed)
        s3_pool(op, hash_source, hashed);
    else
        hashed(op);
}

/* A put that was cancelled leaves its parts to an operation of the store's own. */
static void on_orphan_gone(void *arg, const struct object_result *result)
{
    (void)arg, (void)result; /* the sweeper finds what is left */
}

static void on_orphan(struct s3_op *op, int status, struct str body)
{
    (void)status, (void)body;
    s3_op_finish(op, ERR_OK, NULL);
}

static void begin_orphan(struct s3_op *op)
{
    s3_request(op, "DELETE", op->key);
    s3_query(op, "uploadId", op->kind);
    s3_send(op, on_orphan);
}

static void abort_later(struct s3_op *op)
{
    struct s3_op *orphan;
    char *id = strdup(putting(op)->upload_id);
    if (!id || op->base.store->closing ||
        s3_op_new(op->base.store, op->key, begin_orphan, on_orphan_gone, NULL, &orphan)) {
        free(id);
        return;
    }
    orphan->kind = id;
    s3_op_start(orphan);
}

static void release(struct s3_op *op)
{
    struct s3_putting *p = putting(op);
    if (p->upload_id[0] != '\0')
        abort_later(op);
    free(p->etags);
    p->etags = NULL;
    buf_free(&p->xml);
}

enum err s3_put(struct object_store *store, const char *key, struct store_source *source, bool if_absent,
                object_cb cb, void *arg, struct object_op **ret_op)
{
    struct s3_putting *p = calloc(1, sizeof *p);
    char *piece = malloc(S3_PIECE);
    struct s3_op *op;
    if (!p || !piece || s3_op_new(store, key, begin, cb, arg, &op)) {
        free(p);
        free(piece);
        return ERR_NOMEM;
    }
    p->if_absent = if_absent;
    snprintf(p->put_id, sizeof p->put_id, "%s", id_new().text);
    op->kind = p;
    op->piece = piece;
    op->release = release;
    op->source = *source;
    *ret_op = &op->base;
    s3_op_start(op);
    return ERR_OK;
}
