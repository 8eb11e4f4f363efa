/* SPDX-License-Identifier: Apache-2.0 */
/* AWS Signature Version 4. Pure: the time comes from the caller. */
#ifndef MILLRACE_IO_STORE_S3SIGN_H
#define MILLRACE_IO_STORE_S3SIGN_H

#include "base/buf.h"

#define S3_EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

enum { S3SIGN_PAIRS_MAX = 16, S3_DATE_SIZE = 17 };

/* Of the query (neither encoded yet) or of the header (name in small letters, value without spaces around it). */
struct s3sign_pair {
    const char *name, *value;
};

struct s3sign_request {
    const char *method;
    const char *path; /* begins with '/', not encoded */
    const struct s3sign_pair *query, *headers;
    size_t query_count,
        header_count; /* at most S3SIGN_PAIRS_MAX each; `host` and x-amz-date are among the headers */
    const char *payload_sha256; /* in hex */
    const char *date;           /* s3sign_date() */
    const char *region, *service;
    const char *access_key, *secret_key;
};

/* 20130524T000000Z */
void s3sign_date(int64_t wall_ms, char ret_date[S3_DATE_SIZE]);
/* Appends the value of Authorization. */
void s3sign(const struct s3sign_request *r, struct buf *out);
/* Appends the path, and with `query` "?name=value&...", as they are signed and must be sent. */
void s3sign_target(const struct s3sign_request *r, struct buf *out);

#endif
