/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store/s3.h"

#include "base/arena.h"
#include "base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BACKOFF_FIRST_MS = 50, BACKOFF_MAX_MS = 3000, RETRY_AFTER_MAX_S = 5, ANSWER_MAX = 4 << 20 };

static void try_now(struct s3_op *op);

/* ---- the life of an operation ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct s3_op *op = handle->data;
    struct object_store *store = op->base.store;
    store_source_release(&op->source);
    free(op->piece);
    free(op->kind);
    free(op);
    store_let_go(store);
}

void s3_op_free(struct s3_op *op)
{
    op->cancelled = true;
    if (op->working || op->in_call)
        return; /* comes back here */
    if (op->call)
        http_call_cancel(op->call);
    op->call = NULL;
    s3_credentials_forget(s3_of(op)->credentials, op);
    list_remove(&op->waiting);
    if (op->release)
        op->release(op);
    op->release = NULL;
    if (!uv_is_closing((uv_handle_t *)&op->timer))
        uv_close((uv_handle_t *)&op->timer, on_timer_closed);
}

void s3_op_cancel(struct object_op *base)
{
    s3_op_free(container_of(base, struct s3_op, base));
}

enum err s3_op_new(struct object_store *store, const char *key, void (*begin)(struct s3_op *op), object_cb cb,
                   void *arg, struct s3_op **ret_op)
{
    static const struct object_op_ops ops = {.cancel = s3_op_cancel};
    struct s3_op *op = calloc(1, sizeof *op);
    if (!op)
        return ERR_NOMEM;
    store_op_begin(&op->base, &ops, store, cb, arg);
    store_hold(store);
    list_init(&op->waiting);
    uv_timer_init(store->loop, &op->timer);
    op->timer.data = op->work.data = op;
    op->source.fd = -1;
    op->begin = begin;
    snprintf(op->key, sizeof op->key, "%s", key);
    *ret_op = op;
    return ERR_OK;
}

/* Also again, when the bucket has gone. */
static void on_start(uv_timer_t *timer)
{
    struct s3_op *op = timer->data;
    struct s3_store *s = s3_of(op);
    if (s->setup == S3_SETUP_DONE) {
        op->begins++;
        op->info = (struct errinfo){.code = ERR_OK};
        op->begin(op);
        return;
    }
    list_append(&s->waiting, &op->waiting);
    if (s->setup == S3_SETUP_NONE)
        s3_setup_start(s);
}

void s3_op_start(struct s3_op *op)
{
    uv_timer_start(&op->timer, on_start, 0, 0);
}

void s3_op_finish(struct s3_op *op, enum err e, const struct object_page *page)
{
    struct object_result result = {
        .e = e,
        .why = e ? (op->info.text[0] ? op->info.text : err_text(e)) : NULL,
        .meta = op->meta,
        .page = page,
    };
    store_op_end(&op->base);
    op->base.done(op->base.arg, &result);
    s3_op_free(op);
}

void s3_op_fail(struct s3_op *op, enum err e, const char *why)
{
    errinfo_set(&op->info, e, 0, "%s", why);
    s3_op_finish(op, e, NULL);
}

/* ---- the pool ---- */

static void on_pool(uv_work_t *work)
{
    struct s3_op *op = work->data;
    op->pool(op);
}

static void on_pool_done(uv_work_t *work, int status)
{
    struct s3_op *op = work->data;
    (void)status; /* never cancelled by uv */
    op->working = false;
    if (op->cancelled)
        s3_op_free(op);
    else
        op->pool_done(op);
}

void s3_pool(struct s3_op *op, void (*pool)(struct s3_op *op), void (*done)(struct s3_op *op))
{
    assert(!op->working);
    op->working = true;
    op->pool = pool;
    op->pool_done = done;
    int failed = uv_queue_work(op->base.store->loop, &op->work, on_pool, on_pool_done);
    assert(failed == 0); /* fails for a missing callback only */
    (void)failed;
}

/* ---- building a request ---- */

struct s3_request *s3_request(struct s3_op *op, const char *method, const char *key)
{
    op->request = (struct s3_request){.method = method, .key = key};
    op->tries = 0;
    op->info = (struct errinfo){.code = ERR_OK};
    return &op->request;
}

void s3_query(struct s3_op *op, const char *name, const char *value)
{
    assert(op->request.query_count < sizeof op->request.query / sizeof *op->request.query);
    op->request.query[op->request.query_count++] = (struct s3sign_pair){name, value};
}

void s3_header(struct s3_op *op, const char *name, const char *value)
{
    assert(op->request.header_count < sizeof op->request.headers / sizeof *op->request.headers);
    op->request.headers[op->request.header_count++] = (struct s3sign_pair){name, value};
}

