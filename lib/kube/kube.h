/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the Kubernetes API, typed for what a pool of pods needs, on the caller's uv loop.

   Requests wait in one bounded queue; a token bucket and a number in flight bound what the server sees. What the table of
   reason.h marks is sent again with a growing pause (full jitter, Retry-After honoured) until the call's patience is over;
   while the server cannot be reached or says 429 or 503, the whole client holds back and sends one request at a time.
   Connections are kept (HTTP/1.1); a watch has one of its own.

   A callback runs on the loop, never from within the function that began the call, exactly once, unless the call was
   cancelled. What it is given lives until it returns. It may begin, cancel and close anything. */
#ifndef MILLRACE_KUBE_KUBE_H
#define MILLRACE_KUBE_KUBE_H

#include "kube/object.h"
#include "kube/reason.h"

#include <uv.h>

struct kube;
struct kube_call;
struct kube_watch;

/* 0 or NULL: the default that stands beside it. */
struct kube_options {
    const char *kubeconfig;      /* a file; NULL: the pod's own service account */
    const char *context;         /* NULL: current-context */
    const char *service_account; /* the folder of the pod's own; NULL: where the kubelet puts it */
    bool allow_insecure;         /* insecure-skip-tls-verify and http:// are refused without it */
    unsigned rate_per_s;         /* 50 */
    unsigned burst;              /* 100 */
    unsigned in_flight;          /* 8 */
    unsigned waiting;            /* 4096 */
    int try_ms;                  /* 10,000: of one try */
    int patience_ms;             /* 15,000: of a call with all its tries, from when it was made */
    const char *user_agent;      /* "millrace" */
};

/* Reads the credentials' files; no request is sent. ERR_INVALID, ERR_NOT_FOUND, ERR_DENIED ...: `info` names the file, the key
   and what to do. An exec plug-in runs with the first request. */
MUST_CHECK enum err kube_open(uv_loop_t *loop, const struct kube_options *options, struct kube **ret_kube,
                              struct errinfo *info);
/* Calls and watches end without a callback; `closed` (may be NULL) runs on the loop when nothing is left on it. */
void kube_close(struct kube *k, void (*closed)(void *arg), void *arg);

const char *kube_server(const struct kube *k); /* "https://10.0.0.1:443" */
const char *
kube_namespace(const struct kube *k); /* of the context or the service account; "default" when it has none */

/* Counted since kube_open(). */
struct kube_stats {
    uint64_t sent;                           /* requests, every try */
    uint64_t ended[KUBE_REASON_COUNT];       /* tries by how they ended */
    uint64_t watch_breaks, watch_lists;      /* watches that were begun again; lists for a watch */
    unsigned in_flight, waiting;             /* now */
    bool reachable;                          /* the newest try had an answer of an API server */
    int64_t paused_ms;                       /* the client holds back for so long yet; 0: it does not */
    enum kube_reason last_reason;            /* of the newest try that failed */
    int64_t last_failed_ms, last_answer_ms;  /* wall clock, 0: never */
    char last_message[KUBE_MESSAGE_MAX + 1]; /* of the newest try that failed; "" */
};
const struct kube_stats *kube_stats(struct kube *k);

/* ---- calls ---- */

/* X(name, path before the namespace, plural, namespaced). New rows go at the end. */
#define KUBE_KIND_TABLE(X)                                                                                   \
    X(POD, "/api/v1", "pods", true)                                                                          \
    X(CONFIG_MAP, "/api/v1", "configmaps", true)                                                             \
    X(NAMESPACE, "/api/v1", "namespaces", false)                                                             \
    X(NETWORK_POLICY, "/apis/networking.k8s.io/v1", "networkpolicies", true)                                 \
    X(EVENT, "/api/v1", "events", true)

enum kube_kind {
#define X(name, path, plural, namespaced) KUBE_KIND_##name,
    KUBE_KIND_TABLE(X)
#undef X
};

/* Texts are copied. */
struct kube_ref {
    enum kube_kind kind;
    const char *ns;   /* NULL: kube_namespace(); without meaning for a kind that is not namespaced */
    const char *name; /* where one object is meant */
};

struct kube_result {
    enum kube_reason reason; /* KUBE_OK, or why not */
    int code;                /* HTTP status of the last try; 0: none */
    const char *message;     /* a sentence for people, with the verb and the object; "" for KUBE_OK */
    unsigned tries;
    const struct kube_object
        *object; /* create, get, patch, and delete where the server gives one; else NULL */
    const struct kube_object *items; /* list: this page */
    size_t count;
    const char *next;             /* list: continue token of the next page, NULL at the end */
    const char *resource_version; /* list: of the whole; "" else */
    bool allowed;                 /* kube_can */
    const char *version;          /* kube_version: "v1.34.4" */
};
typedef void (*kube_cb)(void *arg, const struct kube_result *result);

