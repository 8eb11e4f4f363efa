/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/up.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/config_load.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>

static const int64_t TRIM_EVERY_NS = 10000000000;
enum {
    TICK_MS = 5,
    SERVING_TICK_MS = 100,
    START_LIMIT_MS = 60000,
    QUICK_ENDS_MAX = 5,
    API_PORT_USUAL = 8000
};

static const int watched_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};

static const struct {
    int stops;
    int64_t grace_ms;
} stop_rules[] = {
#define X(symbol, name, stops_, grace_) [UP_##symbol] = {.stops = stops_, .grace_ms = grace_},
    UP_PART_TABLE(X)
#undef X
};

/* ---- phases ---- */

static void up_set_phase(struct up *up, enum up_phase phase)
{
    up->phase = phase;
    up_state_tell(up);
}

static void up_stop(struct up *up, int exit_code)
{
    if (up->phase == UP_STOPPING)
        return;
    up->exit_code = exit_code;
    fprintf(stderr, "up: stopping\n");
    up_set_phase(up, UP_STOPPING);
}

static void fail_start(struct up *up, const struct up_child *child, const char *why)
{
    fprintf(stderr, "up: %s %d %s\n", up_part_name(child->part), child->number, why);
    if (up_child_log_tail(child, "reading the append only file"))
        fprintf(
            stderr,
            "\nup: what Redis kept is damaged; nothing was changed. Copy %s/redis, then cut it at the damage (what was "
            "accepted after it is lost):\n"
            "    redis-check-aof --fix %s/redis/appendonlydir/appendonly.aof.manifest\n",
            up->state, up->state);
    if (WIFEXITED(child->last_status) && WEXITSTATUS(child->last_status) == EX_CONFIG)
        fputs(
            "\nup: root, or a user with sudo, has what is MISSING; what can be done without is accepted by name:\n"
            "    POD_ACCEPT_MISSING=NAME,NAME ./tools/up\n",
            stderr);
    up_stop(up, 1);
}

/* The supervisor of --detach lets its parent go, and writes to a log from then on. */
static void release_parent(struct up *up)
{
    char path[UP_PATH_MAX];
    if (up->ready_fd < 0)
        return;
    up_path(up, "log/up.log", path);
    fflush(stdout);
    auto_fd log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    auto_fd null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (log_fd < 0 || null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0)
        log_error("cannot leave the terminal", F_STR("why", strerror(errno)));
    if (write(up->ready_fd, "r", 1) != 1)
        log_error("nobody waits for this supervisor any more");
    close(up->ready_fd);
    up->ready_fd = -1;
}

static void serve(struct up *up)
{
    up_set_phase(up, UP_SERVING);
    up_print_welcome(up);
    release_parent(up);
    uv_timer_set_repeat(&up->tick, SERVING_TICK_MS);
}

static void demo_done(struct up *up, bool good)
{
    if (up->phase != UP_DEMO)
        return;
    if (good) {
        serve(up);
        return;
    }
    for (size_t i = 0; i < up->count; i++)
        if (up->children[i].part == UP_WORKER)
            (void)up_child_log_tail(&up->children[i], NULL);
    up_stop(up, 1);
}

static void all_ready(struct up *up)
{
    fprintf(stderr, "up: ready after %.2f s\n", (double)(clock_mono_ns() - up->began_ns) / 1e9);
    if (up->cli->no_demo) {
        serve(up);
        return;
    }
    up_set_phase(up, UP_DEMO);
    up_demo(up, demo_done);
}

/* ---- the janitor ---- */

static void keep_running(struct up *up, struct up_child *child, int64_t now)
{
    if (!child->pid && now >= child->restart_at_ns) {
        up_child_start(child);
        up_state_tell(up);
    } else if (!child->ready) {
        up_probe(child);
    }
}

/* A cluster may take its time to start the pods without which a worker is not ready. */
static int64_t start_limit_ns(const struct up *up)
{
    bool local = up->config.pod_backend == POD_BACKEND_LOCAL;
    return (START_LIMIT_MS + (local ? 0 : up->config.k8s_pod_start_ms)) * 1000000;
}

static void check_start(struct up *up, const struct up_child *child, int64_t now)
{
    if (child->quick_ends >= QUICK_ENDS_MAX)
        fail_start(up, child, "ends again and again");
    else if (!child->ready && now - up->began_ns > start_limit_ns(up))
        fail_start(up, child, "does not become ready");
}