/* Everything that is signed and sent; texts in `memory`. */
struct built {
    struct arena memory;
    struct buf url;
    const char *headers[S3SIGN_PAIRS_MAX + 3];
};

static void build_path(const struct s3_store *s, const char *key, struct buf *out)
{
    buf_append_char(out, '/');
    if (!s->virtual_host)
        buf_printf(out, "%s%s", s->bucket, key ? "/" : "");
    if (key)
        buf_append_cstr(out, key);
}

static enum err build(const struct s3_op *op, const struct s3_keys *keys, struct built *b)
{
    const struct s3_store *s = s3_of(op);
    const struct s3_request *r = &op->request;
    char date[S3_DATE_SIZE];
    const char *hash = r->sha256[0] ? r->sha256 : S3_EMPTY_SHA256;
    struct s3sign_pair pairs[S3SIGN_PAIRS_MAX] = {
        {"host", s->host}, {"x-amz-content-sha256", hash}, {"x-amz-date", date}};
    size_t count = 3, at = 0;
    auto_buf path = BUF_INIT(4096);
    auto_buf authorization = BUF_INIT(8192);
    s3sign_date(clock_wall_ms(), date);
    if (keys->session_token[0])
        pairs[count++] = (struct s3sign_pair){"x-amz-security-token", keys->session_token};
    for (size_t i = 0; i < r->header_count; i++)
        pairs[count++] = r->headers[i];
    build_path(s, r->key, &path);
    struct s3sign_request sign = {.method = r->method,
                                  .path = buf_cstr(&path),
                                  .query = r->query,
                                  .query_count = r->query_count,
                                  .headers = pairs,
                                  .header_count = count,
                                  .payload_sha256 = hash,
                                  .date = date,
                                  .region = s->region,
                                  .service = "s3",
                                  .access_key = keys->access_key,
                                  .secret_key = keys->secret_key};
    s3sign(&sign, &authorization);
    for (size_t i = 1; i < count; i++) /* libcurl writes Host */
        b->headers[at++] = arena_printf(&b->memory, "%s: %s", pairs[i].name, pairs[i].value);
    b->headers[at++] = arena_printf(&b->memory, "authorization: %s", buf_cstr(&authorization));
    b->headers[at] = "content-type: application/octet-stream";
    buf_append_cstr(&b->url, s->url);
    s3sign_target(&sign, &b->url);
    bool failed =
        buf_status(&b->url) || buf_status(&path) || buf_status(&authorization) || arena_status(&b->memory);
    return failed ? ERR_NOMEM : ERR_OK;
}

/* ---- what comes back ---- */

/* bytes 0-9/100 */
static void take_range(struct s3_head *head, struct str value)
{
    struct str rest = value;
    if (!str_starts(rest, STR("bytes ")))
        return;
    rest = (struct str){.p = rest.p + 6, .n = rest.n - 6};
    struct str from = str_split(&rest, '-');
    str_split(&rest, '/');
    head->has_range = !str_to_u64(from, &head->range_from) && rest.p && !str_to_u64(rest, &head->range_size);
}

static void take_text(char *out, size_t size, struct str value)
{
    if (value.n >= size)
        value.n = 0;
    memcpy(out, value.p, value.n);
    out[value.n] = '\0';
}

static void on_header(void *arg, struct str name, struct str value)
{
    struct s3_op *op = arg;
    struct s3_head *head = &op->head;
    if (str_eq_nocase(name, STR("etag")))
        take_text(head->etag, sizeof head->etag, value);
    else if (str_eq_nocase(name, STR("x-amz-meta-millrace-put")))
        take_text(head->put_id, sizeof head->put_id, value);
    else if (str_eq_nocase(name, STR("content-length")))
        head->has_length = !str_to_u64(value, &head->length);
    else if (str_eq_nocase(name, STR("content-range")))
        take_range(head, value);
    else if (str_eq_nocase(name, STR("last-modified")) && s3_read_http_time(value, &head->time_ms))
        head->time_ms = 0;
}

