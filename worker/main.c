/* SPDX-License-Identifier: Apache-2.0 */
/* millrace-worker: claims jobs, runs them in pods, appends what they do. Started by millrace-spawner, which
   hands it the socket that pods are asked for (descriptor number in MILLRACE_SPAWNER_FD). */
#include "worker/service.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/slice.h"
#include "io/program.h"
#include "worker/others.h"
#include "worker/pool_plan.h"
#include "json/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    TICK_MS = 50,
    SLOTS_PER_CORE = 4,
    CREATE_CONCURRENCY = 8,
    TMP_MB = 64,
    WORK_INODES = 16384,
    CLOSE_GRACE_MS = 5000,
    START_EXTRA_MS = 5000,
    REMOTE_PAUSE_MS = 30000,
    REMOTE_SLOTS = 64,
    OFFER_MAX = 1 << 20,
    KUBERNETES_OFFER_MS = 2000, /* as often as apis ask */
    YIELD_MS = 1000, /* for another worker to take what was handed back: twice as long after each attempt, */
    YIELD_DOUBLINGS = 5, /* so often */
};

/* ---- what is told to the queue ---- */

bool worker_ready(const struct worker *w, const char **ret_why)
{
    const char *no_pods = w->kubernetes ? worker_why_no_pods(w) : NULL;
    const char *why = w->stopping                   ? "the worker drains"
                      : !w->hello && !w->kubernetes ? "the spawner has not answered"
                      : !queue_ready(w->queue)      ? "Redis cannot be used"
                      : pools_idle(w->pools, "py")  ? NULL
                      : no_pods                     ? no_pods
                                                    : "no Python pod is ready yet";
    if (ret_why && why)
        *ret_why = why;
    return why == NULL;
}

/* At most one that waits for a pod here: the others wait in the queue, which is fair. */
unsigned worker_free_slots(const struct worker *w)
{
    size_t used = jobruns_count(w->runs) - jobruns_waiting(w->runs);
    if (w->stopping || used >= w->slots || !pools_take_jobs(w->pools) || clock_mono_ns() < w->yield_ns)
        return 0;
    unsigned room = pools_room(w->pools, "py"), slots = w->slots - (unsigned)used;
    return room < slots ? room : slots;
}

static void on_job(void *arg, const struct claimed_job *job)
{
    struct worker *w = arg;
    jobruns_start(w->runs, job);
}

static bool on_input(void *arg, struct id job, uint32_t attempt, const struct event *event)
{
    struct worker *w = arg;
    return jobruns_input(w->runs, job, attempt, event);
}

static void on_fenced(void *arg, struct id job, uint32_t attempt)
{
    struct worker *w = arg;
    jobruns_fenced(w->runs, job, attempt);
}

static void begin_consuming(struct worker *w)
{
    static const char *const classes[] = {"local"};
    struct consumer_callbacks callbacks = {
        .on_job = on_job, .on_input = on_input, .on_fenced = on_fenced, .arg = w};
    w->consuming = true;
    log_info("takes jobs", F_INT("slots", w->slots));
    queue_consume(w->queue, str_of(w->name), classes, 1, &callbacks);
}

static void tell_slots(struct worker *w)
{
    if (w->stopping || !w->queue || !w->runs)
        return;
    if (!w->consuming && pools_take_jobs(w->pools))
        begin_consuming(w);
    if (w->consuming)
        queue_consume_slots(w->queue, worker_free_slots(w));
}

static void on_changed(void *arg)
{
    tell_slots(arg);
}

/* ---- what the queue tells ---- */

static void on_queue_state(void *arg, bool ready, const char *why)
{
    struct worker *w = arg;
    snprintf(w->redis_why, sizeof w->redis_why, "%s", why ? why : "");
    w->offer_ns = 0;
    if (ready && w->state_keys.count == 0)
        state_keys_open(w->queue, w->config.state_keys.items, w->config.state_keys.count, &w->state_keys);
    if (ready)
        log_info("Redis is there", F_STR("store", queue_store_text(w->queue)));
    else
        log_limited(LOG_WARN, "Redis cannot be used", F_STR("why", w->redis_why));
}

