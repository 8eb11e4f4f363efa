/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/slice.h"
#include "worker/spawner/idmap.h"
#include "worker/spawner/memfd.h"
#include "worker/spawner/plan.h"
#include "worker/spawner/preflight_look.h"
#include "worker/spawner/seccomp.h"
#include "worker/spawner/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
    EXIT_USAGE = 64,
    EXIT_UNAVAILABLE = 69,
    EXIT_SOFTWARE = 70,
    EXIT_CONFIG = 78,
    WORKER_ID = 65533,
    TABLE_MAX = 16384
};
#define WORKER_GRACE_NS (30 * 1000000000LL)
#define EXE_ENV         "MILLRACE_SPAWNER_EXE"

static struct spawner spawner;
static const char *state_dir;

static void usage(FILE *to)
{
    fputs("millrace-spawner [options] -- worker [arguments]\n"
          "Starts the worker without privilege and makes its local pods. Both end together.\n\n"
          "  --rootless              without privilege even when there is some (needs /etc/subuid and "
          "newuidmap)\n"
          "  --helper PATH           millrace-podhelper (beside this program)\n"
          "  --state DIR             its name: one spawner a directory (/run/millrace, or ~ without "
          "privilege)\n"
          "  --worker-uid N, --worker-gid N   who the worker is (65533)\n"
          "  --accept-missing=NAME   go on without what this host lacks; again for each\n"
          "  --check                 print what the host gives, and stop\n"
          "  --help\n",
          to);
}

struct options {
    bool rootless, check;
    uint64_t accepted;
};

/* A positive number of an id. */
static bool parse_id(const char *text, unsigned *ret)
{
    uint64_t v = 0;
    if (text == NULL || str_to_u64(str_of(text), &v) != ERR_OK || v >= UINT32_MAX)
        return false;
    *ret = (unsigned)v;
    return true;
}

static bool accept_missing(const char *name, struct options *o)
{
    uint64_t bit = preflight_acceptable(name);
    if (bit == 0)
        fprintf(stderr, "millrace-spawner: --accept-missing=%s: nothing of this name can be accepted\n",
                name);
    o->accepted |= bit;
    return bit != 0;
}

/* The setting of that name, for a spawner that no `millrace up` starts. */
static bool accept_from_environment(struct options *o)
{
    bool good = true;
    for (struct str rest = str_of(getenv("POD_ACCEPT_MISSING")); rest.p != NULL;) {
        char name[64];
        struct str word = str_trim(str_split(&rest, ','));
        if (word.n == 0)
            continue;
        snprintf(name, sizeof name, STR_FMT, STR_ARG(word));
        good = accept_missing(name, o) && good;
    }
    return good;
}

/* How many arguments it took; 0: not an option of ours, or a bad value. */
static int parse_option(struct spawner *s, struct options *o, char **argv)
{
    static const char accept[] = "--accept-missing=";
    const char *a = argv[0];
    if (strcmp(a, "--rootless") == 0)
        return o->rootless = true, 1;
    if (strcmp(a, "--check") == 0)
        return o->check = true, 1;
    if (strncmp(a, accept, sizeof accept - 1) == 0)
        return accept_missing(a + sizeof accept - 1, o) ? 1 : 0;
    if (argv[1] == NULL)
        return 0;
    if (strcmp(a, "--helper") == 0)
        return s->helper_path = argv[1], 2;
    if (strcmp(a, "--state") == 0)
        return state_dir = argv[1], 2;
    if (strcmp(a, "--worker-uid") == 0)
        return parse_id(argv[1], &s->worker_uid) ? 2 : 0;
    if (strcmp(a, "--worker-gid") == 0)
        return parse_id(argv[1], &s->worker_gid) ? 2 : 0;
    return 0;
}

static bool parse(struct spawner *s, struct options *o, char **argv)
{
    if (!accept_from_environment(o))
        return false;
    for (argv++; *argv != NULL && strcmp(*argv, "--") != 0;) {
        int taken = parse_option(s, o, argv);
        if (taken == 0) {
            fprintf(stderr, "millrace-spawner: %s: not understood (see --help)\n", *argv);
            return false;
        }
        argv += taken;
    }
    s->worker_argv = *argv == NULL ? argv : argv + 1;
    if (*s->worker_argv == NULL && !o->check) {
        fputs("millrace-spawner: no worker given: millrace-spawner [options] -- worker [arguments]\n",
              stderr);
        return false;
    }
    return true;
}

