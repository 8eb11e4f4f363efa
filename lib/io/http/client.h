/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 requests from the caller's uv loop (libcurl's multi interface). Keep-alive connections are used
   again; every call has a deadline, and its answer a maximum. libcurl resolves names on a thread: a program
   that links this never forks without an immediate exec. */
#ifndef MILLRACE_IO_HTTP_CLIENT_H
#define MILLRACE_IO_HTTP_CLIENT_H

#include "base/buf.h"

#include <uv.h>

struct http_client;
struct http_call; /* lives until its callback returned or http_call_cancel() */

struct http_call_options {
    const char *method;           /* "GET", "POST" ... */
    const char *url;              /* http://, https:// */
    const char *const *headers;   /* "Name: value", ends with NULL; NULL: none */
    struct str body;              /* copied; {NULL, 0}: none */
    const char *unix_socket;      /* connect there instead of to the URL's host; NULL: no */
    int connect_timeout_ms;       /* 0: 5 s */
    int timeout_ms;               /* of the whole call; 0: none (the caller cancels) */
    size_t max_body;              /* of the answer; 0: 1 MiB. Above it the call fails with ERR_FULL */
    bool connect_only;            /* sends nothing; see http_raw_fd() */
    int stall_ms;                 /* the call fails with ERR_TIMEOUT after so long without a byte; 0: never */
    const char *ca_file;          /* who signs servers; NULL: the system's */
    struct str ca_pem;            /* the same as text, and wins; copied, as are the next two */
    struct str cert_pem, key_pem; /* who we are; {NULL, 0}: nobody */
    bool insecure;                /* whoever answers is the server */
    const char *connect_to; /* "HOST:PORT" in place of the URL's, which stays the server's name; NULL: no */
    bool keepalive;         /* the kernel asks every 15 s whether the peer is still there */

    /* A body that is asked for in pieces, `upload_size` bytes of them: at most `size` into `room`, 0 for "not now" until
       http_call_send_on(). It is sent once: a call that fails is begun anew by the caller. */
    bool upload;
    uint64_t upload_size;
    size_t (*read)(void *arg, char *room, size_t size);
    /* Pieces of an answer of status 200 to 299 instead of a body that is collected. False: not now; the same piece comes
       again some time after http_call_receive_on(). */
    bool (*data)(void *arg, int status, struct str bytes);
    void (*header)(void *arg, struct str name, struct str value); /* of the answer, as they come */
    void (*began)(void *arg, int status);                         /* the header of the answer is complete */
};

struct http_answer {
    int status;
    struct str body;
    const char *location; /* header Location, or NULL */
    int retry_after_s;    /* header Retry-After in seconds, or -1 */
};

/* `answer` is NULL unless e is ERR_OK (whatever the status is); `why` says in words what failed, else NULL.
   ERR_IO: no connection, or it broke. ERR_DENIED: its certificate does not fit. ERR_TIMEOUT. ERR_FULL. Never called before http_client_send() returned.
 */
typedef void (*http_call_cb)(void *arg, enum err e, const char *why, const struct http_answer *answer);

MUST_CHECK enum err http_client_open(uv_loop_t *loop, struct http_client **ret_client);
/* Calls in flight end without a callback; `closed` (may be NULL) runs on the loop when nothing is left on it.
 */
void http_client_close(struct http_client *c, void (*closed)(void *arg), void *arg);

MUST_CHECK enum err http_client_send(struct http_client *c, const struct http_call_options *options,
                                     http_call_cb cb, void *arg, struct http_call **ret_call);
/* See `read` and `data`. Neither is called from within; both may be called from within them. */
void http_call_send_on(struct http_call *call);
void http_call_receive_on(struct http_call *call);
void http_call_cancel(
    struct http_call *call); /* no callback after it returns; not inside any of its callbacks */

/* A call with connect_only is told ERR_OK and an answer without status once there is a connection (with TLS
   when the URL says https). It then lives until http_call_cancel(), which closes the connection; the caller
   polls the descriptor, and reads until ERR_AGAIN (TLS may hold bytes that the descriptor does not show). */
int http_raw_fd(struct http_call *call);
MUST_CHECK enum err http_raw_send(struct http_call *call, struct str bytes, size_t *ret_sent);
/* *ret_got is 0 at the end of the stream. */
MUST_CHECK enum err http_raw_receive(struct http_call *call, char *room, size_t size, size_t *ret_got);

#endif