static void call_inputs(void *arg, struct id job, uint32_t attempt)
{
    struct worker *w = arg;
    queue_take_inputs(w->queue, job, attempt);
}

static void call_append(void *arg, struct id job, uint32_t attempt, uint64_t n,
                        const struct event_draft *drafts, size_t count, queue_done_cb cb, void *cb_arg)
{
    struct worker *w = arg;
    queue_append(w->queue, job, attempt, n, drafts, count, cb, cb_arg);
}

static void call_finish(void *arg, struct id job, uint32_t attempt, uint64_t n,
                        const struct event_draft *drafts, size_t count, uint32_t cost_ms, queue_done_cb cb,
                        void *cb_arg)
{
    struct worker *w = arg;
    queue_finish(w->queue, job, attempt, n, drafts, count, cost_ms, cb, cb_arg);
}

static void call_finish_state(void *arg, struct id job, uint32_t attempt, uint64_t n,
                              const struct event_draft *drafts, size_t count, uint32_t cost_ms,
                              const struct state_change *state, queue_done_cb cb, void *cb_arg)
{
    struct worker *w = arg;
    queue_finish_state(w->queue, job, attempt, n, drafts, count, cost_ms, state, cb, cb_arg);
}

static void call_state_read(void *arg, struct session_owner owner, struct id session, state_cb cb,
                            void *cb_arg)
{
    struct worker *w = arg;
    state_read(w->queue, owner, session, 0, cb, cb_arg);
}

static void call_requeue(void *arg, struct id job, uint32_t attempt, struct str reason, bool started,
                         queue_done_cb cb, void *cb_arg)
{
    struct worker *w = arg;
    queue_requeue(w->queue, job, attempt, reason, started, cb, cb_arg);
}

/* ---- ending ---- */

static void on_all_closed(void *arg)
{
    struct worker *w = arg;
    loop_end(&w->loop);
}

static void on_queue_closed(void *arg)
{
    struct worker *w = arg;
    w->queue = NULL;
    objects_close(&w->objects, on_all_closed, w);
}

static void on_backend_closed(void *arg)
{
    struct worker *w = arg;
    queue_close(w->queue, on_queue_closed, w);
}

/* The second half of a drain: no job is left. */
static void close_when_empty(struct worker *w)
{
    if (jobruns_count(w->runs) > 0)
        return;
    if (!w->closing) {
        w->closing = true;
        pools_stop(w->pools);
        http_server_drain(w->http);
    }
    if (pools_count(w->pools) > 0 && !w->spawner_lost)
        return;
    uv_timer_stop(&w->tick);
    if (w->kubernetes)
        kubernetes_close(w->backend, on_backend_closed, w);
    else
        on_backend_closed(w);
}

static void on_stop(void *arg)
{
    struct worker *w = arg;
    w->stopping = true;
    w->stop_ns = clock_mono_ns() + w->config.drain_ms * 1000000;
    log_info("drains: claims no more jobs", F_INT("running", jobruns_count(w->runs)));
    if (w->consuming)
        queue_consume_stop(w->queue);
    queue_offer(w->queue, str_of(w->name), STR(""));
}

/* Which languages run here, and how the cluster fares, for the apis. */
static void tell_offer(struct worker *w)
{
    int64_t now = clock_mono_ns();
    if (now < w->offer_ns || !queue_ready(w->queue))
        return;
    w->offer_ns = now + (int64_t)(w->kubernetes ? KUBERNETES_OFFER_MS : QUEUE_OFFER_MS) * 1000000;
    auto_buf offer = BUF_INIT(OFFER_MAX);
    worker_write_offer(w, &offer);
    queue_offer(w->queue, str_of(w->name), buf_str(&offer));
}

/* ---- what other workers offer ---- */

static void on_others(void *arg, enum queue_answer answer, const struct queue_offered *list, size_t count)
{
    struct worker *w = arg;
    struct pool_stats stats[POOL_KINDS_MAX];
    size_t n = pools_stats(w->pools, stats, POOL_KINDS_MAX);
    w->asking = false;
    if (answer == QUEUE_OK)
        w->others = others_can(list, count, str_of(w->name), stats, n);
}

