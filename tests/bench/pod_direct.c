/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one program many times in pods without api, log and queue: what is left of a run's time when they are
   taken out. Started by the spawner in place of a worker: millrace-spawner -- bench-pod-direct [--runs N]
   [--clients N] [--lang py] [--pool N] [--code TEXT] [--show] Prints one JSON object. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "schema/languages.h"
#include "worker/backend_local.h"
#include "worker/jobrun.h"
#include "worker/spawner/kinds.h"
#include "worker/spawner/preflight.h"
#include "json/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS_MAX = 1 << 20 };

static struct {
    uv_loop_t loop;
    struct pod_backend *backend;
    struct pools *pools;
    struct jobruns *runs;
    struct metrics *metrics;
    uv_timer_t tick;
    uv_check_t answers;
    uv_idle_t busy;
    unsigned wanted, clients, begun, ended, pool;
    const char *lang, *code;
    bool show, ready;
    int64_t opened_ns, first_ns, *took_ns;
    char request[4096];
    /* Calls that wait for their answer: one for each client at most. */
    struct {
        queue_done_cb cb;
        void *arg;
        bool end;
    } waiting[256];
    size_t waiting_count;
    struct {
        struct id job;
        int64_t since_ns;
    } open[256];
} b = {.wanted = 200, .clients = 1, .pool = 5, .lang = "py", .code = "print(1)"};

static void begin_jobs(void);

static void begin_job(unsigned slot)
{
    b.open[slot].job = id_new();
    b.open[slot].since_ns = clock_mono_ns();
    b.begun++;
    struct claimed_job job = {
        .job = b.open[slot].job, .attempt = 1, .request = str_of(b.request), .retry = true};
    jobruns_start(b.runs, &job);
}

static void begin_jobs(void)
{
    for (unsigned i = 0; i < b.clients && b.begun < b.wanted; i++)
        if (!b.open[i].since_ns)
            begin_job(i);
}

/* Answers come from the loop, as those of a queue do. */
static void keep_answer(queue_done_cb cb, void *arg)
{
    b.waiting[b.waiting_count].cb = cb;
    b.waiting[b.waiting_count++].arg = arg;
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

static void on_check(uv_check_t *check)
{
    (void)check;
    while (b.waiting_count > 0) {
        b.waiting_count--;
        b.waiting[b.waiting_count].cb(b.waiting[b.waiting_count].arg, QUEUE_OK);
    }
    uv_idle_stop(&b.busy);
    if (b.ready)
        begin_jobs();
    if (b.ended == b.wanted)
        uv_stop(&b.loop);
}

static void show_drafts(const struct event_draft *drafts, size_t count)
{
    for (size_t i = 0; b.show && i < count; i++)
        printf("%s " STR_FMT " " STR_FMT "\n", event_type_name(drafts[i].type), STR_ARG(drafts[i].data),
               STR_ARG(drafts[i].bytes));
}

static void do_append(void *arg, struct id job, uint32_t attempt, uint64_t n,
                      const struct event_draft *drafts, size_t count, queue_done_cb cb, void *cb_arg)
{
    (void)arg, (void)job, (void)attempt, (void)n;
    show_drafts(drafts, count);
    keep_answer(cb, cb_arg);
    uv_idle_start(&b.busy, on_idle);
}

static void do_finish(void *arg, struct id job, uint32_t attempt, uint64_t n,
                      const struct event_draft *drafts, size_t count, uint32_t cost_ms, queue_done_cb cb,
                      void *cb_arg)
{
    (void)cost_ms;
    for (unsigned i = 0; i < b.clients; i++) {
        if (memcmp(b.open[i].job.text, job.text, ID_LEN) != 0)
            continue;
        b.took_ns[b.ended++] = clock_mono_ns() - b.open[i].since_ns;
        b.open[i].since_ns = 0;
    }
    do_append(arg, job, attempt, n, drafts, count, cb, cb_arg);
}

static void do_requeue(void *arg, struct id job, uint32_t attempt, struct str reason, bool started,
                       queue_done_cb cb, void *cb_arg)
{
    (void)arg, (void)job, (void)attempt, (void)started, (void)cb, (void)cb_arg;
    fprintf(stderr, "a job was handed back: " STR_FMT "\n", STR_ARG(reason));
    exit(1);
}

static unsigned idle_of(const char *kind)
{
    struct pool_stats s[POOL_KINDS_MAX];
    for (size_t i = pools_stats(b.pools, s, POOL_KINDS_MAX); i > 0; i--)
        if (strcmp(s[i - 1].kind, kind) == 0)
            return s[i - 1].pods[POD_ST_IDLE];
    return 0;
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
    pools_tick(b.pools);
    jobruns_tick(b.runs);
    if (!b.opened_ns)
        b.opened_ns = clock_mono_ns();
    /* A template takes a while to start; what cannot be made warm after that runs cold. */
    bool full = idle_of(b.lang) >= b.pool || clock_mono_ns() - b.opened_ns > 5000000000;
    if (b.ready || idle_of("cold") < b.pool || !full)
        return;
    b.ready = true;
    b.first_ns = clock_mono_ns();
    begin_jobs();
}

static void on_hello(void *arg, uint64_t missing, uint64_t accepted, bool rootless)
{
    (void)arg, (void)rootless;
    auto_buf names = BUF_INIT(1024);
    preflight_write_names(preflight_gaps(missing, accepted), "", &names);
    if (names.len > 0)
        fprintf(stderr, "missing: %s\n", buf_cstr(&names));
}

static void on_gone(void *arg, const char *why)
{
    (void)arg;
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static int compare(const void *a, const void *c)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)c;
    return (x > y) - (x < y);
}