/* A part waits until those of the rows before it are ready, once. */
static void tick_start(struct up *up, int64_t now)
{
    size_t ready = 0;
    for (size_t i = 0; i < up->count && up->phase == UP_STARTING; i++) {
        struct up_child *child = &up->children[i];
        if (child->part > UP_MINIO && !up_part_ready(up, UP_REDIS))
            break;
        keep_running(up, child, now);
        check_start(up, child, now);
        ready += child->ready;
    }
    if (ready == up->count && up->phase == UP_STARTING)
        all_ready(up);
}

static void tick_serve(struct up *up, int64_t now)
{
    if (now - up->trimmed_ns > TRIM_EVERY_NS) {
        up->trimmed_ns = now;
        up_children_trim_logs(up);
    }
    for (size_t i = 0; i < up->count; i++)
        keep_running(up, &up->children[i], now);
}

static void close_all(struct up *up)
{
    uv_close((uv_handle_t *)&up->tick, NULL);
    for (size_t i = 0; i < sizeof watched_signals / sizeof *watched_signals; i++)
        uv_close((uv_handle_t *)&up->signals[i], NULL);
    http_client_close(up->http, NULL, NULL);
}

static void tick_stop(struct up *up, int64_t now)
{
    for (int stage = 0; stage < UP_PARTS; stage++) {
        bool running = false;
        for (size_t i = 0; i < up->count; i++) {
            struct up_child *child = &up->children[i];
            if (!child->pid || stop_rules[child->part].stops != stage)
                continue;
            running = true;
            if (!child->term_at_ns)
                up_child_signal(child, SIGTERM);
            else if (now - child->term_at_ns > stop_rules[child->part].grace_ms * 1000000)
                up_child_signal(child, SIGKILL);
        }
        if (running)
            return;
    }
    close_all(up);
}

static void up_tick(uv_timer_t *timer)
{
    struct up *up = timer->data;
    int64_t now = clock_mono_ns();
    if (up_children_reap(up))
        up_state_tell(up);
    if (up->phase == UP_STARTING)
        tick_start(up, now);
    else if (up->phase == UP_STOPPING)
        tick_stop(up, now);
    else
        tick_serve(up, now);
}

/* The second request to stop is not asked twice. */
static void on_signal(uv_signal_t *handle, int number)
{
    struct up *up = handle->data;
    if (number == SIGCHLD) {
        up_tick(&up->tick);
    } else if (up->phase != UP_STOPPING) {
        uv_timer_set_repeat(&up->tick, TICK_MS);
        up_stop(up, 0);
        uv_timer_again(&up->tick);
    } else if (number == SIGINT) {
        for (size_t i = 0; i < up->count; i++)
            up_child_signal(&up->children[i], SIGKILL);
    }
}

/* ---- start ---- */

static enum err add_child(struct up *up, enum up_part part, int number, int port, struct errinfo *info)
{
    struct up_child *child = &up->children[up->count++];
    *child = (struct up_child){.up = up, .part = part, .number = number, .guard_fd = -1, .drawn = port == 0};
    if (up_free_port(port, &child->port))
        return errinfo_set(info, ERR_EXISTS, 0, "port %d is taken (another --port, or 0 for a free one)",
                           port);
    return ERR_OK;
}

static int first_api_port(const struct up *up)
{
    int port;
    if (up->cli->port.given)
        return (int)up->cli->port.value;
    const struct config_row *row = config_find(&config_table, STR("API_PORT"));
    if (up->config.base.origins[row - config_table.rows].source != CONFIG_DEFAULT)
        return (int)up->config.api_port;
    return up_free_port(API_PORT_USUAL, &port) ? 0 : API_PORT_USUAL;
}

static enum err plan_children(struct up *up, struct errinfo *info)
{
    enum err e = ERR_OK;
    if (up->own_redis)
        e = add_child(up, UP_REDIS, 1, 0, info);
    if (!e && up->cli->minio)
        e = add_child(up, UP_MINIO, 1, 0, info);
    for (int i = 1; !e && i <= cli_int_or(up->cli->apis, 1); i++)
        e = add_child(up, UP_API, i, i == 1 ? first_api_port(up) : 0, info);
    for (int i = 1; !e && i <= cli_int_or(up->cli->workers, 1); i++)
        e = add_child(up, UP_WORKER, i, 0, info);
    for (int i = 1; !e && i <= cli_int_or(up->cli->archivers, 1); i++)
        e = add_child(up, UP_ARCHIVER, i, 0, info);
    return e;
}

