/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/slice.h"
#include "tools/millrace/up.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

extern char **environ;

enum {
    BACKOFF_FIRST_MS = 50,
    BACKOFF_MAX_MS = 5000,
    QUICK_MS = 1000,
    TAIL_BYTES = 4096,
    LOG_MAX_BYTES = 64 << 20
};

const char *up_part_name(enum up_part part)
{
    static const char *const names[] = {
#define X(symbol, name, stops, grace_ms) [UP_##symbol] = name,
        UP_PART_TABLE(X)
#undef X
    };
    return names[part];
}

void up_child_log_path(const struct up_child *child, char out[UP_PATH_MAX])
{
    char name[64];
    snprintf(name, sizeof name, "log/%s-%d.log", up_part_name(child->part), child->number);
    up_path(child->up, name, out);
}

/* What a child is started with. Texts live in `memory`. */
struct command {
    struct arena memory;
    const char *argv[UP_ARGS_MAX];
    const char *env[UP_ENV_MAX];
    size_t argc, envc;
};

static void add_arg(struct command *command, const char *text)
{
    if (command->argc + 1 < UP_ARGS_MAX)
        command->argv[command->argc++] = text;
}

static void add_env(struct command *command, const char *name, const char *value)
{
    if (command->envc + 1 < UP_ENV_MAX)
        command->env[command->envc++] = arena_printf(&command->memory, "%s=%s", name, value);
}

static void redis_command(const struct up_child *child, struct command *command)
{
    char conf[UP_PATH_MAX];
    up_path(child->up, "redis.conf", conf);
    add_arg(command, "redis-server");
    add_arg(command, arena_cstr(&command->memory, str_of(conf)));
}

/* Its keys are read from files: the environment of a process is no place for them. */
static void minio_command(const struct up_child *child, struct command *command)
{
    struct arena *memory = &command->memory;
    char user[UP_PATH_MAX], key[UP_PATH_MAX], data[UP_PATH_MAX], certs[UP_PATH_MAX];
    up_path(child->up, "minio.user", user);
    up_path(child->up, "minio.key", key);
    up_path(child->up, "minio", data);
    up_path(child->up, "minio-certs", certs);
    add_env(command, "MINIO_ROOT_USER_FILE", user);
    add_env(command, "MINIO_ROOT_PASSWORD_FILE", key);
    add_env(command, "MINIO_BROWSER", "off");
    add_arg(command, child->up->cli->minio);
    add_arg(command, "server");
    add_arg(command, arena_cstr(memory, str_of(data)));
    add_arg(command, "--quiet");
    add_arg(command, "--address");
    add_arg(command, arena_printf(memory, "127.0.0.1:%d", child->port));
    add_arg(command, "--certs-dir"); /* not those of the user's own MinIO */
    add_arg(command, arena_cstr(memory, str_of(certs)));
}

static void api_command(const struct up_child *child, struct command *command)
{
    char path[UP_PATH_MAX];
    up_path(child->up, "millrace.yaml", path);
    add_env(command, "MILLRACE_CONFIG", path);
    add_arg(command, arena_printf(&command->memory, "%s/millrace-api", child->up->bin));
    add_env(command, "API_PORT", arena_printf(&command->memory, "%d", child->port));
}

static void archiver_command(const struct up_child *child, struct command *command)
{
    char path[UP_PATH_MAX];
    up_path(child->up, "millrace.yaml", path);
    add_env(command, "MILLRACE_CONFIG", path);
    add_arg(command, arena_printf(&command->memory, "%s/millrace-archiver", child->up->bin));
    add_env(command, "ARCHIVER_HTTP_PORT", arena_printf(&command->memory, "%d", child->port));
}

/* sudo passes no environment on, and arguments are seen by all: so settings, but no secrets (those are in the
   worker's configuration). */
