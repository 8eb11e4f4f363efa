/* SPDX-License-Identifier: Apache-2.0 */
/* The worker program: what it is made of, and what it says of itself over HTTP. */
#ifndef MILLRACE_WORKER_SERVICE_H
#define MILLRACE_WORKER_SERVICE_H

#include "io/http/server.h"
#include "io/loop.h"
#include "io/program.h"
#include "queue/objects.h"
#include "schema/config.h"
#include "worker/backend_kubernetes.h"
#include "worker/backend_local.h"
#include "worker/jobrun.h"
#include "worker/run_files.h"
#include "worker/toolchain.h"

enum { GAPS_MAX = 512 };

struct worker {
    struct config config;
    struct loop loop;
    struct pod_backend *backend;
    bool kubernetes; /* it is one of these */
    struct pools *pools;
    struct jobruns *runs;
    struct compile_cache *compiled;
    struct metrics *metrics;
    struct queue *queue;
    struct state_keys state_keys; /* once the store was reached */
    struct objects objects;
    struct file_services files;
    struct http_server *http;
    uv_timer_t tick;
    struct toolchains toolchains;
    int64_t offer_ns; /* when they are told again; 0: at once */
    bool asking;      /* what the other workers can make pods of */
    int64_t ask_ns;   /* when they are asked again */
    uint32_t others;  /* as they answered, bits of our pools (others.h) */
    int64_t yield_ns; /* jobs are left to them until then */

    char name[80];
    unsigned slots;
    struct program_args args;

    bool hello;                 /* the spawner said what the host gives */
    uint64_t missing, accepted; /* bits of preflight.def */
    bool rootless;
    char gaps[GAPS_MAX]; /* ["swap_limit"]: what of `missing` was accepted; "" */

    bool consuming, stopping, closing;
    bool spawner_lost;
    int64_t stop_ns; /* when jobs are handed back */
    int64_t took_ns; /* when jobs could be taken or ran last, or the start */
    char redis_why[256];
};

/* Python can run and the log can be reached. `why` (may be NULL) gets one line when not, the worker's. */
bool worker_ready(const struct worker *w, const char **ret_why);
/* Why the cluster gives no pods to take jobs for, one line; NULL: nothing is known to be wrong. */
const char *worker_why_no_pods(const struct worker *w);
unsigned worker_free_slots(const struct worker *w);

/* The defences that this host, or the cluster, lacks and that were accepted by name, a JSON array; NULL: there is none. */
const char *worker_gaps(const struct worker *w);
void worker_take_hello(struct worker *w, uint64_t missing, uint64_t accepted, bool rootless);

extern const char *const worker_routes[]; /* ends with NULL */
MUST_CHECK enum err worker_http_open(struct worker *w, struct errinfo *info);
/* The Prometheus text and the JSON of /health. */
void worker_write_metrics(struct worker *w, struct buf *out);
void worker_write_health(const struct worker *w, struct buf *out);
/* For the apis: the languages, and with pods of a cluster what /health/kubernetes says. */
void worker_write_offer(const struct worker *w, struct buf *out);

#endif
