/* SPDX-License-Identifier: Apache-2.0 */
/* A worker without a queue, for tests and figures: the spawner starts it, it runs one program, or many, in pods and prints one
   JSON line for each. millrace-spawner ... -- podrun [options] -- /usr/bin/python3 main.py
   With --serve alone it takes such arguments from its standard input, one request after the other, until that ends: a line with
   the number of bytes that follow, then the arguments, each with a NUL behind it. */
#include "podrun_files.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "worker/frame.h"
#include "worker/spawner/fdmsg.h"
#include "worker/spawner/proto.h"
#include "worker/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { OUTPUT_MAX = 64 << 20, BENCH_MAX = 100000, WATCHDOG_MS = 120000, WARM_TRIES = 500 };
enum { REQUEST_MAX = 20 << 20, REQUEST_ARGS = 1024 };

struct options {
    const char *kind, *source_name, *source_path, *stdin_text;
    char **argv, **compile;
    const char *env[32];
    size_t env_n;
    uint64_t wall_ms, cpu_ms, output, nofile, fsize, nproc;
    struct pod_limits limits;
    unsigned long runs, bench, ahead, tries; /* tries: for a pod of a kind whose template may not be up yet */
    unsigned signal;                         /* at the program's first output, and so is the cancel */
    bool cancel;
    bool hold_stdin;
    bool collect;   /* the files that it leaves are told */
    bool hold_pods; /* all are made before the first is used, and destroyed after the last */
    const char *text_source;
    unsigned long hold_ms;  /* keep pods for so long before use */
    unsigned long stall_ms; /* read nothing of a run for so long */
};

struct pod {
    uint64_t id, tag;
    int fd;
    bool ready, started, done, gone;
    struct buf in, out, err, files, file;
    struct frame_exit exit, stage;
    bool has_exit, has_stage;
    char error[256];
    struct pod_usage usage;
    int64_t begun_ns, ready_ns, sent_ns, first_ns, exit_ns, gone_ns;
};

static int spawner_fd;
static struct options opt;
static uint64_t next_tag = 1;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "podrun: %s\n", what);
    exit(70);
}

static void send_request(uint32_t type, uint64_t tag, uint64_t pod)
{
    struct spawner_request r = {
        .magic = SPAWNER_MAGIC, .type = type, .tag = tag, .pod = pod, .limits = opt.limits};
    snprintf(r.kind, sizeof r.kind, "%s", opt.kind);
    if (fdmsg_send(spawner_fd, &r, sizeof r, NULL, 0, true) != ERR_OK)
        die("the spawner is gone");
}

static struct spawner_reply receive_reply(int *ret_fd)
{
    struct spawner_reply r;
    int fds[1] = {-1};
    size_t n = 0;
    struct pollfd p = {.fd = spawner_fd, .events = POLLIN};
    if (poll(&p, 1, WATCHDOG_MS) <= 0)
        die("the spawner does not answer");
    if (fdmsg_recv(spawner_fd, &r, sizeof r, fds, 1, &n, true) != ERR_OK || r.magic != SPAWNER_MAGIC)
        die("the spawner is gone");
    *ret_fd = n == 1 ? fds[0] : -1;
    return r;
}

static struct pod *new_pod(void)
{
    struct pod *p = calloc(1, sizeof *p);
    if (p == NULL)
        die("out of memory");
    p->fd = -1;
    p->in = BUF_INIT(1 << 20);
    p->out = BUF_INIT(OUTPUT_MAX);
    p->err = BUF_INIT(OUTPUT_MAX);
    p->files = BUF_INIT(OUTPUT_MAX);
    p->file = BUF_INIT(OUTPUT_MAX);
    p->tag = next_tag++;
    p->begun_ns = clock_mono_ns();
    return p;
}

static void put_cstr(struct buf *b, enum spec_tag tag, const char *text)
{
    spec_put(b, tag, str_of(text));
}

static void read_whole(const char *path, struct buf *out)
{
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
    char *room;
    while (fd >= 0 && (room = buf_reserve(out, 65536)) != NULL) {
        ssize_t n = read(fd, room, 65536);
        if (n <= 0)
            return;
        out->len += (size_t)n;
    }
    die(path);
}