/* What an answer means. `code` "" for any. The first row that fits. */
static const struct verdict {
    int status; /* 0: any */
    const char *code;
    enum err e;
    bool again;
} verdicts[] = {
    {404, "NoSuchBucket", ERR_UNAVAILABLE, true},
    {404, "NoSuchUpload", ERR_OK, false},
    {404, "", ERR_OK, false},
    {412, "", ERR_OK, false},
    {416, "", ERR_OK, false},
    {0, "SlowDown", ERR_UNAVAILABLE, true},
    {0, "InternalError", ERR_UNAVAILABLE, true},
    {0, "RequestTimeout", ERR_TIMEOUT, true},
    {0, "OperationAborted", ERR_UNAVAILABLE, true},
    {0, "ConditionalRequestConflict", ERR_UNAVAILABLE, true},
    {0, "XAmzContentSHA256Mismatch", ERR_CORRUPT, true},
    {0, "BadDigest", ERR_CORRUPT, true},
    {0, "IncompleteBody", ERR_CORRUPT, true},
    {0, "EntityTooLarge", ERR_FULL, false},
    {0, "QuotaExceeded", ERR_FULL, false},
    {0, "XMinioAdminBucketQuotaExceeded", ERR_FULL, false},
    {0, "XMinioStorageFull", ERR_FULL, false},
    {507, "", ERR_FULL, false},
    {0, "NotImplemented", ERR_UNSUPPORTED, false},
    {501, "", ERR_UNSUPPORTED, false},
    {409, "BucketAlreadyOwnedByYou", ERR_OK, false},
    {0, "AuthorizationHeaderMalformed", ERR_DENIED, false},
    {401, "", ERR_DENIED, false},
    {403, "", ERR_DENIED, false},
    {408, "", ERR_TIMEOUT, true},
    {429, "", ERR_UNAVAILABLE, true},
    {500, "", ERR_UNAVAILABLE, true},
    {502, "", ERR_UNAVAILABLE, true},
    {503, "", ERR_UNAVAILABLE, true},
    {504, "", ERR_UNAVAILABLE, true},
    {0, "", ERR_UNAVAILABLE, false},
};

static struct verdict judge(int status, const char *code)
{
    size_t i = 0;
    while ((verdicts[i].status && verdicts[i].status != status) ||
           (verdicts[i].code[0] && strcmp(verdicts[i].code, code) != 0))
        i++;
    return verdicts[i];
}

static void on_again(uv_timer_t *timer)
{
    struct s3_op *op = timer->data;
    if (s3_of(op)->setup == S3_SETUP_NONE)
        on_start(timer);
    else
        try_now(op);
}

/* Full jitter over an exponentially growing bound. */
static uint64_t backoff_ms(struct s3_op *op, int retry_after_s)
{
    struct s3_store *s = s3_of(op);
    uint64_t bound = (uint64_t)BACKOFF_FIRST_MS << op->tries;
    s->random = s->random * 1664525u + 1013904223u;
    bound = bound > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : bound;
    uint64_t wait = bound / 2 + (s->random >> 8) % (bound / 2 + 1);
    uint64_t asked = retry_after_s > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S
                     : retry_after_s > 0               ? (uint64_t)retry_after_s
                                                       : 0;
    return wait > asked * 1000 ? wait : asked * 1000;
}

static void try_failed(struct s3_op *op, enum err e, bool again, int retry_after_s)
{
    if (op->cancelled)
        return;
    if (!again || ++op->tries >= S3_TRIES || (op->again && !op->again(op))) {
        if (!op->give_up || !op->give_up(op, op->info.code ? op->info.code : e))
            s3_op_finish(op, op->info.code ? op->info.code : e, NULL);
        return;
    }
    uv_timer_start(&op->timer, on_again, backoff_ms(op, retry_after_s), 0);
}

void s3_unexpected(struct s3_op *op, int status)
{
    errinfo_set(&op->info, ERR_UNAVAILABLE, 0, "%s: the store gave an answer that does not fit (status %d)",
                op->request.method, status);
    s3_op_finish(op, ERR_UNAVAILABLE, NULL);
}

static void take_failure(struct s3_op *op, const struct http_answer *answer)
{
    struct s3_error error;
    if (!s3_read_error(answer->body, &error))
        error = (struct s3_error){.code = ""};
    struct verdict v = judge(answer->status, error.code);
    if (v.e == ERR_OK) {
        op->answered(op, answer->status, answer->body);
        return;
    }
    errinfo_set(&op->info, v.e, 0, "%s: the store answered %d %s %s", op->request.method, answer->status,
                error.code, error.message);
    bool stale = !strcmp(error.code, "ExpiredToken") || !strcmp(error.code, "InvalidToken") ||
                 !strcmp(error.code, "InvalidAccessKeyId");
    /* The answer to a HEAD has no code. */
    stale = stale || (answer->status == 403 && error.code[0] == '\0' && op->tries == 0);
    if (stale && s3_credentials_refused(s3_of(op)->credentials))
        v.again = true;
    if (!strcmp(error.code, "NoSuchBucket") && s3_of(op)->setup == S3_SETUP_DONE && op->begins < S3_BEGINS)
        s3_of(op)->setup = S3_SETUP_NONE; /* somebody took it away: it is made again */
    try_failed(op, v.e, v.again, answer->retry_after_s);
}