/* Only who lacks pods of some kind has to know. */
static void ask_others(struct worker *w)
{
    struct pool_stats stats[POOL_KINDS_MAX];
    size_t n = pools_stats(w->pools, stats, POOL_KINDS_MAX);
    int64_t now = clock_mono_ns();
    bool lacks = false;
    for (size_t i = 0; i < n; i++)
        lacks |= *stats[i].why != '\0';
    if (!lacks)
        w->others = 0;
    if (!w->kubernetes || !lacks || w->asking || now < w->ask_ns || !queue_ready(w->queue))
        return;
    w->asking = true;
    w->ask_ns = now + (int64_t)KUBERNETES_OFFER_MS * 1000000;
    queue_offers(w->queue, on_others, w);
}

/* Who has them is to take the job: we take none for a while. */
static bool elsewhere(void *arg, const char *kind, uint32_t attempt)
{
    unsigned doublings = attempt <= YIELD_DOUBLINGS ? attempt - 1 : YIELD_DOUBLINGS;
    struct worker *w = arg;
    struct pool_stats stats[POOL_KINDS_MAX];
    size_t n = pools_stats(w->pools, stats, POOL_KINDS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(stats[i].kind, kind) != 0 || !(w->others & 1u << i))
            continue;
        w->yield_ns = clock_mono_ns() + ((int64_t)YIELD_MS << doublings) * 1000000;
        tell_slots(w);
        return true;
    }
    return false;
}

static void on_tick(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    pools_tick(w->pools);
    jobruns_tick(w->runs);
    if (pools_take_jobs(w->pools) || jobruns_count(w->runs) > 0)
        w->took_ns = clock_mono_ns();
    if (!w->stopping) {
        tell_offer(w);
        ask_others(w);
        tell_slots(w);
        return;
    }
    if (clock_mono_ns() >= w->stop_ns)
        jobruns_hand_back(w->runs, REASON_WORKER_DRAINED);
    close_when_empty(w);
}

/* ---- the spawner ---- */

static void on_hello(void *arg, uint64_t missing, uint64_t accepted, bool rootless)
{
    worker_take_hello(arg, missing, accepted, rootless);
}

static const char *gaps_of(void *arg)
{
    return worker_gaps(arg);
}

static void on_spawner_gone(void *arg, const char *why)
{
    struct worker *w = arg;
    w->spawner_lost = true;
    log_error("the spawner is gone: jobs are handed back", F_STR("why", why));
    loop_stop(&w->loop);
    w->stop_ns = 0;
    jobruns_hand_back(w->runs, REASON_POD_LOST);
}

static enum err spawner_fd(int *ret_fd, struct errinfo *info)
{
    const char *text = getenv(SPAWNER_FD_ENV);
    uint64_t fd;
    if (!text || str_to_u64(str_of(text), &fd) != ERR_OK || fd > 1 << 20)
        return errinfo_set(info, ERR_INVALID, 0,
                           "%s is not set: millrace-worker is started by millrace-spawner", SPAWNER_FD_ENV);
    if (fcntl((int)fd, F_SETFD, FD_CLOEXEC) != 0)
        return errinfo_set(info, ERR_INVALID, errno, "%s is no open descriptor", SPAWNER_FD_ENV);
    *ret_fd = (int)fd;
    return ERR_OK;
}

/* ---- opening ---- */

static struct pod_limits pod_limits(const struct config *c)
{
    return (struct pod_limits){
        .memory_bytes = (uint64_t)c->max_memory_bytes,
        .pids = (uint64_t)c->max_pids,
        .cpu_millis = (uint64_t)c->max_cpu_quota / 100,
        .work_bytes = (uint64_t)c->max_total_file_bytes,
        .work_inodes = WORK_INODES,
        .tmp_bytes = (uint64_t)TMP_MB << 20,
    };
}

