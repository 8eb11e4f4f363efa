/* SPDX-License-Identifier: Apache-2.0 */
/* The object store on S3 and what speaks like it: opening, and the operations of one request. */
#include "io/store/s3.h"

#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STALL_MS = 20000, EMPTY_PAGES_MAX = 1000 };
static const uint64_t PART_SIZE = 16 << 20, PART_LEAST = 5 << 20;

/* ---- head, delete, check ---- */

bool s3_headed(struct s3_op *op, int status)
{
    if (status == 404)
        s3_op_fail(op, ERR_NOT_FOUND, "no such object");
    else if (status != 200 || !op->head.has_length)
        s3_unexpected(op, status);
    else {
        op->meta = (struct object_meta){.size = op->head.length, .time_ms = op->head.time_ms};
        return true;
    }
    return false;
}

static void on_headed(struct s3_op *op, int status, struct str body)
{
    (void)body;
    if (!s3_headed(op, status))
        return;
    s3_op_finish(op, ERR_OK, NULL);
}

static void begin_head(struct s3_op *op)
{
    s3_request(op, "HEAD", op->key);
    s3_send(op, on_headed);
}

static void on_deleted(struct s3_op *op, int status, struct str body)
{
    (void)body;
    if (status == 204 || status == 200 || status == 404)
        s3_op_finish(op, ERR_OK, NULL);
    else
        s3_unexpected(op, status);
}

static void begin_delete(struct s3_op *op)
{
    s3_request(op, "DELETE", op->key);
    s3_send(op, on_deleted);
}

static void on_checked(struct s3_op *op, int status, struct str body)
{
    (void)body;
    if (status == 200) {
        s3_op_finish(op, ERR_OK, NULL);
        return;
    }
    if (status == 404)
        s3_of(op)->setup = S3_SETUP_NONE; /* the next operation makes the bucket again */
    s3_unexpected(op, status);
}

static void begin_check(struct s3_op *op)
{
    s3_request(op, "HEAD", NULL);
    s3_send(op, on_checked);
}

static enum err start(struct object_store *store, const char *key, void (*begin)(struct s3_op *op),
                      object_cb cb, void *arg, struct object_op **ret_op)
{
    struct s3_op *op;
    enum err e = s3_op_new(store, key, begin, cb, arg, &op);
    if (e)
        return e;
    s3_op_start(op);
    *ret_op = &op->base;
    return ERR_OK;
}

static enum err s3_head_object(struct object_store *store, const char *key, object_cb cb, void *arg,
                               struct object_op **ret_op)
{
    return start(store, key, begin_head, cb, arg, ret_op);
}

static enum err s3_remove(struct object_store *store, const char *key, object_cb cb, void *arg,
                          struct object_op **ret_op)
{
    return start(store, key, begin_delete, cb, arg, ret_op);
}

static enum err s3_check(struct object_store *store, object_cb cb, void *arg, struct object_op **ret_op)
{
    return start(store, "", begin_check, cb, arg, ret_op);
}

/* ---- list ---- */

struct s3_listing {
    char prefix[OBJECT_KEY_MAX + 2], after[OBJECT_KEY_MAX + 1], limit_text[8];
    unsigned limit;
    struct store_page page;
};

static enum err on_entry(void *arg, const struct s3_listed *listed)
{
    struct s3_listing *l = arg;
    if (l->page.count == l->limit || strcmp(listed->key, l->after) <= 0 ||
        strncmp(listed->key, l->prefix, strlen(l->prefix)) != 0)
        return ERR_PROTOCOL;
    char *copy = strdup(listed->key);
    if (!copy)
        return ERR_NOMEM;
    l->page.entries[l->page.count++] =
        (struct object_entry){.key = copy, .meta = {.size = listed->size, .time_ms = listed->time_ms}};
    snprintf(l->after, sizeof l->after, "%s", listed->key);
    return ERR_OK;
}

