/* SPDX-License-Identifier: Apache-2.0 */
/* What the queue alone costs: submit -> claim -> finish -> the end at the submitter, with a worker in a process of its
   own that finishes each job at once.
     queue_bench [RUNS]   one client at a time, then 64 at a time, with appendfsync always and everysec */
#include "support/queue_world.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_CLIENTS = 64, MAX_RUNS = 200000 };

struct bench;

struct client {
    struct bench *b;
    struct log_reader *reader;
    int64_t began_ns;
};

struct bench {
    struct queue *q;
    unsigned runs, begun, ended;
    int64_t *took_ns;
    struct client clients[MAX_CLIENTS];
};

static void begin(struct client *c);

static void on_event(void *arg, enum reader_state state, const struct event *event)
{
    struct client *c = arg;
    (void)event; /* the end is enough */
    if (state != READER_END)
        return;
    log_reader_close(c->reader);
    c->b->took_ns[c->b->ended++] = clock_mono_ns() - c->began_ns;
    begin(c);
}

static void on_accepted(void *arg, enum queue_answer answer, const struct queue_submitted *result)
{
    struct client *c = arg;
    if (answer != QUEUE_OK) {
        fprintf(stderr, "queue_bench: a submit was answered %d\n", answer);
        abort();
    }
    c->reader = log_reader_open_sync(c->b->q, result->job, result->event_id, on_event, c);
}

static void begin(struct client *c)
{
    static const struct queue_submit submit = {
        .tenant = {"t", 1},
        .user = {"u", 1},
        .class_name = {"local", 5},
        .lang = {"py", 2},
        .request = {"{\"lang\":\"py\",\"code\":\"print(1)\"}", 31},
        .sync = true,
        .retry = true,
        .cost_ms = 5,
    };
    if (c->b->begun == c->b->runs)
        return;
    c->b->begun++;
    c->began_ns = clock_mono_ns();
    queue_submit(c->b->q, &submit, on_accepted, c);
}

static pid_t start_worker(struct world *w)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct world *child = calloc(1, sizeof *child);
    struct worker *k = calloc(1, sizeof *k);
    uv_loop_init(&child->loop);
    child->options = w->options;
    k->instant = true;
    worker_open(k, world_queue(child), "bench", 8);
    uv_run(&child->loop, UV_RUN_DEFAULT);
    _exit(0);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static bool is_done(void *arg)
{
    struct bench *b = arg;
    return b->ended == b->runs;
}

/* Processor time of the store, us. */
static double store_cpu_us(const struct world *w)
{
    static char reply[16384];
    double total = 0;
    redis_server_ask(&w->redis, "INFO cpu", reply, sizeof reply);
    for (size_t i = 0; i < 2; i++) {
        const char *at = strstr(reply, (const char *const[]){"used_cpu_sys:", "used_cpu_user:"}[i]);
        total += at ? strtod(strchr(at, ':') + 1, NULL) * 1e6 : 0;
    }
    return total;
}

/* Of a process, from its stat; us, in steps of a tick. */
static double process_cpu_us(pid_t pid)
{
    char path[64], text[1024] = "";
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[n] = '\0';
    if (file)
        fclose(file);
    const char *rest = strrchr(text, ')');
    if (rest && sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return 0;
    return (double)(user + system) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static void measure(struct world *w, pid_t worker, const char *fsync, unsigned clients, unsigned runs)
{
    struct bench *b = calloc(1, sizeof *b);
    b->q = w->api;
    b->runs = runs;
    b->took_ns = calloc(runs, sizeof *b->took_ns);
    double store = store_cpu_us(w), client = process_cpu_us(getpid()), work = process_cpu_us(worker);
    int64_t start = clock_mono_ns();
    for (unsigned i = 0; i < clients; i++) {
        b->clients[i].b = b;
        begin(&b->clients[i]);
    }
    while (!is_done(b))
        uv_run(&w->loop, UV_RUN_ONCE);
    double seconds = (double)(clock_mono_ns() - start) / 1e9;
    qsort(b->took_ns, runs, sizeof *b->took_ns, by_value);
    printf("appendfsync %-8s clients %2u: p50 %.3f ms  p99 %.3f ms  max %.3f ms  %.0f jobs/s\n", fsync,
           clients, (double)b->took_ns[runs / 2] / 1e6, (double)b->took_ns[runs * 99 / 100] / 1e6,
           (double)b->took_ns[runs - 1] / 1e6, runs / seconds);
    printf("    processor time a job: store %.0f us, submitter %.0f us, worker %.0f us\n",
           (store_cpu_us(w) - store) / runs, (process_cpu_us(getpid()) - client) / runs,
           (process_cpu_us(worker) - work) / runs);
    fflush(stdout);
    free(b->took_ns);
    free(b);
}

int main(int argc, char **argv)
{
    static const char *const policies[] = {"always", "everysec"};
    unsigned runs = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 2000;
    if (runs < 100 || runs > MAX_RUNS) {
        fprintf(stderr, "usage: queue_bench [RUNS, 100 to %d]\n", MAX_RUNS);
        return 2;
    }
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        struct world w;
        world_init(&w, policies[i], false);
        pid_t worker = start_worker(&w);
        world_open(&w);
        measure(&w, worker, "(warm up)", 1, 200);
        measure(&w, worker, policies[i], 1, runs);
        measure(&w, worker, policies[i], MAX_CLIENTS, runs * 4);
        kill(worker, SIGKILL);
        waitpid(worker, NULL, 0);
        world_close(&w);
    }
    return 0;
}