static void put_u64(struct buf *b, enum spec_tag tag, uint64_t v)
{
    if (v != 0)
        spec_put_u64(b, tag, v);
}

static void write_all(int fd, const struct buf *b)
{
    for (size_t at = 0; at < b->len;) {
        ssize_t n = write(fd, b->data + at, b->len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* the pod is gone; its exit tells more */
        at += (size_t)n;
    }
}

static void build_job(struct buf *out)
{
    auto_buf spec = BUF_INIT(SPEC_SIZE_MAX);
    auto_buf source = BUF_INIT(SPEC_SIZE_MAX);
    bool command = strcmp(opt.kind, "cold") == 0 || strcmp(opt.kind, "bash") == 0;
    for (char **a = opt.argv; *a != NULL; a++)
        put_cstr(&spec, command ? SPEC_ARGV : SPEC_PROGRAM_ARGS, *a);
    if (strcmp(opt.kind, "java") ==
        0) { /* the class to run, where a command would have it; and that it is to be compiled */
        put_cstr(&spec, SPEC_ARGV, "Main");
        put_cstr(&spec, SPEC_COMPILE_ARGV, "javac");
    }
    for (char **a = opt.compile; a != NULL && *a != NULL; a++)
        put_cstr(&spec, SPEC_COMPILE_ARGV, *a);
    for (size_t i = 0; i < opt.env_n; i++)
        put_cstr(&spec, SPEC_ENV, opt.env[i]);
    if (opt.source_path != NULL)
        read_whole(opt.source_path, &source);
    if (opt.text_source != NULL)
        buf_append_cstr(&source, opt.text_source);
    if (opt.source_name != NULL) {
        put_cstr(&spec, SPEC_SOURCE_NAME, opt.source_name);
        spec_put(&spec, SPEC_SOURCE, buf_str(&source));
    }
    put_u64(&spec, SPEC_LIMIT_WALL_MS, opt.wall_ms);
    put_u64(&spec, SPEC_LIMIT_CPU_MS, opt.cpu_ms);
    put_u64(&spec, SPEC_LIMIT_OUTPUT, opt.output);
    put_u64(&spec, SPEC_LIMIT_NOFILE, opt.nofile);
    put_u64(&spec, SPEC_LIMIT_FSIZE, opt.fsize);
    put_u64(&spec, SPEC_LIMIT_NPROC, opt.nproc);
    if (opt.hold_stdin)
        spec_put_u64(&spec, SPEC_STDIN_OPEN, 1);
    frame_append(out, FRAME_SPEC, spec.data, spec.len);
    if (opt.stdin_text != NULL)
        frame_append(out, FRAME_STDIN, opt.stdin_text, strlen(opt.stdin_text));
    if (opt.collect)
        podrun_collect(out);
    frame_append(out, FRAME_START, NULL, 0);
}

static void on_frame(struct pod *p, const struct frame *f)
{
    int64_t now = clock_mono_ns();
    size_t n = f->payload.n < sizeof p->error - 1 ? f->payload.n : sizeof p->error - 1;
    switch (f->type) {
    case FRAME_READY:
        p->ready = true;
        p->ready_ns = now;
        break;
    case FRAME_STARTED:
        p->started = true;
        break;
    case FRAME_STDIN_TAKEN: /* all of it was sent at once */
        break;
    case FRAME_STDOUT:
    case FRAME_STDERR:
        if (p->first_ns == 0)
            p->first_ns = now;
        if (p->has_exit)
            die("output behind EXIT");
        buf_append_str(f->type == FRAME_STDOUT ? &p->out : &p->err, f->payload);
        break;
    case FRAME_STAGE:
        p->has_stage = frame_get_exit(f->payload, &p->stage) == ERR_OK;
        break;
    case FRAME_EXIT:
        p->has_exit = frame_get_exit(f->payload, &p->exit) == ERR_OK;
        p->exit_ns = now;
        break;
    case FRAME_ERROR:
    case FRAME_DEAD:
        memcpy(p->error, f->payload.p, n);
        break;
    case FRAME_DONE:
        p->done = true;
        break;
    default:
        if (!podrun_file(&p->files, &p->file, f))
            die("a frame of an unknown type");
    }
}

/* False at the end of the socket. */
static bool pump(struct pod *p)
{
    char *room = buf_reserve(&p->in, 256 * 1024);
    ssize_t n = room == NULL ? -1 : read(p->fd, room, 256 * 1024);
    if (n <= 0)
        return false;
    p->in.len += (size_t)n;
    struct frame f;
    size_t used = 0;
    for (;;) {
        enum err e = frame_take(buf_str(&p->in), &f, &used);
        if (e == ERR_AGAIN)
            return true;
        if (e != ERR_OK)
            die("the runner breaks the protocol");
        on_frame(p, &f);
        buf_consume(&p->in, used);
    }
}

static void wait_ready(struct pod *p)
{
    while (!p->ready && p->error[0] == '\0') {
        struct pollfd q = {.fd = p->fd, .events = POLLIN};
        if (poll(&q, 1, WATCHDOG_MS) <= 0)
            die("the pod does not become ready");
        if (!pump(p)) {
            snprintf(p->error, sizeof p->error, "the pod closed before it was ready");
            return;
        }
    }
}

static void interrupt(struct pod *p)
{
    auto_buf b = BUF_INIT(4096);
    if (opt.cancel)
        frame_append_u32(&b, FRAME_KILL, PE_CANCELLED);
    if (opt.signal != 0)
        frame_append_u32(&b, FRAME_SIGNAL, opt.signal);
    opt.cancel = false;
    opt.signal = 0;
    write_all(p->fd, &b);
}

static void run_job(struct pod *p)
{
    auto_buf job = BUF_INIT(SPEC_SIZE_MAX + (1 << 20));
    build_job(&job);
    p->sent_ns = clock_mono_ns();
    write_all(p->fd, &job);
    if (opt.stall_ms > 0)
        poll(NULL, 0, (int)opt.stall_ms);
    while (!p->done) {
        struct pollfd q = {.fd = p->fd, .events = POLLIN};
        int n = poll(&q, 1, WATCHDOG_MS);
        if (n > 0 && !pump(p)) {
            if (p->error[0] == '\0' && !p->has_exit)
                snprintf(p->error, sizeof p->error, "the pod closed");
            return;
        }
        if (n == 0)
            die("the pod does not answer");
        if (p->first_ns != 0 && !p->has_exit)
            interrupt(p);
    }
}

static void print_exit(struct buf *b, const char *key, const struct frame_exit *e)
{
    static const char *const ends[] = {"own", "wall", "cpu", "output", "cancelled", "worker_gone", "memory"};
    buf_printf(b, "\"%s\":{\"exit_code\":%d,\"signal\":%d,\"end\":\"%s\",\"processes\":%u,\"wall_ms\":%.3f,",
               key, e->exit_code, e->signal, e->end < sizeof ends / sizeof ends[0] ? ends[e->end] : "?",
               e->processes, (double)e->wall_ns / 1e6);
    buf_printf(b, "\"user_ms\":%.3f,\"system_ms\":%.3f,\"max_rss\":%llu},", (double)e->user_ns / 1e6,
               (double)e->system_ns / 1e6, (unsigned long long)e->max_rss_bytes);
}

static void print_pod(struct pod *p)
{
    auto_buf b = BUF_INIT((size_t)1 << 30);
    auto_buf error = BUF_INIT(1024);
    buf_append_cstr(&error, p->error);
    buf_append_char(&b, '{');
    if (p->has_exit)
        print_exit(&b, "exit", &p->exit);
    if (p->has_stage)
        print_exit(&b, "stage", &p->stage);
    buf_append_cstr(&b, "\"error\":");
    podrun_quote(&b, buf_str(&error));
    buf_append_cstr(&b, ",\"stdout\":");
    podrun_quote(&b, buf_str(&p->out));
    buf_append_cstr(&b, ",\"stderr\":");
    podrun_quote(&b, buf_str(&p->err));
    if (p->files.len > 0) /* less its last comma */
        buf_printf(&b, ",\"files\":[%.*s]", (int)p->files.len - 1, p->files.data);
    buf_printf(&b,
               ",\"usage\":{\"cpu_ms\":%.3f,\"memory_peak\":%llu,\"oom_kills\":%llu,\"pids_refused\":%llu},",
               (double)p->usage.cpu_ns / 1e6, (unsigned long long)p->usage.memory_peak_bytes,
               (unsigned long long)p->usage.oom_kills, (unsigned long long)p->usage.pids_refused);
    buf_printf(
        &b,
        "\"create_ms\":%.3f,\"run_ms\":%.3f,\"first_ms\":%.3f,\"gone_ms\":%.3f,\"done\":%s,\"started\":%s}\n",
        (double)(p->ready_ns - p->begun_ns) / 1e6, (double)(p->exit_ns - p->sent_ns) / 1e6,
        p->first_ns ? (double)(p->first_ns - p->sent_ns) / 1e6 : -1.0,
        (double)(p->gone_ns - p->exit_ns) / 1e6, p->done ? "true" : "false", p->started ? "true" : "false");
    if (buf_status(&b) != ERR_OK || fwrite(b.data, 1, b.len, stdout) != b.len || fflush(stdout) != 0)
        die("cannot print");
}

static void free_pod(struct pod *p)
{
    if (p->fd >= 0)
        close(p->fd);
    buf_free(&p->in);
    buf_free(&p->out);
    buf_free(&p->err);
    buf_free(&p->files);
    buf_free(&p->file);
    free(p);
}

static struct pod **pods;
static size_t pods_n;

static struct pod *by_tag(uint64_t tag)
{
    for (size_t i = 0; i < pods_n; i++) {
        if (pods[i] != NULL && pods[i]->tag == tag)
            return pods[i];
    }
    return NULL;
}

static struct pod *by_id(uint64_t id)
{
    for (size_t i = 0; i < pods_n; i++) {
        if (pods[i] != NULL && pods[i]->id == id)
            return pods[i];
    }
    return NULL;
}

static void on_reply(void)
{
    int fd = -1;
    struct spawner_reply r = receive_reply(&fd);
    if (r.type == SPAWNER_HELLO)
        return;
    struct pod *p = r.type == SPAWNER_GONE ? by_id(r.pod) : by_tag(r.tag);
    if (p == NULL)
        return;
    if (r.type == SPAWNER_CREATED) {
        p->id = r.pod;
        p->fd = fd;
    } else if (r.type == SPAWNER_GONE) {
        p->usage = r.usage;
        p->gone = true;
        p->gone_ns = clock_mono_ns();
    } else {
        snprintf(p->error, sizeof p->error, "%s", r.text);
        p->gone = true;
    }
}

static struct pod *create(void)
{
    struct pod *p = new_pod();
    for (size_t i = 0; i < pods_n; i++) {
        if (pods[i] == NULL) {
            pods[i] = p;
            send_request(SPAWNER_CREATE, p->tag, 0);
            return p;
        }
    }
    die("too many pods");
}

static void forget(struct pod *p)
{
    for (size_t i = 0; i < pods_n; i++) {
        if (pods[i] == p)
            pods[i] = NULL;
    }
    free_pod(p);
}

/* A warm kind is refused until its template is up; a worker would take a cold pod, we ask again. */
static struct pod *create_when_warm(void)
{
    for (unsigned long tries = 0;; tries++) {
        struct pod *p = create();
        while (p->fd < 0 && !p->gone)
            on_reply();
        if (p->fd >= 0 || tries + 1 >= opt.tries || strcmp(opt.kind, "cold") == 0)
            return p;
        forget(p);
        poll(NULL, 0, 20);
    }
}

static void destroy(struct pod *p)
{
    if (p->id != 0)
        send_request(SPAWNER_DESTROY, p->tag, p->id);
    while (!p->gone)
        on_reply();
    print_pod(p);
    forget(p);
}

static struct pod *prepare(void)
{
    struct pod *p = create_when_warm();
    if (p->fd >= 0)
        wait_ready(p);
    return p;
}

static void runs(void)
{
    struct pod *held[64];
    size_t n = 0, max = opt.hold_pods ? sizeof held / sizeof held[0] : 1;
    for (unsigned long i = 0; i < opt.runs; i++) {
        held[n++] = prepare();
        if (n < max && i + 1 < opt.runs)
            continue;
        if (opt.hold_ms > 0)
            poll(NULL, 0, (int)opt.hold_ms);
        for (size_t k = 0; k < n; k++) {
            if (held[k]->ready)
                run_job(held[k]);
        }
        for (size_t k = 0; k < n; k++)
            destroy(held[k]);
        n = 0;
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print_quantiles(const char *name, double *v, size_t n)
{
    qsort(v, n, sizeof *v, by_value);
    printf("\"%s\":{\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f},", name, v[n / 2], v[n * 9 / 10],
           v[n * 99 / 100], v[n - 1]);
}

/* `ahead` pods are kept ready; one job after the other runs in the oldest. */
static void bench(void)
{
    unsigned long made = 0, run = 0;
    double *latency = calloc(opt.bench, sizeof *latency);
    double *creation = calloc(opt.bench, sizeof *creation);
    struct pod **ready = calloc(opt.ahead + 1, sizeof(struct pod *));
    size_t head = 0, count = 0;
    if (latency == NULL || creation == NULL || ready == NULL)
        die("out of memory");
    struct pod *first = create_when_warm();
    send_request(SPAWNER_DESTROY, first->tag, first->id);
    int64_t begun = clock_mono_ns();
    while (run < opt.bench) {
        for (; made < opt.bench && count < opt.ahead; made++)
            ready[(head + count++) % (opt.ahead + 1)] = create();
        struct pod *p = ready[head];
        while (p->fd < 0 && !p->gone)
            on_reply();
        if (p->fd < 0)
            die(p->error);
        wait_ready(p);
        run_job(p);
        if (!p->has_exit || p->exit.exit_code != 0)
            die(p->error[0] != '\0' ? p->error : "the program failed");
        latency[run] = (double)(p->exit_ns - p->sent_ns) / 1e6;
        creation[run++] = (double)(p->ready_ns - p->begun_ns) / 1e6;
        send_request(SPAWNER_DESTROY, p->tag, p->id);
        head = (head + 1) % (opt.ahead + 1);
        count--;
        struct pollfd q = {.fd = spawner_fd, .events = POLLIN};
        while (poll(&q, 1, 0) > 0)
            on_reply();
        for (size_t i = 0; i < pods_n; i++) {
            if (pods[i] != NULL && pods[i]->gone)
                forget(pods[i]);
        }
    }
    double seconds = (double)(clock_mono_ns() - begun) / 1e9;
    printf("{\"kind\":\"%s\",\"runs\":%lu,\"per_second\":%.1f,", opt.kind, run, (double)run / seconds);
    print_quantiles("run_ms", latency, run);
    print_quantiles("create_ms", creation, run);
    printf("\"ahead\":%lu}\n", opt.ahead);
    free(latency);
    free(creation);
    free(ready);
}

static uint64_t number(const char *text)
{
    uint64_t v = 0;
    if (str_to_u64(str_of(text), &v) != ERR_OK)
        die("a number is wanted");
    return v;
}

static void set_option(const char *key, char *value)
{
    const struct {
        const char *key;
        uint64_t *to;
    } numbers[] = {
        {"--wall-ms", &opt.wall_ms},
        {"--cpu-ms", &opt.cpu_ms},
        {"--output", &opt.output},
        {"--nofile", &opt.nofile},
        {"--fsize", &opt.fsize},
        {"--nproc", &opt.nproc},
        {"--memory", &opt.limits.memory_bytes},
        {"--pids", &opt.limits.pids},
        {"--cpu-millis", &opt.limits.cpu_millis},
        {"--work-bytes", &opt.limits.work_bytes},
        {"--work-inodes", &opt.limits.work_inodes},
        {"--tmp-bytes", &opt.limits.tmp_bytes},
        {"--runs", &opt.runs},
        {"--bench", &opt.bench},
        {"--ahead", &opt.ahead},
        {"--tries", &opt.tries},
        {"--hold-ms", &opt.hold_ms},
        {"--stall-ms", &opt.stall_ms},
    };
    const struct {
        const char *key;
        const char **to;
    } texts[] = {{"--kind", &opt.kind},
                 {"--name", &opt.source_name},
                 {"--source", &opt.source_path},
                 {"--code", &opt.text_source},
                 {"--stdin", &opt.stdin_text}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(key, numbers[i].key) == 0) {
            *numbers[i].to = number(value);
            return;
        }
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(key, texts[i].key) == 0) {
            *texts[i].to = value;
            return;
        }
    }
    if (strcmp(key, "--env") == 0 && opt.env_n < sizeof opt.env / sizeof opt.env[0])
        opt.env[opt.env_n++] = value;
    else if (strcmp(key, "--signal") == 0)
        opt.signal = (unsigned)number(value);
    else
        die(key);
}

static void split_words(char *text, char **words, size_t max)
{
    size_t n = 0;
    for (char *save = NULL, *w = strtok_r(text, " ", &save); w != NULL && n + 1 < max;
         w = strtok_r(NULL, " ", &save))
        words[n++] = w;
    words[n] = NULL;
}

static void parse(char **argv)
{
    static char *compile[32];
    static char *none[1];
    opt = (struct options){.kind = "cold",
                           .wall_ms = 30000,
                           .output = 16 << 20,
                           .nofile = 1024,
                           .runs = 1,
                           .ahead = 8,
                           .tries = WARM_TRIES};
    opt.limits = (struct pod_limits){.memory_bytes = 512 << 20,
                                     .pids = 512,
                                     .cpu_millis = 2000,
                                     .work_bytes = 128 << 20,
                                     .work_inodes = 4096,
                                     .tmp_bytes = 64 << 20};
    opt.env[opt.env_n++] = "PATH=/usr/bin:/bin";
    opt.env[opt.env_n++] = "HOME=/mnt/data";
    for (argv++; *argv != NULL && strcmp(*argv, "--") != 0; argv++) {
        if (strcmp(*argv, "--hold-stdin") == 0)
            opt.hold_stdin = true;
        else if (strcmp(*argv, "--cancel") == 0)
            opt.cancel = true;
        else if (strcmp(*argv, "--hold-pods") == 0)
            opt.hold_pods = true;
        else if (strcmp(*argv, "--collect") == 0)
            opt.collect = true;
        else if (strcmp(*argv, "--compile") == 0 && argv[1] != NULL)
            split_words(*++argv, opt.compile = compile, 32);
        else if (argv[1] == NULL)
            die(*argv);
        else {
            set_option(argv[0], argv[1]);
            argv++;
        }
    }
    opt.argv = *argv == NULL ? none : argv + 1;
}

/* False at the end of the input. */
static bool take_request(char **argv, char *bytes)
{
    static char name[] = "podrun";
    char line[16];
    size_t n = 0, length;
    if (fgets(line, sizeof line, stdin) == NULL)
        return false;
    length = strtoul(line, NULL, 10);
    if (length == 0 || length > REQUEST_MAX || fread(bytes, 1, length, stdin) != length ||
        bytes[length - 1] != '\0')
        die("a damaged request");
    argv[n++] = name;
    for (char *at = bytes; at < bytes + length && n < REQUEST_ARGS; at += strlen(at) + 1)
        argv[n++] = at;
    argv[n] = NULL;
    return true;
}

static void serve(void)
{
    static char *argv[REQUEST_ARGS + 1];
    char *bytes = malloc(REQUEST_MAX);
    if (bytes == NULL)
        die("out of memory");
    while (take_request(argv, bytes)) {
        parse(argv);
        runs();
    }
    free(bytes);
}

int main(int argc, char **argv)
{
    const char *fd = getenv(SPAWNER_FD_ENV);
    bool serving = argc == 2 && strcmp(argv[1], "--serve") == 0;
    if (!serving)
        parse(argv);
    if (fd == NULL)
        die("started without a spawner");
    spawner_fd = (int)number(fd);
    pods_n = opt.ahead * 2 + 72;
    pods = calloc(pods_n, sizeof(struct pod *));
    if (pods == NULL)
        die("out of memory");
    int none = -1;
    struct spawner_reply hello = receive_reply(&none);
    if (hello.type != SPAWNER_HELLO)
        die("the spawner said no hello");
    if (serving)
        serve();
    else if (opt.bench > 0)
        bench();
    else
        runs();
    free(pods);
    return 0;
}