/* All: ERR_FULL when the queue is full, ERR_INVALID when a name cannot stand in a path (DNS labels and subdomains only), ERR_NOMEM.
   `patience_ms`: 0 the client's, negative one try only. `ret_call` may be NULL: the call cannot be cancelled then. */

/* `body` is the object's JSON, with a metadata.name of the caller's choice. A try that was lost and had worked is found again: when a
   later one says ALREADY_EXISTS, the object is read and given as KUBE_OK. */
MUST_CHECK enum err kube_create(struct kube *k, const struct kube_ref *ref, struct str body, int patience_ms,
                                kube_cb cb, void *arg, struct kube_call **ret_call);
MUST_CHECK enum err kube_get(struct kube *k, const struct kube_ref *ref, int patience_ms, kube_cb cb,
                             void *arg, struct kube_call **ret_call);

struct kube_delete {
    int grace_s;     /* negative: the object's own */
    const char *uid; /* NULL, or the only one that is meant: CONFLICT when it is another */
    bool background; /* what it owns is deleted after it (the garbage collector); else the kind's default */
};
MUST_CHECK enum err kube_delete(struct kube *k, const struct kube_ref *ref, const struct kube_delete *how,
                                int patience_ms, kube_cb cb, void *arg, struct kube_call **ret_call);
/* All that `labels` selects ("" refused). */
MUST_CHECK enum err kube_delete_all(struct kube *k, const struct kube_ref *ref, const char *labels,
                                    int grace_s, int patience_ms, kube_cb cb, void *arg,
                                    struct kube_call **ret_call);

struct kube_list {
    const char *labels, *fields; /* selectors; NULL: all */
    unsigned limit;              /* of a page, at most 250; 0: 100 */
    const char *next;            /* NULL: the first page. EXPIRED: begin again */
};
MUST_CHECK enum err kube_list(struct kube *k, const struct kube_ref *ref, const struct kube_list *list,
                              int patience_ms, kube_cb cb, void *arg, struct kube_call **ret_call);

struct kube_change {
    const char *name, *value; /* value NULL: taken away */
};
struct kube_patch {
    const struct kube_change *labels, *annotations, *data; /* data: of a ConfigMap */
    size_t label_count, annotation_count, data_count;
    const char *uid, *resource_version; /* NULL, or what must still be so: CONFLICT */
};
MUST_CHECK enum err kube_patch(struct kube *k, const struct kube_ref *ref, const struct kube_patch *patch,
                               int patience_ms, kube_cb cb, void *arg, struct kube_call **ret_call);

/* May we? (SelfSubjectAccessReview.) The answer is result->allowed. */
struct kube_right {
    const char *verb, *group, *resource, *subresource; /* group "": core; subresource "": none */
    const char *ns;                                    /* NULL: kube_namespace(); "": of the whole cluster */
};
MUST_CHECK enum err kube_can(struct kube *k, const struct kube_right *right, int patience_ms, kube_cb cb,
                             void *arg, struct kube_call **ret_call);
MUST_CHECK enum err kube_version(struct kube *k, int patience_ms, kube_cb cb, void *arg,
                                 struct kube_call **ret_call);

/* No callback after it returns. What was sent may still happen. */
void kube_call_cancel(struct kube_call *call);

/* ---- a watch: the list, then every change, for ever ---- */

enum kube_watch_event {
    KUBE_WATCH_LISTING, /* a list begins (again): what is not SEEN until SYNCED has gone */
    KUBE_WATCH_SEEN,    /* object: new or changed, or part of the list */
    KUBE_WATCH_GONE,    /* object: as it was last */
    KUBE_WATCH_SYNCED, /* the list is complete; also when the watch goes on after TROUBLE without a new list */
    KUBE_WATCH_TROUBLE, /* status: it goes on by itself after a growing pause; what is known may be old until the next event */
};
/* `object`: SEEN and GONE, else NULL. `status`: TROUBLE, else NULL. */
typedef void (*kube_watch_cb)(void *arg, enum kube_watch_event event, const struct kube_object *object,
                              const struct kube_status *status);

struct kube_watch_options {
    struct kube_ref ref;         /* without name */
    const char *labels, *fields; /* selectors; NULL: all */
    int idle_ms; /* begun again after so long without a byte (bookmarks come each minute); 0: 150,000 */
};
/* Bookmarks, the server's time-outs, disconnects (resumed at the last resourceVersion) and 410 (a new list) are its own affair. */
MUST_CHECK enum err kube_watch_open(struct kube *k, const struct kube_watch_options *options,
                                    kube_watch_cb cb, void *arg, struct kube_watch **ret_watch);
/* No callback after it returns; also inside its own callback. */
void kube_watch_close(struct kube_watch *w);
bool kube_watch_synced(
    const struct kube_watch *w); /* the newest list is complete, and the watch is not in trouble */

#endif
