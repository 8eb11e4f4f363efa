/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 and WebSocket on the caller's uv loop. libwebsockets accepts, polls and writes (its raw role);
   head, body framing and WebSocket frames are read by the strict pure parsers http_head, chunked and
   ws_frame. One request at a time for each connection, so pipelined ones are answered in order. Everything is
   bounded: head 16 KiB, body by the handler's limit, output by back-pressure, connections by number (one more is
   answered 503), every phase by a deadline.

     #include "io/http/server.h"
     static void on_request(void *arg, struct http_request *r) { http_reply(r, 200, "text/plain", NULL,
   STR("ok\n")); } struct http_server_options o = {.address = "127.0.0.1", .port = 0, .on_request =
   on_request}; http_server_open(loop, &o, &server, &info);   port = http_server_port(server); */
#ifndef MILLRACE_IO_HTTP_SERVER_H
#define MILLRACE_IO_HTTP_SERVER_H

#include "base/buf.h"
#include "base/id.h"

#include <uv.h>

struct http_server;
/* Lives from on_head until its reply was begun and ended, or its client went away. */
struct http_request;
struct ws;

struct http_server_options {
    const char *address;      /* to listen at; NULL: all addresses */
    int port;                 /* 0: any free one, see http_server_port() */
    size_t max_body;          /* default limit of a body; 0: 64 KiB */
    unsigned max_connections; /* 0: by the limit of open files */
    int head_timeout_ms;      /* from the first byte to the end of a head; 0: 10 s */
    int body_timeout_ms;      /* at most this long without 16 KiB of a body's bytes; 0: 10 s */
    int idle_timeout_ms;      /* between requests; 0: 75 s */
    int write_timeout_ms;     /* a client that reads nothing of what waits for it; 0: 30 s */

    /* The head is complete, the body not yet read. May be NULL. May reply at once (an announced body then
       closes the connection), may set http_request_limit(). */
    void (*on_head)(void *arg, struct http_request *r);
    /* The body is complete. Must reply now or later, or upgrade. Not called when on_head replied. */
    void (*on_request)(void *arg, struct http_request *r);
    void *arg;
    /* Writes the JSON body of an error that the server itself answers (400, 408, 413, 431 ...). NULL: a short
       one of its own. */
    void (*write_error)(int status, const char *details, const char *request_id, struct buf *out);
    /* Adds header lines of its own ("Name: value\r\n") to every reply; `r` is NULL where there is no request yet. May be NULL. */
    void (*write_fields)(void *arg, const struct http_request *r, struct buf *out);
};

MUST_CHECK enum err http_server_open(uv_loop_t *loop, const struct http_server_options *options,
                                     struct http_server **ret_server, struct errinfo *info);
int http_server_port(const struct http_server *s);
/* Accepts no more, closes idle connections, answers what is in flight with `Connection: close`, closes
   WebSockets with 1001 after their on_leaving. Returns at once. */
void http_server_drain(struct http_server *s);
unsigned http_server_connections(const struct http_server *s);
/* Closes everything; requests in flight are told "gone". `closed` (may be NULL) runs on the loop when nothing
   of the server is left on it. */
void http_server_close(struct http_server *s, void (*closed)(void *arg), void *arg);

struct http_server_stats {
    uint64_t accepted, requests, refused_heads, timeouts, bytes_in, bytes_out;
    uint64_t responses[6]; /* by class: [2] = 2xx ...; [0] unused, [1] = upgrades */
    unsigned connections, websockets;
};
void http_server_stats(const struct http_server *s, struct http_server_stats *ret_stats);

/* ---- the request: views live as long as it does ---- */
struct str http_method(const struct http_request *r);
struct str
http_path(const struct http_request *r); /* decoded once, slashes collapsed, no dot segments, no NUL */
struct str http_target(const struct http_request *r); /* as sent, for logs */
/* {NULL, 0} when absent. Names of headers in any case. A header sent twice is found once (the first). */
struct str http_header(const struct http_request *r, const char *name);
unsigned http_header_count(const struct http_request *r, const char *name);
/* The decoded value of a query parameter; *ret_present may be NULL. A bad escape is refused before on_head.
 */