static void on_listed(struct s3_op *op, int status, struct str body)
{
    struct s3_listing *l = op->kind;
    bool truncated = false;
    if (status != 200) {
        s3_unexpected(op, status);
        return;
    }
    enum err e = s3_read_list(body, &truncated, on_entry, l);
    if (e) {
        s3_op_fail(op, e == ERR_NOMEM ? e : ERR_CORRUPT, "the store's list is malformed");
        return;
    }
    /* A page of names that are not ours has nothing to go on from: the bucket is said to be ours alone. */
    struct object_page page = {.entries = l->page.entries,
                               .count = l->page.count,
                               .next = truncated && l->page.count > 0 ? l->after : NULL};
    s3_op_finish(op, ERR_OK, &page);
}

static void begin_list(struct s3_op *op)
{
    struct s3_listing *l = op->kind;
    s3_request(op, "GET", NULL);
    s3_query(op, "list-type", "2");
    s3_query(op, "max-keys", l->limit_text);
    s3_query(op, "prefix", l->prefix);
    if (l->after[0])
        s3_query(op, "start-after", l->after);
    s3_send(op, on_listed);
}

static void release_list(struct s3_op *op)
{
    struct s3_listing *l = op->kind;
    store_page_release(&l->page);
}

static enum err s3_list(struct object_store *store, const char *prefix, const char *cursor, unsigned limit,
                        object_cb cb, void *arg, struct object_op **ret_op)
{
    struct s3_listing *l = calloc(1, sizeof *l);
    struct object_entry *entries = calloc(limit, sizeof *entries);
    if (!l || !entries || start(store, "", begin_list, cb, arg, ret_op)) {
        free(l);
        free(entries);
        return ERR_NOMEM;
    }
    l->limit = limit;
    l->page.entries = entries;
    snprintf(l->prefix, sizeof l->prefix, "%s", prefix);
    snprintf(l->after, sizeof l->after, "%s", cursor);
    snprintf(l->limit_text, sizeof l->limit_text, "%u", limit);
    struct s3_op *op = container_of(*ret_op, struct s3_op, base);
    op->kind = l;
    op->release = release_list;
    return ERR_OK;
}

/* ---- opening and closing ---- */

static bool s3_can_put_if_absent(struct object_store *store)
{
    const struct s3_store *s = container_of(store, struct s3_store, base);
    return s->conditional || s->setup != S3_SETUP_DONE;
}

static void s3_free(struct s3_store *s)
{
    free(s->url);
    free(s->host);
    free(s->bucket);
    free(s->region);
    free(s->ca_file);
    free(s);
}

static void on_http_closed(void *arg)
{
    struct s3_store *s = arg;
    void (*closed)(void *arg) = s->base.closed;
    void *closed_arg = s->base.closed_arg;
    s3_free(s);
    if (closed)
        closed(closed_arg);
}

static void s3_close(struct object_store *store)
{
    struct s3_store *s = container_of(store, struct s3_store, base);
    s3_credentials_close(s->credentials);
    http_client_close(s->http, on_http_closed, s);
}

