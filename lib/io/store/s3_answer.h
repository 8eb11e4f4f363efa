/* SPDX-License-Identifier: Apache-2.0 */
/* The XML of S3's answers. Pure. */
#ifndef MILLRACE_IO_STORE_S3_ANSWER_H
#define MILLRACE_IO_STORE_S3_ANSWER_H

#include "base/buf.h"

enum { S3_CODE_MAX = 64, S3_MESSAGE_MAX = 160, S3_UPLOAD_ID_MAX = 1024 };

struct s3_error {
    char code[S3_CODE_MAX + 1]; /* "" when the body has none */
    char message[S3_MESSAGE_MAX + 1];
};
/* False: it is no <Error>. */
bool s3_read_error(struct str body, struct s3_error *ret_error);

/* The text of the element `name` directly below the root `root`. ERR_PROTOCOL: not well-formed, another root, not
   exactly one such element, or longer than `size` less one. */
MUST_CHECK enum err s3_read_value(struct str body, const char *root, const char *name, char *ret_text,
                                  size_t size);

/* One <Contents> of a listing, or one <Upload>. */
struct s3_listed {
    const char *key, *upload_id;
    uint64_t size;
    int64_t time_ms; /* LastModified or Initiated */
};
/* `entry` for each in the order of the answer; what it returns other than ERR_OK ends the reading and is returned. */
MUST_CHECK enum err s3_read_list(struct str body, bool *ret_truncated,
                                 enum err (*entry)(void *arg, const struct s3_listed *listed), void *arg);

/* 2013-05-24T00:00:00.000Z */
MUST_CHECK enum err s3_read_time(struct str text, int64_t *ret_wall_ms);
/* Fri, 24 May 2013 00:00:00 GMT */
MUST_CHECK enum err s3_read_http_time(struct str text, int64_t *ret_wall_ms);

#endif