struct str http_query(const struct http_request *r, const char *name, bool *ret_present);
struct str http_body(const struct http_request *r);
/* For work in another thread, which the request may not outlive: the body becomes the caller's, who may give it back. */
void http_body_take(struct http_request *r, struct buf *ret_body);
void http_body_give(struct http_request *r, struct buf *body);
bool http_has_body(const struct http_request *r); /* in on_head: one was announced, and is not empty */
const char *
http_request_id(const struct http_request *r);         /* fresh, 21 characters; sent back as X-Request-Id */
const char *http_peer(const struct http_request *r);   /* numeric address without the port */
bool http_is_websocket(const struct http_request *r);  /* asks for an upgrade, correctly */
int64_t http_started_ns(const struct http_request *r); /* clock_mono_ns at the end of the head */

void http_request_limit(struct http_request *r, size_t max_body); /* in on_head only */
/* In on_head only: the body is not kept but handed to `take` in pieces; on_request follows it with an empty http_body().
   `take` may reply; then it is not called again. */
void http_body_stream(struct http_request *r,
                      void (*take)(void *user, struct http_request *r, struct str bytes));
/* While paused no more of a streamed body is taken (the client blocks), and the body's deadline rests. */
void http_body_pause(struct http_request *r, bool paused);
/* The handler's own. */
void http_set_user(struct http_request *r, void *user);
void *http_user(const struct http_request *r);
/* Told once when the client is gone (FIN counts) before the reply has ended; `r` is invalid when it returns.
 */
void http_on_gone(struct http_request *r, void (*gone)(void *user, struct http_request *r));

/* ---- the reply ---- */
struct http_field {
    const char *name, *value;
};
/* One whole reply; `fields` ends with {NULL, NULL} or is NULL. Content-Length, Date, X-Request-Id and the
   security headers are added. `r` is invalid afterwards. For HEAD the body is left out, its length kept. */
void http_reply(struct http_request *r, int status, const char *content_type, const struct http_field *fields,
                struct str body);

/* A reply in pieces (SSE, downloads): chunked, or until close for HTTP/1.0. */
void http_stream_begin(struct http_request *r, int status, const char *content_type,
                       const struct http_field *fields);
/* The same with a Content-Length; what is missing of it at http_stream_end() closes the connection. */
void http_stream_begin_sized(struct http_request *r, int status, const char *content_type,
                             const struct http_field *fields, uint64_t length);
/* Copies. False: so much waits for the client that the caller should stop until on_drain (it is kept, up to
   256 KiB over the mark; beyond it the client is dropped). */
bool http_stream_write(struct http_request *r, struct str piece);
size_t http_stream_pending(const struct http_request *r);
void http_on_drain(struct http_request *r, void (*drain)(void *user, struct http_request *r));
void http_stream_end(struct http_request *r); /* `r` is invalid afterwards */

/* ---- WebSocket ---- */
struct ws_callbacks {
    /* One whole message, UTF-8 checked when `text`. */
    void (*on_message)(void *user, struct ws *ws, bool text, struct str message);
    void (*on_drain)(void *user, struct ws *ws); /* room again after ws_send_text() said false */
    /* The server drains: send what is still to be said; the close 1001 follows at once. May be NULL. */
    void (*on_leaving)(void *user, struct ws *ws);
    /* Once, the last call: `code` is what the peer sent, 1006 without one. `ws` is invalid when it returns.
     */
    void (*on_closed)(void *user, struct ws *ws, unsigned code);
    size_t max_message;               /* 0: 64 KiB; larger ones close with 1009 */
    unsigned max_messages_per_second; /* 0: 500; more close with 1008 */
};
/* Answers 101; only after http_is_websocket(). `callbacks` must stay. NULL never; `r` is invalid afterwards.
 */
struct ws *http_upgrade(struct http_request *r, const struct ws_callbacks *callbacks, void *user);
bool ws_send_text(struct ws *ws, struct str text); /* as http_stream_write */
/* Reads no more messages until it is called again with false; the client's writes then block. */
void ws_pause_reading(struct ws *ws, bool pause);
/* Sends a close after what waits; on_closed follows when the peer answered, or after 2 s. Repeats do nothing.
 */
void ws_close(struct ws *ws, unsigned code, struct str reason);

#endif