/* Letters, digits, '.' and '-', and a port; IPv6 in brackets. */
static bool endpoint_valid(const char *endpoint)
{
    size_t n = strlen(endpoint);
    return n > 0 && n < 256 &&
           strspn(endpoint, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") == n;
}

/* As S3 has it, without dots, which TLS names would not cover. */
static bool bucket_valid(const char *bucket)
{
    size_t n = strlen(bucket);
    return n >= 3 && n <= 63 && bucket[0] != '-' && bucket[n - 1] != '-' &&
           strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-.") == n;
}

static enum err check_options(const struct object_store_s3 *o, struct errinfo *info)
{
    const char *key = o->access_key ? o->access_key : "", *secret = o->secret_key ? o->secret_key : "";
    if (!o->endpoint || !endpoint_valid(o->endpoint))
        return errinfo_set(info, ERR_INVALID, 0,
                           "the endpoint must be host[:port], without a scheme or a path");
    if (!o->bucket || !bucket_valid(o->bucket))
        return errinfo_set(info, ERR_INVALID, 0, "the bucket's name must be 3 to 63 of a-z 0-9 . -");
    if (!o->region || !o->region[0] ||
        strspn(o->region, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(o->region))
        return errinfo_set(info, ERR_INVALID, 0, "the region must be of a-z 0-9 -");
    if (!o->use_iam && (!key[0] || !secret[0]))
        return errinfo_set(info, ERR_INVALID, 0, "access key and secret key are needed, or the role of IAM");
    if (o->part_size && o->part_size < PART_LEAST)
        return errinfo_set(info, ERR_INVALID, 0, "parts must have 5 MiB at least");
    return ERR_OK;
}

static char *print(const char *a, const char *b, const char *c)
{
    size_t n = strlen(a) + strlen(b) + strlen(c) + 1;
    char *text = malloc(n);
    if (text)
        snprintf(text, n, "%s%s%s", a, b, c);
    return text;
}

static enum err fill(struct s3_store *s, const struct object_store_options *options)
{
    const struct object_store_s3 *o = &options->s3;
    const char *ca_file = text_or_null(o->ca_file);
    s->host = o->virtual_host ? print(o->bucket, ".", o->endpoint) : print(o->endpoint, "", "");
    s->url = s->host ? print(o->secure ? "https://" : "http://", s->host, "") : NULL;
    s->bucket = strdup(o->bucket);
    s->region = strdup(o->region);
    s->ca_file = ca_file ? strdup(ca_file) : NULL;
    s->base.spool_folder = strdup(options->path && options->path[0] ? options->path : "/var/tmp");
    if (!s->url || !s->bucket || !s->region || !s->base.spool_folder || (ca_file && !s->ca_file))
        return ERR_NOMEM;
    /* libcurl leaves the scheme's own port out of Host. */
    char *port = strrchr(s->host, ':');
    if (port && !strcmp(port, o->secure ? ":443" : ":80"))
        *port = '\0';
    s->virtual_host = o->virtual_host;
    s->stall_ms = o->timeout_ms ? o->timeout_ms : STALL_MS;
    s->part_size = o->part_size ? o->part_size : PART_SIZE;
    random_bytes(&s->random, sizeof s->random);
    return ERR_OK;
}

static const struct store_ops s3_ops = {
    .name = "s3",
    .put = s3_put,
    .get = s3_get,
    .head = s3_head_object,
    .remove = s3_remove,
    .list = s3_list,
    .check = s3_check,
    .sweep = s3_sweep,
    .can_put_if_absent = s3_can_put_if_absent,
    .close = s3_close,
};

enum err store_s3_open(uv_loop_t *loop, const struct object_store_options *options,
                       struct object_store **ret_store, struct errinfo *info)
{
    const struct object_store_s3 *o = &options->s3;
    struct s3_keys keys = {.access_key = o->use_iam ? NULL : o->access_key,
                           .secret_key = o->secret_key,
                           .session_token = o->session_token ? o->session_token : ""};
    enum err e = check_options(o, info);
    if (e)
        return e;
    struct s3_store *s = calloc(1, sizeof *s);
    if (!s)
        return errinfo_set(info, ERR_NOMEM, 0, "out of memory");
    store_init(&s->base, &s3_ops, loop);
    list_init(&s->waiting);
    e = fill(s, options);
    e = e ? e : http_client_open(loop, &s->http);
    if (!e && (e = s3_credentials_open(s->http, &keys, s->region, &s->credentials)))
        http_client_close(s->http, NULL, NULL);
    if (e) {
        free(s->base.spool_folder);
        s3_free(s);
        return errinfo_set(info, e, 0, "cannot open the client of the object store");
    }
    *ret_store = &s->base;
    return ERR_OK;
}
