/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to Redis on the caller's uv loop: TCP, TLS or unix socket; RESP2; pipelined. hiredis is the codec.
   It connects, and after a loss connects again with a growing pause (10 ms to 1 s), until closed.
   Replies are bounded (max_reply bytes, 1 M elements, 7 levels): beyond that the connection is dropped, so that a
   reply is never paired with the wrong command. */
#ifndef MILLRACE_IO_REDIS_REDIS_H
#define MILLRACE_IO_REDIS_REDIS_H

#include "base/str.h"

#include <uv.h>

/* ---- address ---- */

/* redis://[user:password@]host[:port][/db], rediss:// (TLS), unix:///path[?db=N]. Percent escapes in user and
   password. Strings are owned by the caller's struct. */
struct redis_url {
    bool tls, local; /* local: `host` is the path of a unix socket */
    char host[256];
    uint16_t port;
    char user[128], password[256];
    uint32_t db;
};
/* ERR_INVALID; `info` never shows the password. */
MUST_CHECK enum err redis_url_parse(struct str text, struct redis_url *ret_url, struct errinfo *info);

/* ---- replies ---- */

enum redis_type { REDIS_NIL, REDIS_STRING, REDIS_STATUS, REDIS_ERROR, REDIS_INTEGER, REDIS_ARRAY };

/* Valid until the callback that was given it returns. */
struct redis_value {
    enum redis_type type;
    int64_t integer;           /* REDIS_INTEGER */
    struct str text;           /* STRING, STATUS, ERROR; NUL-terminated behind */
    struct redis_value *items; /* ARRAY */
    size_t count;
};

/* Accessors that never fail: a missing or other value gives the empty view, 0, or a nil value. */
const struct redis_value *redis_item(const struct redis_value *v, size_t index);
struct str redis_text(const struct redis_value *v);
int64_t redis_integer(const struct redis_value *v); /* INTEGER, or decimal text */

/* ---- connection ---- */

struct redis;

struct redis_options {
    struct redis_url url;
    const char *ca_file; /* NULL: the system's (TLS) */
    int connect_timeout_ms, command_timeout_ms;
    size_t max_reply; /* 0: 80 MiB */
    /* up: usable from now on. Down: `why` is one line without secrets; pending commands got NULL before. */
    void (*on_state)(void *arg, bool up, const char *why);
    /* Messages of a connection in subscribe mode. NULL: it is a command connection. */
    void (*on_message)(void *arg, struct str channel, struct str payload);
    void *arg;
};

MUST_CHECK enum err redis_open(uv_loop_t *loop, const struct redis_options *options, struct redis **ret_redis,
                               struct errinfo *info);
/* Pending commands get NULL inside this call, after which nothing is called back but `closed` (may be NULL). */
void redis_close(struct redis *r, void (*closed)(void *arg), void *arg);
bool redis_up(const struct redis *r);
/* Drop the connection and connect again (READONLY after a failover, a store that answers nonsense). */
void redis_reset(struct redis *r, const char *why);

/* `value` NULL: the connection was lost before the answer came; the command may have been executed. */
typedef void (*redis_cb)(void *arg, const struct redis_value *value);

/* Queues one command. ERR_CLOSED when not up, ERR_FULL above 64 MiB unsent or 64 K unanswered: then there is no
   callback. timeout_ms 0: the connection's; for blocking commands give the block time and some more. */
MUST_CHECK enum err redis_command(struct redis *r, const struct str *args, size_t count, int timeout_ms,
                                  redis_cb cb, void *arg);

/* Subscribe mode (on_message given). The callback gets the confirmation, or NULL. After a loss nothing is
   subscribed any more: subscribe again when on_state says up. */
MUST_CHECK enum err redis_subscribe(struct redis *r, struct str channel, redis_cb cb, void *arg);
MUST_CHECK enum err redis_unsubscribe(struct redis *r, struct str channel);

#endif