/* Test builds only: MILLRACE_TEST_OFF=seccomp,no_new_privs */
static unsigned defences_off(void)
{
    unsigned off = 0;
#ifdef MILLRACE_TEST_BUILD
    struct str list = str_of(getenv("MILLRACE_TEST_OFF"));
    while (list.p != NULL) {
        struct str name = str_split(&list, ',');
        enum defence d = defence_named(name);
        if (d != DEFENCE_COUNT)
            off |= 1U << d;
        else if (name.n > 0)
            fprintf(stderr, "millrace-spawner: MILLRACE_TEST_OFF: no defence is named " STR_FMT "\n",
                    STR_ARG(name));
    }
#endif
    return off;
}

/* The state directory names us: a second spawner there is refused, and what an earlier one left is swept. */
static enum err take_name(struct spawner *s, char *name, size_t size, uint64_t *ret_hash,
                          struct errinfo *info)
{
    char fallback[64], real[PATH_MAX];
    snprintf(fallback, sizeof fallback, s->privileged ? "/run/millrace" : "/tmp/millrace-%u",
             (unsigned)getuid());
    const char *dir = state_dir != NULL ? state_dir : fallback;
    if ((mkdir(dir, 0755) != 0 && errno != EEXIST) || realpath(dir, real) == NULL)
        return errinfo_set(info, ERR_SYSTEM, errno, "the state directory %s", dir);
    s->state = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* held until we end */
    if (s->state < 0 || flock(s->state, LOCK_EX | LOCK_NB) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "another spawner uses %s", real);
    *ret_hash = str_hash(STR_HASH, str_of(real));
    snprintf(name, size, "millrace-%016llx", (unsigned long long)*ret_hash);
    return ERR_OK;
}

static const char *beside_us(const char *name)
{
    static char path[PATH_MAX];
    const char *exe = getenv(EXE_ENV);
    const char *slash = exe == NULL ? NULL : strrchr(exe, '/');
    if (slash == NULL)
        return name;
    snprintf(path, sizeof path, "%.*s/%s", (int)(slash - exe), exe, name);
    return path;
}

enum err spawner_watch(struct spawner *s, int fd, enum source source, uint32_t index)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)source << 32 | index};
    return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e) == 0 ? ERR_OK : ERR_SYSTEM;
}

static enum err open_signals(struct spawner *s, struct errinfo *info)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll < 0 || sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "signals");
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signals < 0 || spawner_watch(s, s->signals, SOURCE_SIGNALS, 0) != ERR_OK)
        return errinfo_set(info, ERR_SYSTEM, errno, "signals");
    return ERR_OK;
}

static void raise_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files); /* fewer pods, then: each descriptor is checked */
    }
}

static void reap(struct spawner *s)
{
    int status = 0;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == s->worker_pid) {
            s->worker_pid = 0;
            s->worker_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            s->stopping = true;
        } else if (pid == s->helper_pid) {
            s->helper_pid = 0;
            s->failed = !s->stopping;
            s->stopping = true;
        }
    }
}

static void on_signals(struct spawner *s)
{
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            reap(s);
        else if (s->worker_pid > 0)
            kill(s->worker_pid, SIGTERM); /* it drains; its end is ours */
        else
            s->stopping = true;
    }
}

static void on_event(struct spawner *s, uint64_t what)
{
    uint32_t index = (uint32_t)what;
    switch ((enum source)(what >> 32)) {
    case SOURCE_SIGNALS:
        on_signals(s);
        return;
    case SOURCE_HELPER:
        pods_on_helper(s);
        return;
    case SOURCE_WORKER:
        pods_on_worker(s);
        return;
    case SOURCE_POD:
        pods_on_exit(s, index);
        return;
    case SOURCE_TEMPLATE:
        pods_on_template(s, &s->templates[index]);
        return;
    }
}

static void serve(struct spawner *s)
{
    fault_enter(FAULT_NONE);
    while (!s->stopping) {
        struct epoll_event events[64];
        int n = epoll_wait(s->epoll, events, 64, templates_keep(s));
        if (n < 0 && errno != EINTR)
            return;
        fault_enter(FAULT_SPAWNER_POD);
        for (int i = 0; i < n && !s->stopping; i++)
            on_event(s, events[i].data.u64);
        fault_enter(FAULT_NONE);
    }
}

/* It hands back what it has; then it is ended. */
static void end_worker(struct spawner *s)
{
    int64_t until = clock_mono_ns() + WORKER_GRACE_NS;
    if (s->worker_pid > 0)
        kill(s->worker_pid, SIGTERM);
    while (s->worker_pid > 0) {
        int64_t left = until - clock_mono_ns();
        struct pollfd p = {.fd = s->signals, .events = POLLIN};
        if (left <= 0)
            kill(s->worker_pid, SIGKILL);
        poll(&p, 1, left <= 0 ? 100 : (int)(left / 1000000) + 1);
        on_signals(s);
    }
}

