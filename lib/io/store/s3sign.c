/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store/s3sign.h"

#include "base/percent.h"

#include "io/crypto.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CANONICAL_MAX = 64 << 10 };

void s3sign_date(int64_t wall_ms, char ret_date[S3_DATE_SIZE])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(ret_date, S3_DATE_SIZE, "%Y%m%dT%H%M%SZ", &tm);
}

static int compare_pairs(const void *a, const void *b)
{
    const struct s3sign_pair *x = a, *y = b;
    int by_name = strcmp(x->name, y->name);
    return by_name ? by_name : strcmp(x->value, y->value);
}

/* Sorted by what is sent: encoding keeps the order of what we send but not of every byte, so the encoded texts are
   compared. */
static void append_query(const struct s3sign_request *r, struct buf *out)
{
    struct buf texts[2 * S3SIGN_PAIRS_MAX];
    struct s3sign_pair pairs[S3SIGN_PAIRS_MAX];
    assert(r->query_count <= S3SIGN_PAIRS_MAX);
    for (size_t i = 0; i < r->query_count; i++) {
        buf_init(&texts[2 * i], CANONICAL_MAX);
        buf_init(&texts[2 * i + 1], CANONICAL_MAX);
        percent_encode(&texts[2 * i], r->query[i].name, false);
        percent_encode(&texts[2 * i + 1], r->query[i].value, false);
        pairs[i] =
            (struct s3sign_pair){.name = buf_cstr(&texts[2 * i]), .value = buf_cstr(&texts[2 * i + 1])};
    }
    if (r->query_count)
        qsort(pairs, r->query_count, sizeof *pairs, compare_pairs);
    for (size_t i = 0; i < r->query_count; i++)
        buf_printf(out, "%s%s=%s", i ? "&" : "", pairs[i].name, pairs[i].value);
    for (size_t i = 0; i < 2 * r->query_count; i++)
        buf_free(&texts[i]);
}

void s3sign_target(const struct s3sign_request *r, struct buf *out)
{
    percent_encode(out, r->path, true);
    if (r->query_count)
        buf_append_char(out, '?');
    append_query(r, out);
}

static void sort_headers(const struct s3sign_request *r, struct s3sign_pair *out)
{
    assert(r->header_count <= S3SIGN_PAIRS_MAX);
    memcpy(out, r->headers, r->header_count * sizeof *out);
    qsort(out, r->header_count, sizeof *out, compare_pairs);
}

static void append_signed_names(const struct s3sign_pair *headers, size_t count, struct buf *out)
{
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s%s", i ? ";" : "", headers[i].name);
}

static void append_canonical(const struct s3sign_request *r, const struct s3sign_pair *headers,
                             struct buf *out)
{
    buf_printf(out, "%s\n", r->method);
    percent_encode(out, r->path, true);
    buf_append_char(out, '\n');
    append_query(r, out);
    buf_append_char(out, '\n');
    for (size_t i = 0; i < r->header_count; i++)
        buf_printf(out, "%s:%s\n", headers[i].name, headers[i].value);
    buf_append_char(out, '\n');
    append_signed_names(headers, r->header_count, out);
    buf_printf(out, "\n%s", r->payload_sha256);
}

static struct sha256 mac(const struct sha256 *key, struct str text)
{
    return hmac_sha256((struct str){.p = (const char *)key->bytes, .n = SHA256_LEN}, text);
}

static struct sha256 signing_key(const struct s3sign_request *r)
{
    auto_buf secret = BUF_INIT(CANONICAL_MAX);
    buf_printf(&secret, "AWS4%s", r->secret_key);
    struct sha256 key = hmac_sha256(buf_str(&secret), (struct str){.p = r->date, .n = 8});
    key = mac(&key, str_of(r->region));
    key = mac(&key, str_of(r->service));
    return mac(&key, STR("aws4_request"));
}

void s3sign(const struct s3sign_request *r, struct buf *out)
{
    struct s3sign_pair headers[S3SIGN_PAIRS_MAX];
    char hash[SHA256_HEX_LEN + 1];
    auto_buf text = BUF_INIT(CANONICAL_MAX);
    auto_buf scope = BUF_INIT(1024);
    sort_headers(r, headers);
    append_canonical(r, headers, &text);
    struct sha256 canonical = sha256_of(buf_str(&text));
    sha256_hex(&canonical, hash);
    buf_printf(&scope, "%.8s/%s/%s/aws4_request", r->date, r->region, r->service);
    buf_reset(&text);
    buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", r->date, buf_cstr(&scope), hash);
    struct sha256 key = signing_key(r), signature = mac(&key, buf_str(&text));
    sha256_hex(&signature, hash);
    buf_printf(out, "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=", r->access_key, buf_cstr(&scope));
    append_signed_names(headers, r->header_count, out);
    buf_printf(out, ", Signature=%s", hash);
}