static enum err open_pools(struct worker *w)
{
    const struct config *c = &w->config;
    struct pool_kind kinds[POOL_KINDS_MAX];
    size_t n = w->kubernetes ? pool_plan_images(c, kinds) : pool_plan(c, pool_plan_there, kinds);
    struct pools_options options = {
        .backend = w->backend,
        .kinds = kinds,
        .kind_count = n,
        .limits = pod_limits(c),
        .create_concurrency = w->kubernetes ? (unsigned)c->pod_pool_parallel_batch : CREATE_CONCURRENCY,
        .remote = w->kubernetes,
        .start_ms = w->kubernetes ? c->k8s_pod_start_ms + START_EXTRA_MS
                                  : 0, /* the backend knows more than the pool */
        .cluster_ms = c->k8s_cluster_patience_ms,
        .pause_max_ms = w->kubernetes ? REMOTE_PAUSE_MS : 0,
        .now_ns = clock_mono_ns,
        .changed = on_changed,
        .arg = w,
    };
    unsigned wanted = 2 * w->slots + CREATE_CONCURRENCY;
    for (size_t i = 0; i < n; i++)
        wanted += kinds[i].size;
    unsigned most = w->kubernetes ? KUBERNETES_PODS_MAX : LOCAL_PODS_MAX;
    options.max_pods = wanted < most ? wanted : most;
    return pools_open(&options, &w->pools);
}

static void open_files(struct worker *w)
{
    const struct config *c = &w->config;
    w->files = (struct file_services){
        .queue = w->queue,
        .store = w->objects.store,
        .max_outputs = (uint64_t)c->max_output_files,
        .max_file_bytes = (uint64_t)c->max_file_bytes,
        .max_total_bytes = (uint64_t)c->max_total_file_bytes,
        .max_session_files = (uint64_t)c->max_session_files,
        .max_session_bytes = (uint64_t)c->max_total_file_bytes,
        .max_workspace_files = (uint64_t)c->workspace_max_files,
        .max_workspace_bytes =
            (uint64_t)(c->workspace_max_bytes < c->max_total_file_bytes ? c->workspace_max_bytes
                                                                        : c->max_total_file_bytes),
        .session_ttl_ms = config_session_ttl_ms(c),
    };
}

static void open_name(struct worker *w)
{
    char host[48] = "worker";
    if (*w->config.worker_id) {
        snprintf(w->name, sizeof w->name, "%s", w->config.worker_id);
        return;
    }
    gethostname(host, sizeof host - 1);
    snprintf(w->name, sizeof w->name, "%s-%.8s", host, id_new().text);
}

static bool in_an_image(const char *path)
{
    (void)path;
    return true;
}

static enum err open_toolchains(struct worker *w, struct errinfo *info)
{
    /* Images are made from the same table; one that lacks something is refused by its runner. */
    if (toolchains_look(w->kubernetes ? in_an_image : toolchain_there,
                        w->kubernetes ? "/" : TOOLCHAIN_PACKAGES, &w->toolchains) != ERR_OK)
        return errinfo_set(info, ERR_NOMEM, 0, "out of memory");
    auto_buf missing = BUF_INIT(4096);
    toolchains_missing(&w->toolchains, &missing);
    if (missing.len > 0)
        log_warn("languages that are not installed here; tools/install --languages has them",
                 F_STR("missing", buf_cstr(&missing)));
    return ERR_OK;
}

static enum err open_backend(struct worker *w, struct errinfo *info)
{
    if (w->kubernetes) {
        struct kubernetes_options options = {.config = &w->config, .worker = w->name, .keys = &w->state_keys};
        return kubernetes_open(&w->loop.uv, &options, &w->backend, info);
    }
    struct local_options local = {.on_hello = on_hello, .on_gone = on_spawner_gone, .arg = w};
    enum err e = spawner_fd(&local.fd, info);
    return e == ERR_OK ? local_open(&w->loop.uv, &local, &w->backend, info) : e;
}

/* A part of the descriptors that we may have; what goes over a network has no use for one. */
static size_t program_files(const struct worker *w)
{
    enum { PART = 4 };
    struct rlimit files;
    return w->kubernetes || getrlimit(RLIMIT_NOFILE, &files) != 0 ? 0 : files.rlim_cur / PART;
}

