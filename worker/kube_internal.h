/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by backend_kubernetes.c (pods) and kube_lease.c (who they belong to). */
#ifndef MILLRACE_WORKER_KUBE_INTERNAL_H
#define MILLRACE_WORKER_KUBE_INTERNAL_H

#include "base/list.h"
#include "io/crypto.h"
#include "kube/kube.h"
#include "worker/backend_kubernetes.h"
#include "worker/kube_spec.h"
#include "worker/pod_link.h"

enum {
    KUBE_LEASES_MAX = 256, /* of other workers, that are remembered */
    KUBE_ORPHANS_MAX = 1024,
    KUBE_WHY_MAX = 256,
    KUBE_UID_MAX = 40,
    KUBE_IP_MAX = 48,
    KUBE_LABEL_MAX = 63,
};

struct kube_lease {
    struct list link;
    struct kubernetes *k;
    char name[KUBE_NAME_MAX + 1], uid[KUBE_UID_MAX + 1];
    char renewed[24], version[24]; /* as last seen */
    int64_t changed_ns;            /* by our clock, when `renewed` last changed */
    int64_t renew_ns;              /* ours: next time */
    bool ours;                     /* made or taken over; else another worker's */
    bool own;                      /* made: new pods belong to it */
    bool busy;                     /* a request about it is in flight */
    bool takes;                    /* one that is to make it ours */
    bool listed;                   /* taken over: its pods were looked at */
    bool dropping;
};

/* A pod of a lease that was taken over: nobody's until the pool wants one of its kind. */
struct kube_orphan {
    struct list link;
    struct kube_lease *lease;
    char name[KUBE_NAME_MAX + 1], uid[KUBE_UID_MAX + 1], kind[KUBE_KIND_MAX], ip[KUBE_IP_MAX];
    int64_t since_ns, born_ns;
};

struct kube_pod_of {
    struct pod pod;
    struct kubernetes *k;
    struct list link;
    struct kube_lease *lease;
    char name[KUBE_NAME_MAX + 1], uid[KUBE_UID_MAX + 1], kind[KUBE_KIND_MAX];
    bool creating, deleting; /* a request is in flight */
    bool gone;               /* the API server has no such object */
    bool dialled;
    char ip[KUBE_IP_MAX]; /* where to; "" : it does not run yet */
    bool judged;          /* `reason` and `why` are known */
    enum reason reason;
    char why[KUBE_WHY_MAX];
    unsigned seen;    /* the watch's list that it was in */
    int64_t born_ns;  /* its own time runs from then, whoever made it */
    int64_t since_ns; /* it is ours */
    int64_t dialled_ns, eof_ns, delete_ns;
    int64_t ending_ns;  /* destroyed: until then its runner may still be ending */
    int64_t refused_ns; /* the first time that its runner did not let us in */
    unsigned delete_tries;
};

/* The pod that tries what the cluster enforces (kube_canary.c). */
struct kube_canary {
    char name[KUBE_NAME_MAX + 1], uid[KUBE_UID_MAX + 1];
    bool there, busy;           /* it may exist; a request about it is in flight */
    bool over;                  /* nothing more is expected of this one */
    bool answered;              /* `missing` is known */
    unsigned missing, accepted; /* bits of enum canary_row */
    unsigned failures;
    unsigned turn; /* whose image it has: counts those that could not be had */
    int64_t since_ns, retry_ns, delete_ns;
    enum reason reason;       /* with `why` */
    char why[KUBE_WHY_MAX];   /* it was refused, or gave no answer yet; "" */
    char names[KUBE_WHY_MAX]; /* of what is missing */
    char gaps[KUBE_WHY_MAX];  /* JSON: what of it is needed and was accepted; "" */
};

struct kubernetes {
    struct pod_backend base;
    struct kubernetes_options options;
    uv_loop_t *loop;
    struct kube *kube;
    struct kube_watch *pods_watch, *leases_watch;
    uv_timer_t tick;
    const char *ns; /* of the pods; NULL: the credentials' */
    char worker[KUBE_LABEL_MAX + 1];
    char deployment[17]; /* "" until there are keys */
    struct list pods, leases, orphans;
    unsigned pod_count, lease_count, orphan_count, list_number;
    struct kube_lease *own;
    int64_t answered_ns;    /* our lease was made or renewed last */
    int64_t steady_ns;      /* others may be judged from then on: the API server was away before */
    char why[KUBE_WHY_MAX]; /* no pod can be made at present; "" */
    enum reason reason;
    struct kube_canary canary;
    bool asking;                   /* about our rights */
    unsigned right;                /* the one that is asked about */
    int64_t rights_ns;             /* when they are asked about (again) */
    char rights_why[KUBE_WHY_MAX]; /* the first that is missing; "" */
    uint64_t made, deleted, adopted, swept;
    bool closing;
    int64_t close_ns; /* not waited for longer */
    void (*closed)(void *arg);
    void *closed_arg;
};

int64_t kube_now(void); /* monotonic, ns */
void kube_text(char *to, size_t size, const char *from);
/* What is written becomes the name of an object, a DNS label: ids have other characters too. */
void kube_name(char to[KUBE_NAME_MAX + 1], const char *fmt, ...) PRINTF_LIKE(2, 3);

/* backend_kubernetes.c: why it will be LOST; the first reason counts. */
void kube_judge(struct kube_pod_of *kp, enum reason reason, const char *why);

/* kube_canary.c */
MUST_CHECK enum err kube_canary_accept(struct kubernetes *k, const struct config_list *names,
                                       struct errinfo *info);
void kube_canary_tick(struct kubernetes *k, int64_t now);
void kube_canary_seen(struct kubernetes *k, const struct kube_object *o);
void kube_canary_gone(struct kubernetes *k);
bool kube_canary_done(const struct kubernetes *k);    /* pods may be used */
bool kube_canary_refuses(const struct kubernetes *k); /* why and reason: none may, or it gave no answer */
json_t *kube_canary_json(const struct kubernetes *k);

/* kube_dial.c */
struct sha256 kube_token(const struct kubernetes *k, const char *pod_name);
void kube_dial(struct kube_pod_of *kp); /* kp->ip; again: after its end of file */

/* kube_lease.c */
void kube_lease_tick(struct kubernetes *k);
/* When closing: those that are ours. Returns how many are still there. */
unsigned kube_lease_drop_all(struct kubernetes *k);
bool kube_lease_ready(const struct kubernetes *k);
/* One of this kind to use, taken out of the list and to be freed; or NULL. */
struct kube_orphan *kube_orphan_take(struct kubernetes *k, const char *kind);
void kube_orphan_gone(struct kubernetes *k, const char *name);
void kube_leases_free(struct kubernetes *k);

#endif