static double percentile_ms(unsigned percent)
{
    size_t at = (size_t)b.ended * percent / 100;
    return (double)b.took_ns[at < b.ended ? at : b.ended - 1] / 1e6;
}

static void report(void)
{
    int64_t all = clock_mono_ns() - b.first_ns;
    struct pool_stats s[POOL_KINDS_MAX];
    size_t n = pools_stats(b.pools, s, POOL_KINDS_MAX);
    qsort(b.took_ns, b.ended, sizeof *b.took_ns, compare);
    printf("{\"runs\":%u,\"clients\":%u,\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,"
           "\"runs_per_second\":%.1f,\"completed\":%" PRIu64,
           b.ended, b.clients, percentile_ms(50), percentile_ms(90), percentile_ms(99), percentile_ms(100),
           b.ended * 1e9 / (double)all,
           metrics_get(b.metrics, METRIC_JOBS_FINISHED, LANG_PY, METRIC_COMPLETED));
    for (size_t i = 0; i < n; i++)
        printf(",\"%s\":{\"hits\":%" PRIu64 ",\"misses\":%" PRIu64 ",\"failed\":%" PRIu64
               ",\"made_ms\":%.2f}",
               s[i].kind, s[i].hits, s[i].misses, s[i].failed,
               s[i].ready ? (double)s[i].made_ns / 1e6 / (double)s[i].ready : 0.0);
    printf("}\n");
}

static void take_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--show") == 0) {
            b.show = true;
            continue;
        }
        i++;
        if (strcmp(argv[i - 1], "--runs") == 0)
            b.wanted = (unsigned)strtoul(value, NULL, 10) % RUNS_MAX;
        else if (strcmp(argv[i - 1], "--clients") == 0)
            b.clients = (unsigned)strtoul(value, NULL, 10) % 256;
        else if (strcmp(argv[i - 1], "--pool") == 0)
            b.pool = (unsigned)strtoul(value, NULL, 10) % 256;
        else if (strcmp(argv[i - 1], "--lang") == 0)
            b.lang = value;
        else if (strcmp(argv[i - 1], "--code") == 0)
            b.code = value;
        else {
            fprintf(stderr, "unknown option %s\n", argv[i - 1]);
            exit(2);
        }
    }
}

static enum err open_all(struct errinfo *info)
{
    uint64_t fd = 0;
    if (str_to_u64(str_of(getenv(SPAWNER_FD_ENV)), &fd) != ERR_OK)
        return errinfo_set(info, ERR_INVALID, 0, "%s is not set", SPAWNER_FD_ENV);
    uv_loop_init(&b.loop);
    struct local_options local = {.fd = (int)fd, .on_hello = on_hello, .on_gone = on_gone};
    enum err e = local_open(&b.loop, &local, &b.backend, info);
    struct pool_kind kinds[KIND_COUNT];
    for (unsigned i = 0; i < KIND_COUNT; i++) {
        const struct pod_kind_row *row = pod_kind_row((enum pod_kind)i);
        bool wanted = i == KIND_COLD || strcmp(b.lang, row->name) == 0;
        kinds[i] =
            (struct pool_kind){.name = row->name, .size = wanted ? b.pool : 0, .fallback = row->fallback};
    }
    struct pod_limits limits = {512 << 20, 512, 1000, 50 << 20, 16384, 64 << 20};
    struct pools_options po = {.backend = b.backend,
                               .kinds = kinds,
                               .kind_count = KIND_COUNT,
                               .limits = limits,
                               .max_pods = b.pool + 2 * b.clients + 4,
                               .create_concurrency = 8,
                               .now_ns = clock_mono_ns};
    if (e == ERR_OK)
        e = pools_open(&po, &b.pools);
    if (e == ERR_OK)
        e = metrics_open(METRICS_WORKER, NULL, &b.metrics);
    struct jobruns_options ro = {
        .loop = &b.loop, .pools = b.pools, .metrics = b.metrics, .pod_limits = limits};
    ro.queue = (struct jobrun_queue){.append = do_append, .finish = do_finish, .requeue = do_requeue};
    if (e == ERR_OK)
        e = jobruns_open(&ro, &b.runs);
    return e;
}

int main(int argc, char **argv)
{
    struct errinfo info = {0};
    log_open("bench", LOG_INFO, true);
    take_options(argc, argv);
    b.took_ns = calloc(b.wanted + 1, sizeof *b.took_ns);
    auto_buf code = BUF_INIT(4000);
    json_write_string(&code, str_of(b.code));
    snprintf(b.request, sizeof b.request, "{\"lang\":\"%s\",\"code\":%s}", b.lang, buf_cstr(&code));
    if (!b.took_ns || open_all(&info) != ERR_OK) {
        fprintf(stderr, "%s\n", info.text);
        return 1;
    }
    uv_timer_init(&b.loop, &b.tick);
    uv_timer_start(&b.tick, on_tick, 0, 50);
    uv_check_init(&b.loop, &b.answers);
    uv_check_start(&b.answers, on_check);
    uv_idle_init(&b.loop, &b.busy);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    report();
    return 0;
}
