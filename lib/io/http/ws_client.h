/* SPDX-License-Identifier: Apache-2.0 */
/* A WebSocket from our side, over a raw connection of http_client (so with TLS where the URL says https). Text
   messages only; pings are answered, and sent: a peer that says nothing for half a minute is gone. */
#ifndef MILLRACE_IO_HTTP_WS_CLIENT_H
#define MILLRACE_IO_HTTP_WS_CLIENT_H

#include "io/http/client.h"

struct ws_client;

struct ws_client_options {
    const char *url; /* http://, https:// */
    const char *const *headers;
    const char *ca_file; /* NULL: the system's */
    size_t max_message;  /* 0: 1 MiB */
    void (*on_open)(void *arg);
    void (*on_message)(void *arg, struct str text);
    void (*on_drain)(void *arg); /* everything that was sent has left; may be NULL */
    /* Once, the last call; the ws is gone when it returns. A close by the peer: ERR_CLOSED and its code. A refused
       upgrade: ERR_DENIED, the HTTP status as `code`, the body as `why`. Otherwise ERR_IO, ERR_TIMEOUT, ERR_PROTOCOL. */
    void (*on_closed)(void *arg, enum err e, unsigned code, struct str why);
    void *arg;
};

MUST_CHECK enum err ws_client_open(uv_loop_t *loop, struct http_client *http,
                                   const struct ws_client_options *options, struct ws_client **ret_ws);
/* Copies. False: more waits than the connection takes now, go on at on_drain (it is kept, up to 1 MiB; beyond it the
   connection ends with ERR_FULL). */
bool ws_client_send(struct ws_client *ws, struct str text);
void ws_client_pause(struct ws_client *ws); /* reads no more until resumed; what was read still comes */
void ws_client_resume(struct ws_client *ws);
/* Drops the connection; no callback after it returns. Not inside on_closed; before http_client_close(). */
void ws_client_drop(struct ws_client *ws);

#endif
