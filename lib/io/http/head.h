/* SPDX-License-Identifier: Apache-2.0 */
/* The head of an HTTP/1 request, read strictly (RFC 9110, 9112): what two parsers could read differently is
   refused. And the path and query of its target. Pure. */
#ifndef MILLRACE_IO_HTTP_HEAD_H
#define MILLRACE_IO_HTTP_HEAD_H

#include "base/arena.h"
#include "base/buf.h"

enum { HTTP_HEAD_MAX = 16 * 1024, HTTP_LINE_MAX = 8 * 1024, HTTP_HEADERS_MAX = 100, HTTP_QUERY_MAX = 32 };

enum http_framing { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED };

struct http_pair {
    struct str name, value;
};

struct http_head {
    struct str method, target; /* views of the text that was parsed */
    unsigned minor;            /* HTTP/1.minor: 0 or 1 */
    struct http_pair headers[HTTP_HEADERS_MAX];
    unsigned header_count;
    enum http_framing framing;
    uint64_t content_length;
    bool keep_alive, expect_continue;
    bool connection_upgrade; /* `upgrade` stands in Connection */
};

/* Why a request is refused; the connection closes after the answer. */
struct http_refusal {
    int status;
    const char *details; /* static */
};

/* Looks for the end of a head in `in`; *scanned (0 at first) is where to look on when more has come.
   ERR_OK: *ret_length is the head's length, the empty line included. ERR_AGAIN. ERR_PROTOCOL: refused
   already. */
MUST_CHECK enum err http_head_end(struct str in, size_t *scanned, size_t *ret_length,
                                  struct http_refusal *refusal);

/* `text` is a whole head as http_head_end() found it. ERR_PROTOCOL with the refusal. */
MUST_CHECK enum err http_head_parse(struct str text, struct http_head *ret_head,
                                    struct http_refusal *refusal);

/* {NULL, 0} when absent; *ret_count (may be NULL) is how often it came. */
struct str http_head_find(const struct http_head *head, struct str name, unsigned *ret_count);
/* Whether the comma-separated `list` has `token` (any case). */
bool http_list_has(struct str list, struct str token);

struct http_target {
    struct str path; /* decoded once, slashes collapsed, UTF-8, no NUL or control, no dot segments */
    struct http_pair query[HTTP_QUERY_MAX]; /* decoded */
    unsigned query_count;
};

/* Origin form, or absolute form of http and https whose authority is dropped. Strings are made in `arena`.
   ERR_PROTOCOL with the refusal. */
MUST_CHECK enum err http_target_parse(struct str target, struct arena *arena, struct http_target *ret_target,
                                      struct http_refusal *refusal);

/* The reason phrase of a status; "Unknown" otherwise. */
const char *http_status_text(int status);

#endif