static void on_answer(void *arg, enum err e, const char *why, const struct http_answer *answer)
{
    struct s3_op *op = arg;
    op->call = NULL;
    if (op->cancelled) {
        s3_op_free(op);
        return;
    }
    if (e == ERR_FULL) {
        s3_op_fail(op, ERR_CORRUPT, "the store's answer is too long");
    } else if (e) {
        e = e == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE;
        errinfo_set(&op->info, e, 0, "%s: %s", op->request.method, why);
        try_failed(op, e, true, 0);
    } else if (answer->status >= 200 && answer->status <= 299 && op->working) {
        errinfo_set(&op->info, ERR_UNAVAILABLE, 0, "%s: answered before the body was sent",
                    op->request.method);
        try_failed(op, ERR_UNAVAILABLE, true, 0);
    } else if (answer->status >= 200 && answer->status <= 299) {
        op->answered(op, answer->status, answer->body);
    } else {
        take_failure(op, answer);
    }
}

/* ---- bodies ---- */

static void read_piece(struct s3_op *op)
{
    uint64_t left = op->request.size - op->sent;
    op->piece_len = left < S3_PIECE ? (size_t)left : S3_PIECE;
    op->piece_at = 0;
    struct errinfo info = {0};
    op->piece_failed =
        store_source_read(op->request.from, op->request.at + op->sent, op->piece, op->piece_len, &info);
    op->sent += op->piece_len;
    if (op->piece_failed)
        op->info = info;
}

static void piece_done(struct s3_op *op)
{
    if (op->resend) {
        op->resend = false;
        try_now(op);
    } else if (!op->call) {
        return; /* this try has ended meanwhile; a timer waits for the next */
    } else if (op->piece_failed) {
        http_call_cancel(op->call);
        op->call = NULL;
        s3_op_finish(op, op->info.code, NULL);
    } else {
        http_call_send_on(op->call);
    }
}

static size_t on_read(void *arg, char *room, size_t size)
{
    struct s3_op *op = arg;
    size_t n = op->piece_len - op->piece_at;
    if (op->working || op->cancelled)
        return 0;
    if (n == 0) {
        if (op->sent < op->request.size)
            s3_pool(op, read_piece, piece_done);
        return 0;
    }
    n = n < size ? n : size;
    memcpy(room, op->piece + op->piece_at, n);
    op->piece_at += n;
    return n;
}

static void on_freed(uv_timer_t *timer)
{
    s3_op_free(timer->data);
}

static bool on_data(void *arg, int status, struct str bytes)
{
    (void)status;
    struct s3_op *op = arg;
    if (op->cancelled)
        return false;
    op->in_call = true;
    bool taken = op->on_data(op, bytes);
    op->in_call = false;
    if (op->cancelled)
        uv_timer_start(&op->timer, on_freed, 0, 0);
    return taken && !op->cancelled;
}

/* ---- sending ---- */

static void on_keys(void *arg, const char *why)
{
    struct s3_op *op = arg;
    if (!why) {
        try_now(op);
        return;
    }
    errinfo_set(&op->info, ERR_DENIED, 0, "no credentials: %s", why);
    s3_op_finish(op, ERR_DENIED, NULL);
}

static enum err send_built(struct s3_op *op, const struct built *b)
{
    const struct s3_store *s = s3_of(op);
    const struct s3_request *r = &op->request;
    struct http_call_options options = {
        .method = r->method,
        .url = b->url.data,
        .headers = b->headers,
        .body = r->body,
        .max_body = ANSWER_MAX,
        .stall_ms = s->stall_ms,
        .ca_file = s->ca_file,
        .upload = r->from != NULL,
        .upload_size = r->size,
        .read = on_read,
        .data = r->streams ? on_data : NULL,
        .header = on_header,
    };
    return http_client_send(s->http, &options, on_answer, op, &op->call);
}

static void try_now(struct s3_op *op)
{
    if (op->working) { /* a piece of the try before is still being read */
        op->resend = true;
        return;
    }
    const struct s3_keys *keys = s3_credentials_get(s3_of(op)->credentials, on_keys, op);
    if (!keys)
        return;
    struct built b = {.memory = ARENA_INIT(64 << 10), .url = BUF_INIT(8192)};
    op->head = (struct s3_head){.length = 0};
    op->sent = op->piece_at = op->piece_len = 0;
    if (op->request.from && !op->piece)
        op->piece = malloc(S3_PIECE);
    enum err e = op->request.from && !op->piece ? ERR_NOMEM : build(op, keys, &b);
    e = e ? e : send_built(op, &b);
    arena_free(&b.memory);
    buf_free(&b.url);
    if (e)
        s3_op_fail(op, ERR_NOMEM, "out of memory");
}

void s3_send(struct s3_op *op, void (*answered)(struct s3_op *op, int status, struct str body))
{
    op->answered = answered;
    try_now(op);
}
