/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the client: client.c (its life, and the queue of calls), send.c (one try), calls.c (what kube.h offers, and how answers
   are read), watch.c. */
#ifndef MILLRACE_KUBE_INTERNAL_H
#define MILLRACE_KUBE_INTERNAL_H

#include "base/list.h"
#include "io/http/client.h"
#include "kube/credentials.h"
#include "kube/pace.h"
#include "kube/request.h"

enum { KUBE_MS = 1000000, KUBE_ANSWER_MAX = 16 << 20 };

struct kube {
    uv_loop_t *loop;
    struct http_client *http;
    struct kube_credentials *credentials;
    struct kube_options options; /* every default filled in; its texts are not ours and not used later */
    char user_agent[64];
    struct kube_bucket bucket;
    uv_timer_t timer; /* the next thing that is due for a waiting call */
    struct list waiting, sent, watches;
    unsigned waiting_count, sent_count;
    unsigned failures; /* in a row, of the server as a whole */
    int64_t pause_end_ns, paused_ns;
    uint32_t random;
    struct kube_stats stats;
    bool closing;
    unsigned open_parts; /* http, timer, watches: not yet closed */
    void (*closed)(void *arg);
    void *closed_arg;
};

/* What an answer of success means: fills what the result has besides the status. GARBAGE when it cannot be read. */
typedef enum kube_reason (*kube_reader)(struct kube_call *call, const json_t *root,
                                        struct kube_result *result);

struct kube_call {
    struct list link; /* kube->waiting or ->sent */
    struct kube *kube;
    struct kube_request request;
    struct http_call *http;
    kube_reader read;
    struct kube_object object;
    struct kube_object *items;
    int64_t made_ns, end_ns; /* end: of its patience */
    int64_t next_ns;         /* not before */
    int64_t sent_ns;
    bool sent; /* it is in kube->sent */
    bool one_try, refused, telling;
    bool lost;       /* a try may have worked without our knowing */
    bool find_again; /* a create: see kube.h */
    unsigned tries;
    char name[254]; /* of a create's object */
    struct kube_status last;
    kube_cb cb;
    void *arg;
};

/* client.c. Takes `request` over in any case. */
enum err kube_call_start(struct kube *k, struct kube_request *request, kube_reader read, int patience_ms,
                         kube_cb cb, void *arg, struct kube_call **ret_call);
/* How a try that was sent at `sent_ns` ended: counts it, and holds the client back or lets it go on. */
void kube_part_closed(struct kube *k);
void kube_outcome(struct kube *k, int64_t sent_ns, const struct kube_status *status);

/* send.c */
struct kube_try {
    const struct kube_request *request;
    int timeout_ms;
    bool (*data)(void *arg, int status, struct str bytes); /* NULL: the body is collected */
    void (*began)(void *arg, int status);
};
/* ERR_AGAIN: a plug-in runs, kube_credentials' `changed` comes; ERR_DENIED: *ret_status says why. */
MUST_CHECK enum err kube_send(struct kube *k, const struct kube_try *how, http_call_cb cb, void *arg,
                              struct http_call **ret_call, struct kube_status *ret_status);
/* The status of whatever came, success excepted (then KUBE_OK). */
void kube_status_of(enum err e, const char *why, const struct http_answer *answer,
                    struct kube_status *ret_status);

/* watch.c */
void kube_watch_credentials(struct kube_watch *w); /* a plug-in has ended */
struct kube_watch *kube_watch_of(struct list *link);

#endif
