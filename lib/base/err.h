/* SPDX-License-Identifier: Apache-2.0 */
/* Error values. Functions that may fail return `enum err`; outputs are untouched on failure.
   Where a person needs the sentence, the failing call fills a `struct errinfo`, callers add context with
   errinfo_wrap() on the way up, and the top logs it once. */
#ifndef MILLRACE_BASE_ERR_H
#define MILLRACE_BASE_ERR_H

#define MUST_CHECK              __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

/* New rows go at the end. */
#define ERR_TABLE(X)                                                                                         \
    X(OK, "ok")                                                                                              \
    X(INVALID, "invalid input")                                                                              \
    X(RANGE, "out of range")                                                                                 \
    X(NOMEM, "out of memory")                                                                                \
    X(FULL, "limit reached")                                                                                 \
    X(AGAIN, "not ready, try again")                                                                         \
    X(NOT_FOUND, "not found")                                                                                \
    X(EXISTS, "already exists")                                                                              \
    X(CLOSED, "closed")                                                                                      \
    X(TIMEOUT, "timed out")                                                                                  \
    X(PROTOCOL, "protocol violation by the peer")                                                            \
    X(DENIED, "not permitted")                                                                               \
    X(UNSUPPORTED, "not supported here")                                                                     \
    X(CONFLICT, "conflicts with the present state")                                                          \
    X(IO, "input/output error")                                                                              \
    X(SYSTEM, "system call failed")                                                                          \
    X(UNAVAILABLE, "not available now")                                                                      \
    X(CORRUPT, "damaged")

enum err {
#define X(name, text) ERR_##name,
    ERR_TABLE(X)
#undef X
};
#define ERR_COUNT (ERR_CORRUPT + 1)

struct errinfo {
    enum err code;
    int sys;        /* errno of the failing call, or 0 */
    char text[256]; /* UTF-8, one line, without secrets */
};

/* Static text for `e`; never NULL. */
const char *err_text(enum err e);

/* Fill `info` (may be NULL) and return `code`. `sys` is an errno or 0. Text over the bound is cut. */
enum err errinfo_set(struct errinfo *info, enum err code, int sys, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Put context before what is there: "context: text". Returns info->code (ERR_SYSTEM when info is NULL). */
enum err errinfo_wrap(struct errinfo *info, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