static void sudo_command(struct command *command)
{
    static const char *const words[] = {"sudo",         "-n", "--",
                                        "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        add_arg(command, words[i]);
    for (size_t i = 0; i < command->envc; i++)
        add_arg(command, command->env[i]);
    for (char **v = environ; *v; v++) {
        struct str rest = str_of(*v);
        const struct config_row *row = config_find(&config_table, str_split(&rest, '='));
        if (row && !config_is_secret(row->type) && row->type != CONFIG_URL)
            add_arg(command, *v);
    }
}

static void spawner_command(const struct up_child *child, struct command *command)
{
    const struct up *up = child->up;
    struct arena *memory = &command->memory;
    char state[UP_PATH_MAX], name[32];
    snprintf(name, sizeof name, "spawner-%d", child->number);
    up_path(up, name, state);
    if (up->sudo) {
        sudo_command(command);
        add_arg(command, arena_printf(memory, "%s/millrace", up->bin));
        add_arg(command, "up-guard");
    }
    add_arg(command, arena_printf(memory, "%s/millrace-spawner", up->bin));
    add_arg(command, "--state");
    add_arg(command, arena_cstr(memory, str_of(state)));
    if (up->sudo) {
        add_arg(command, "--worker-uid");
        add_arg(command, arena_printf(memory, "%u", (unsigned)getuid()));
        add_arg(command, "--worker-gid");
        add_arg(command, arena_printf(memory, "%u", (unsigned)getgid()));
    }
    for (size_t i = 0; i < up->config.pod_accept_missing.count; i++)
        add_arg(command, arena_printf(memory, "--accept-missing=%s", up->config.pod_accept_missing.items[i]));
    add_arg(command, "--");
}

/* A worker whose pods are elsewhere needs no privilege, and so nobody above it. */
static void worker_command(const struct up_child *child, struct command *command)
{
    const struct up *up = child->up;
    add_env(command, "MILLRACE_CONFIG", up->worker_config);
    add_env(command, "WORKER_HTTP_PORT", arena_printf(&command->memory, "%d", child->port));
    if (up->config.pod_backend == POD_BACKEND_LOCAL)
        spawner_command(child, command);
    add_arg(command, arena_printf(&command->memory, "%s/millrace-worker", up->bin));
}

/* Our own variables come later in the list than an inherited one of the same name would, so that one is left out. */
static bool is_overridden(const struct command *command, size_t own, const char *variable)
{
    size_t name = strcspn(variable, "=") + 1;
    for (size_t i = 0; i < own; i++)
        if (!strncmp(command->env[i], variable, name))
            return true;
    return false;
}

static void inherit_env(struct command *command)
{
    size_t own = command->envc;
    for (char **v = environ; *v && command->envc + 1 < UP_ENV_MAX; v++)
        if (!is_overridden(command, own, *v))
            command->env[command->envc++] = *v;
}

static void build_command(const struct up_child *child, struct command *command)
{
    static void (*const build[])(const struct up_child *child,
                                 struct command *command) = {[UP_REDIS] = redis_command,
                                                             [UP_MINIO] = minio_command,
                                                             [UP_API] = api_command,
                                                             [UP_WORKER] = worker_command,
                                                             [UP_ARCHIVER] = archiver_command};
    if (child->up->cli->redis_url)
        add_env(command, "REDIS_URL", child->up->cli->redis_url);
    build[child->part](child, command);
    inherit_env(command);
}

/* Between fork and exec: async-signal-safe calls only, for libcurl may have threads. The session of its own keeps a
   terminal's Ctrl-C from stopping the parts out of order; the death signal keeps them from outliving us; the folder is
   one that everybody may be in. */
static void become(const struct command *command, int log_fd, int stdin_fd, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (stdin_fd < 0)
        setsid();
    else
        setpgid(0, 0); /* sudo knows us by our terminal */
    slice_short();     /* for redis-server, which does not ask for it */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(127);
    if (stdin_fd < 0)
        stdin_fd = open("/dev/null", O_RDONLY);
    if (chdir("/") || stdin_fd < 0 || dup2(stdin_fd, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0)
        _exit(127);
    union {
        const char *const *in;
        char *const *out;
    } argv = {.in = command->argv}, env = {.in = command->env};
    execvpe(command->argv[0], argv.out, env.out);
    dprintf(2, "cannot start %s: %s\n", command->argv[0], strerror(errno));
    _exit(127);
}

static void spawn(struct up_child *child, const struct command *command, int log_fd)
{
    pid_t parent = getpid();
    int fds[2] = {-1, -1};
    if (child->up->sudo && child->part == UP_WORKER && pipe2(fds, O_CLOEXEC))
        return;
    pid_t pid = fork();
    if (pid == 0)
        become(command, log_fd, fds[0], parent);
    if (pid < 0)
        log_limited(LOG_ERROR, "cannot fork", F_STR("why", strerror(errno)));
    child->pid = pid > 0 ? pid : 0;
    child->guard_fd = fds[1];
    if (fds[0] >= 0)
        close(fds[0]);
}

/* Somebody may have taken the port since it was found free. Others know those of Redis and MinIO, and of an api that was ready. */
static void move_from_taken_port(struct up_child *child)
{
    int port;
    bool known = child->part == UP_API ? !child->drawn : child->part == UP_REDIS || child->part == UP_MINIO;
    if (!known && up_free_port(child->port, &port) != ERR_OK && up_free_port(0, &port) == ERR_OK)
        child->port = port;
}

void up_child_start(struct up_child *child)
{
    move_from_taken_port(child);
    char log[UP_PATH_MAX];
    up_child_log_path(child, log);
    auto_fd log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct command command = {.memory = ARENA_INIT(1 << 20)};
    build_command(child, &command);
    child->started_ns = clock_mono_ns();
    child->log_from = log_fd >= 0 ? lseek(log_fd, 0, SEEK_END) : 0;
    child->restart_at_ns = child->started_ns + (int64_t)BACKOFF_MAX_MS * 1000000; /* should the start fail */
    child->ready = false;
    if (log_fd >= 0 && !arena_status(&command.memory))
        spawn(child, &command, log_fd);
    arena_free(&command.memory);
}

void up_child_signal(struct up_child *child, int signal)
{
    bool told = child->guard_fd >= 0 && write(child->guard_fd, signal == SIGKILL ? "K" : "T", 1) == 1;
    if (child->pid && !told)
        kill(child->pid, signal); /* it may have ended already: then it waits to be collected */
    if (!child->term_at_ns)
        child->term_at_ns = clock_mono_ns();
}

static int64_t backoff_ns(unsigned quick_ends)
{
    int64_t ms = BACKOFF_FIRST_MS;
    for (unsigned i = 1; i < quick_ends && ms < BACKOFF_MAX_MS; i++)
        ms *= 2;
    return (ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS) * 1000000;
}

static void ended(struct up_child *child, int status)
{
    int64_t now = clock_mono_ns();
    bool quick = now - child->started_ns < (int64_t)QUICK_MS * 1000000;
    child->pid = 0;
    child->ready = false;
    if (child->guard_fd >= 0)
        close(child->guard_fd);
    child->guard_fd = -1;
    child->last_status = status;
    child->quick_ends = quick ? child->quick_ends + 1 : 0;
    child->restart_at_ns = now + backoff_ns(child->quick_ends);
    if (child->up->phase == UP_STOPPING)
        return;
    child->restarts++;
    log_limited(LOG_WARN, "a program ended and is started again", F_STR("part", up_part_name(child->part)),
                F_INT("number", child->number),
                F_INT("exit_code", WIFEXITED(status) ? WEXITSTATUS(status) : -1),
                F_INT("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0));
}

int up_children_reap(struct up *up)
{
    int count = 0, status;
    for (size_t i = 0; i < up->count; i++) {
        struct up_child *child = &up->children[i];
        if (child->pid && waitpid(child->pid, &status, WNOHANG) == child->pid) {
            ended(child, status);
            count++;
        }
    }
    return count;
}

void up_child_set_ready(struct up_child *child, bool ready)
{
    bool was = child->ready;
    child->ready = ready && child->pid;
    child->drawn = child->drawn && !child->ready;
    if (child->ready != was)
        up_state_tell(child->up);
}

bool up_part_ready(const struct up *up, enum up_part part)
{
    for (size_t i = 0; i < up->count; i++)
        if (up->children[i].part == part && !up->children[i].ready)
            return false;
    return true;
}

/* They append, so they go on at the new end. */
void up_children_trim_logs(struct up *up)
{
    for (size_t i = 0; i < up->count; i++) {
        char path[UP_PATH_MAX];
        struct stat st;
        up_child_log_path(&up->children[i], path);
        if (!stat(path, &st) && st.st_size > LOG_MAX_BYTES && truncate(path, 0))
            log_limited(LOG_WARN, "cannot empty a log", F_STR("path", path), F_STR("why", strerror(errno)));
    }
}

bool up_child_log_tail(const struct up_child *child, const char *phrase)
{
    char path[UP_PATH_MAX], text[TAIL_BYTES];
    up_child_log_path(child, path);
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return false;
    off_t from = st.st_size > TAIL_BYTES ? st.st_size - TAIL_BYTES : 0;
    ssize_t n = pread(fd, text, sizeof text, from > child->log_from ? from : child->log_from);
    fprintf(stderr, "the end of %s:\n%.*s\n", path, n > 0 ? (int)n : 0, text);
    return phrase && n > 0 && memmem(text, (size_t)n, phrase, strlen(phrase));
}
