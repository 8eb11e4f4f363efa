/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of the HTTP server as a state machine over any transport: bytes in, bytes out, deadlines.
   Private to lib/io (http_server.h is the interface); apart from it so that unit tests can drive it without a
   socket. */
#ifndef MILLRACE_IO_HTTP_CONN_H
#define MILLRACE_IO_HTTP_CONN_H

#include "base/list.h"
#include "io/http/chunked.h"
#include "io/http/head.h"
#include "io/http/server.h"
#include "io/http/ws_frame.h"

enum {
    CONN_MAGIC = 0x4854434e,
    CONN_OUT_PRE = 32,              /* free bytes before what is written, as libwebsockets wants them */
    CONN_IN_MAX = 64 * 1024,        /* pipelined bytes kept while a request is answered */
    CONN_HIGH_WATER = 64 * 1024,    /* a stream's writer is told to stop */
    CONN_OVER_MARK = 256 * 1024,    /* a writer that does not stop loses its client */
    CONN_PENDING_MOST = 256 * 1024, /* answers that wait, above which no further request is served */
    CONN_REPLY_MAX = 512 * 1024 * 1024,
    CONN_WRITE_PIECE = 64 * 1024,
    CONN_BODY_STEP = 16 * 1024,
    CONN_STREAM_STEP_MAX = 512 * 1024,    /* of a streamed body at a time: all that `in` may hold */
    CONN_BODIES_MOST = 512 * 1024 * 1024, /* of all connections together; above it 503 */
    CONN_LINGER_MS = 2000,
    CONN_LINGER_BYTES = 64 * 1024 * 1024,
    CONN_WS_PING_MS = 30 * 1000,
};

/* The transport. `blocked`: it kept some of the bytes; write no more before conn_writable(). */
struct conn_wire {
    bool (*write)(void *wire, char *bytes, size_t n, bool *ret_blocked); /* false: broken */
    void (*want_writable)(void *wire);
    void (*read_on)(void *wire, bool on);
    void (*finish_writing)(void *wire); /* FIN */
    void (*close)(void *wire);          /* conn_gone() follows later, never inside this call */
};

/* What all connections of a server share. */
struct conn_env {
    struct http_server_options options;
    const struct conn_wire *ops;
    struct http_server_stats stats;
    struct list conns;
    bool draining;
    size_t body_bytes; /* of all bodies that are being read or worked on */
    int64_t date_second;
    char date[32];
};

enum conn_state {
    CONN_HEAD,    /* between requests, or within a head */
    CONN_BODY,    /* within a body */
    CONN_HANDLER, /* the handler has the request */
    CONN_STREAM,  /* the handler writes a reply in pieces */
    CONN_WS,
    CONN_LAST,   /* the last reply is on its way out; nothing more is read as a request */
    CONN_LINGER, /* FIN sent; what comes is thrown away until the peer's FIN */
    CONN_DEAD,   /* the transport was told to close */
};

struct http_conn;

struct http_request {
    struct http_conn *conn;
    struct arena arena;
    struct http_head head;
    struct http_target target;
    struct chunked chunked;
    struct buf body;
    uint64_t body_left; /* of a body with a length */
    size_t max_body;
    struct id id;
    int64_t started_ns;
    void *user;
    void (*gone)(void *user, struct http_request *r);
    void (*drain)(void *user, struct http_request *r);
    void (*take)(void *user, struct http_request *r, struct str bytes); /* of a streamed body; else NULL */
    uint64_t taken;                                                     /* bytes of a streamed body */
    uint64_t reply_left;                                                /* of a reply with a length */
    bool body_complete, chunked_reply, sized_reply, drain_wanted, in_head, body_paused;
};

struct ws {
    struct http_conn *conn;
    const struct ws_callbacks *callbacks;
    void *user;
    struct ws_decoder decoder;
    bool close_sent, told_closed, drain_wanted, read_paused, pong_waits;
    int64_t rate_second, heard_ns;
    unsigned rate;
};

struct http_conn {
    unsigned magic;
    struct conn_env *env;
    void *wire;
    struct list node;
    enum conn_state state;
    struct buf in, out;
    size_t in_scanned, out_at;
    bool processing, blocked, reading;
    int64_t deadline_ns;       /* of the state; 0: none */
    int64_t write_deadline_ns; /* while bytes wait */
    size_t body_mark, lingered;
    char peer[46];
    struct http_request *request;
    struct ws *ws;
};

/* NULL without memory. The connection is in env->conns until conn_gone(). */
struct http_conn *conn_new(struct conn_env *env, void *wire, const char *peer);
void conn_received(struct http_conn *c, struct str bytes);
void conn_writable(struct http_conn *c);
void conn_tick(struct http_conn *c, int64_t now_ns);
void conn_drain(struct http_conn *c); /* the server leaves */
void conn_gone(struct http_conn *c);  /* the transport is closed; frees */

/* ---- between the files of a connection ---- */

/* http_conn.c: states and progress. */
int64_t conn_deadline(int ms);
void conn_set_state(struct http_conn *c, enum conn_state state);
void conn_process(struct http_conn *c);
void conn_close(struct http_conn *c);
void conn_request_free(struct http_conn *c);

/* http_intake.c: one step of progress each; false: nothing to be done now. */
bool conn_step_head(struct http_conn *c);
bool conn_step_body(struct http_conn *c);

/* http_output.c */
size_t conn_pending(const struct http_conn *c);
void conn_out_begin(struct http_conn *c); /* before appending to c->out: keeps the free bytes in front */
void conn_flush(struct http_conn *c);
void conn_end_output(struct http_conn *c);
void conn_set_reading(struct http_conn *c);

/* http_reply.c: an answer that the server gives itself. Nothing more is read from this connection. */
void conn_refuse(struct http_conn *c, int status, const char *details);

/* http_ws.c */
bool conn_step_ws(struct http_conn *c);
void conn_ws_tick(struct http_conn *c, int64_t now_ns);
void conn_ws_drained(struct http_conn *c);
void conn_ws_leave(struct http_conn *c);
void conn_ws_gone(struct http_conn *c);

#endif