static enum err load_settings(struct up *up, struct errinfo *info)
{
    struct config_request request = {0};
    if (up->cli->backend && setenv("POD_BACKEND", up->cli->backend, 1))
        return errinfo_set(info, ERR_NOMEM, 0, "out of memory");
    enum err e = config_load(&config_table, &up->config.base, &request, info);
    const struct config_row *row = config_find(&config_table, STR("REDIS_URL"));
    bool given = up->cli->redis_url ||
                 (!e && up->config.base.origins[row - config_table.rows].source != CONFIG_DEFAULT);
    up->own_redis = !given;
    if (!e && up->cli->minio)
        e = up_minio_check(up, info);
    if (!e && getenv("MILLRACE_CONFIG"))
        e = errinfo_set(info, ERR_INVALID, 0,
                        "MILLRACE_CONFIG is set, but `up` writes a configuration file of its own; use .env "
                        "or the environment");
    return e;
}

static enum err start_loop(struct up *up, struct errinfo *info)
{
    if (uv_loop_init(&up->loop) || http_client_open(&up->loop, &up->http))
        return errinfo_set(info, ERR_NOMEM, 0, "cannot start the loop");
    for (size_t i = 0; i < sizeof watched_signals / sizeof *watched_signals; i++) {
        uv_signal_init(&up->loop, &up->signals[i]);
        up->signals[i].data = up;
        uv_signal_start(&up->signals[i], on_signal, watched_signals[i]);
    }
    uv_timer_init(&up->loop, &up->tick);
    up->tick.data = up;
    return uv_timer_start(&up->tick, up_tick, 0, TICK_MS) ? ERR_SYSTEM : ERR_OK;
}

static int supervise(struct up *up)
{
    struct errinfo info = {0};
    up->sudo = up->config.pod_backend == POD_BACKEND_LOCAL && up_sudo_works(!up->cli->detach);
    up->began_ns = clock_mono_ns();
    enum err e = plan_children(up, &info);
    e = e ? e : up_state_make(up, &info);
    if (e == ERR_EXISTS && up->cli->detach && up_state_owner(up)) {
        fprintf(stderr, "up: it is running already; see `millrace up status`\n");
        return 0;
    }
    e = e ? e : start_loop(up, &info);
    if (e) {
        fprintf(stderr, "up: %s\n", info.text);
        return 1;
    }
    up_state_tell(up);
    uv_run(&up->loop, UV_RUN_DEFAULT);
    uv_loop_close(&up->loop);
    up_state_remove(up);
    fprintf(stderr, "up: stopped\n");
    return up->exit_code;
}

/* Returns in the supervisor with *ret_parent -1, in the parent with the exit code there. Before any thread exists. */
static enum err detach(struct up *up, int *ret_parent)
{
    int fds[2];
    char told = 0;
    if (pipe2(fds, O_CLOEXEC))
        return ERR_SYSTEM;
    pid_t pid = fork();
    if (pid < 0)
        return ERR_SYSTEM;
    *ret_parent = -1;
    if (pid == 0) {
        close(fds[0]);
        setsid();
        up->ready_fd = fds[1];
        return ERR_OK;
    }
    close(fds[1]);
    while (read(fds[0], &told, 1) < 0 && errno == EINTR)
        ;
    *ret_parent = told == 'r' ? 0 : 1;
    return ERR_OK;
}

static int up_start(struct up *up)
{
    struct errinfo info = {0};
    int parent = -1;
    if (load_settings(up, &info)) {
        fprintf(stderr, "up: %s\n", info.text);
        return 1;
    }
    if (up->cli->detach && up_state_owner(up)) {
        fprintf(stderr, "up: it is running already; see `millrace up status`\n");
        return 0;
    }
    if (up->cli->detach && detach(up, &parent)) {
        fprintf(stderr, "up: cannot fork\n");
        return 1;
    }
    return parent >= 0 ? parent : supervise(up);
}

int cmd_up(const struct cli *cli)
{
    static const struct {
        const char *name;
        int (*run)(struct up *up);
    } modes[] = {{"status", up_print_status}, {"env", up_print_env}, {"down", up_down}};
    struct up up = {.cli = cli, .lock_fd = -1, .ready_fd = -1};
    struct errinfo info = {0};
    if (up_state_find(&up, &info)) {
        fprintf(stderr, "up: %s\n", info.text);
        return 1;
    }
    int code = EXIT_USAGE;
    bool found = !cli->arg_count;
    if (found)
        code = up_start(&up);
    for (size_t i = 0; !found && i < sizeof modes / sizeof *modes; i++)
        if ((found = !strcmp(cli->args[0], modes[i].name)))
            code = modes[i].run(&up);
    if (!found)
        fprintf(stderr, "up: no '%s'; there are status, env and down\n", cli->args[0]);
    config_release(&up.config.base);
    return code;
}