static enum err open_all(struct worker *w, struct errinfo *info)
{
    enum err e = open_toolchains(w, info);
    if (e == ERR_OK)
        e = loop_open(&w->loop, (int)w->config.drain_ms + CLOSE_GRACE_MS, on_stop, w, info);
    if (e == ERR_OK)
        e = open_backend(w, info);
    if (e == ERR_OK)
        e = open_pools(w);
    if (e == ERR_OK)
        e = metrics_open(METRICS_WORKER, worker_routes, &w->metrics);
    if (e == ERR_OK)
        e = objects_open(&w->objects, &w->loop.uv, &w->config, info);
    if (e == ERR_OK)
        e = queue_open_configured(&w->loop.uv, &w->config, on_queue_state, w, &w->queue, info);
    if (e == ERR_OK)
        queue_set_objects(w->queue, w->objects.store);
    if (e != ERR_OK)
        return e;
    open_files(w);
    w->compiled = compile_cache_open((size_t)w->config.compile_cache_bytes, program_files(w));
    struct jobruns_options runs = {
        .compiled = w->compiled,
        .files = &w->files,
        .loop = &w->loop.uv,
        .queue = {.append = call_append,
                  .finish = call_finish,
                  .finish_state = call_finish_state,
                  .state_read = call_state_read,
                  .requeue = call_requeue,
                  .inputs = call_inputs,
                  .arg = w},
        .state = {.store = w->objects.store,
                  .keys = &w->state_keys,
                  .max_bytes = w->config.state_max_bytes,
                  .time_ms = w->config.state_capture_ms,
                  .ttl_ms = w->config.state_ttl_ms,
                  .keep = (unsigned)w->config.state_versions,
                  .on_error = w->config.state_on_error},
        .pools = w->pools,
        .metrics = w->metrics,
        .pod_limits = pod_limits(&w->config),
        .pods_by_language = w->kubernetes,
        .tools_paused_max = (unsigned)w->config.programmatic_paused_max,
        .tools_pause_ms = w->config.programmatic_pause_ms,
        .missing = w->toolchains.missing,
        .elsewhere = elsewhere,
        .gaps = gaps_of,
        .changed = on_changed,
        .arg = w,
    };
    e = jobruns_open(&runs, &w->runs);
    if (e == ERR_OK)
        e = worker_http_open(w, info);
    if (e == ERR_OK)
        e = program_write_port(w->args.port_file, http_server_port(w->http), info);
    uv_timer_init(&w->loop.uv, &w->tick);
    w->tick.data = w;
    uv_timer_start(&w->tick, on_tick, 0, TICK_MS);
    return e;
}

int main(int argc, char **argv)
{
    static struct worker w = {
        .args = {.name = "millrace-worker",
                 .about = "claims jobs from the log and runs them in pods. Started by millrace-spawner.\n"}};
    struct errinfo info = {0};
    slice_short();
    program_harden();
    json_start();
    enum err e = program_configure(&w.args, argc, argv, &config_table, &w.config.base);
    if (e != ERR_OK)
        return e == ERR_CLOSED ? 0 : 2;
    config_open_log(&w.config, "worker");
    open_name(&w);
    w.kubernetes = w.config.pod_backend == POD_BACKEND_KUBERNETES;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    w.slots = w.config.worker_slots ? (unsigned)w.config.worker_slots
              : w.kubernetes        ? REMOTE_SLOTS
                                    : SLOTS_PER_CORE * (unsigned)(cores > 0 ? cores : 1);
    if (open_all(&w, &info) != ERR_OK) {
        log_error("cannot start", F_STR("why", info.text));
        return 1;
    }
    w.took_ns = clock_mono_ns();
    metrics_set(w.metrics, METRIC_START_TIME, 0, clock_wall_ms() / 1000);
    log_info("worker started", F_STR("worker", w.name), F_INT("port", http_server_port(w.http)),
             F_INT("slots", w.slots));
    loop_run(&w.loop);
    log_info("worker ended");
    return w.spawner_lost ? 1 : 0;
}