/* The worker's socket first, which tells it; then the helper, and with it every pod; then what they leave. */
static int stop(struct spawner *s)
{
    if (s->worker >= 0)
        close(s->worker);
    s->worker = -1;
    if (s->helper_pid > 0) {
        kill(s->helper_pid, SIGKILL);
        waitpid(s->helper_pid, NULL, 0);
        s->helper_pid = 0;
    }
    for (size_t i = 0; i < PODS_MAX; i++) {
        if (s->pods[i].state != POD_FREE && s->pods[i].cgroup != NULL)
            cgroup_give_back(&s->cgroups, s->pods[i].cgroup);
    }
    if (!cgroups_close(&s->cgroups))
        log_warn("a cgroup is left; the next start removes it");
    end_worker(s);
    return s->failed && s->worker_status == 0 ? EXIT_SOFTWARE : s->worker_status;
}

/* What the host lacks is told when somebody asks, and when it keeps us from starting. */
static enum err look_at_host(struct spawner *s, const struct options *o, struct errinfo *info)
{
    struct preflight_facts facts;
    preflight_look(&s->cgroups, s->privileged, s->state, &facts);
    s->missing = facts.missing;
    s->accepted = o->accepted;
    bool passes = preflight_passes(s->missing, s->accepted);
    if (o->check || !passes) {
        auto_buf table = BUF_INIT(TABLE_MAX);
        preflight_write_table(&facts, s->accepted, &table);
        fputs(buf_cstr(&table), stderr);
    }
    return passes ? ERR_OK : errinfo_set(info, ERR_UNSUPPORTED, 0, "this host lacks what pods need");
}

static enum err prepare(struct spawner *s, const struct options *o, struct errinfo *info)
{
    char name[40];
    uint64_t name_hash = 0;
    s->privileged = geteuid() == 0 && !o->rootless;
    s->off = defences_off();
    enum err e = take_name(s, name, sizeof name, &name_hash, info);
    if (e == ERR_OK)
        e = cgroups_open(&s->cgroups, name, s->privileged, info);
    if (e == ERR_OK)
        e = look_at_host(s, o, info);
    if (e == ERR_OK && s->privileged)
        e = idmap_reserve(name_hash, &s->host_base, info);
    if (e == ERR_OK)
        e = seccomp_build(true, &s->filter, info);
    if (e == ERR_OK)
        e = memfd_copy(s->helper_path != NULL ? s->helper_path : beside_us(HELPER_NAME), HELPER_NAME,
                       &s->image, info);
    return e;
}

static enum err start(struct spawner *s, struct errinfo *info)
{
    enum err e = spawner_start_helper(s, info);
    if (e == ERR_OK)
        e = spawner_start_worker(s, info);
    if (e != ERR_OK)
        return e;
    if (spawner_watch(s, s->helper, SOURCE_HELPER, 0) != ERR_OK ||
        spawner_watch(s, s->worker, SOURCE_WORKER, 0) != ERR_OK)
        return errinfo_set(info, ERR_SYSTEM, errno, "epoll");
    pods_init(s);
    templates_init(s);
    pods_say_hello(s);
    return ERR_OK;
}

static int run(struct spawner *s, const struct options *o)
{
    struct errinfo info = {0};
    enum err e = open_signals(s, &info); /* before there is anything to leave behind */
    if (e == ERR_OK)
        e = prepare(s, o, &info);
    if (e == ERR_OK && !o->check) {
        e = start(s, &info);
        if (e == ERR_OK)
            serve(s);
    }
    int status = stop(s);
    if (e == ERR_OK)
        return status;
    fprintf(stderr, "millrace-spawner: %s\n", info.text);
    return e == ERR_UNSUPPORTED ? EXIT_CONFIG : EXIT_UNAVAILABLE;
}

int main(int argc, char **argv)
{
    struct options o = {0};
    struct errinfo info = {0};
    char exe[PATH_MAX];
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return usage(stdout), 0;
    fault_enter(FAULT_SPAWNER_START);
    slice_short();
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n > 0 && strncmp(exe, "/memfd:", 7) != 0) {
        exe[n] = '\0';
        if (setenv(EXE_ENV, exe, 1) != 0)
            return EXIT_SOFTWARE;
    }
    if (memfd_reexec(argv, &info) != ERR_OK) {
        fprintf(stderr, "millrace-spawner: %s\n", info.text);
        return EXIT_SOFTWARE;
    }
    spawner = (struct spawner){.worker_uid = WORKER_ID,
                               .worker_gid = WORKER_ID,
                               .state = -1,
                               .helper = -1,
                               .worker = -1,
                               .filter = -1,
                               .image = -1,
                               .epoll = -1,
                               .signals = -1};
    const char *format = getenv("LOG_FORMAT");
    log_open("spawner", LOG_INFO, isatty(2) || (format != NULL && strcmp(format, "text") == 0));
    if (!parse(&spawner, &o, argv))
        return EXIT_USAGE;
    raise_files();
    return run(&spawner, &o);
}
