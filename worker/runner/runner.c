/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/runner/runner.h"

#include "base/clock.h"
#include "base/fault.h"
#include "worker/lockdown.h"
#include "worker/runner/pod_fds.h"
#include "worker/spawner/defence.h"
#include "worker/templates/template_proto.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Exact enough for an honest reason, cheap enough to forget: two reads of small files. */
#define MEMORY_TICK_NS  (50 * 1000000LL)
#define CPU_TICK_MIN_NS (5 * 1000000LL)
#define HANDOVER_S      5

_Noreturn void runner_leave(void)
{
    _exit(0); /* PID 1: the kernel ends everything in the pod */
}

/* Nobody is left to work for, or the worker breaks the protocol: the pod ends. */
void runner_must(enum err e)
{
    if (e != ERR_OK)
        runner_leave();
}

static void say(struct runner *r, enum frame_type type, const void *payload, size_t length)
{
    runner_must(channel_put(&r->channel, type, payload, length));
}

static void say_u32(struct runner *r, enum frame_type type, uint32_t value)
{
    uint8_t bytes[4];
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    say(r, type, bytes, sizeof bytes);
}

static void say_exit(struct runner *r, enum frame_type type, const struct frame_exit *exit)
{
    uint8_t bytes[FRAME_EXIT_SIZE];
    frame_put_exit(bytes, exit);
    runner_must(
        channel_queue(&r->channel, type, bytes, sizeof bytes)); /* DONE, or the next stage, takes it along */
}

static void close_go(struct runner *r)
{
    if (r->go >= 0)
        close(r->go);
    r->go = -1;
}

/* The program did not start: nothing of it may go on. */
static void end_unstarted(struct runner *r, enum frame_type type, const char *text)
{
    kill(-1, SIGKILL);
    say(r, type, text, strlen(text));
    close_go(r);
    r->state = RUN_OVER;
    say(r, FRAME_DONE, NULL, 0);
}

void runner_give_up(struct runner *r, const char *text)
{
    end_unstarted(r, FRAME_ERROR, text);
}

static void kill_all(struct runner *r)
{
    if (r->state != RUN_KILLING) {
        r->state = RUN_KILLING;
        if (!r->state_run.kept)
            close_go(r);
    }
    if (defence_on(r->off, DEFENCE_KILL_ALL) || r->exit.end != PE_OWN)
        kill(-1, SIGKILL);
}

/* The first reason counts. */
void runner_end_run(struct runner *r, enum pod_end why)
{
    if (r->state != RUN_STARTING && r->state != RUN_RUNNING && r->state != RUN_GRACE)
        return;
    if (r->main != 0 && r->exit.end == PE_OWN && !r->state_run.ended)
        r->exit.end = why;
    kill_all(r);
}

static void add_usage(struct frame_exit *exit, const struct rusage *u)
{
    uint64_t rss = (uint64_t)u->ru_maxrss * 1024;
    exit->user_ns += (uint64_t)u->ru_utime.tv_sec * 1000000000U + (uint64_t)u->ru_utime.tv_usec * 1000U;
    exit->system_ns += (uint64_t)u->ru_stime.tv_sec * 1000000000U + (uint64_t)u->ru_stime.tv_usec * 1000U;
    if (rss > exit->max_rss_bytes)
        exit->max_rss_bytes = rss;
}

static void begin_grace(struct runner *r, int64_t now)
{
    r->state = RUN_GRACE;
    r->grace_ns = now + GRACE_NS;
}

static void main_ended(struct runner *r, int status, int64_t now)
{
    r->main = 0;
    r->exit.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    r->exit.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (!r->state_run.ended)
        r->exit.wall_ns = r->started_ns != 0 ? (uint64_t)(now - r->started_ns) : 0;
    state_program_ended(r);
    if (r->exit.signal == SIGXCPU && r->exit.end == PE_OWN)
        r->exit.end = PE_CPU;
    if (r->state == RUN_RUNNING)
        begin_grace(r, now);
}

static void reap(struct runner *r)
{
    int64_t now = clock_mono_ns();
    r->children_gone = false;
    for (;;) {
        int status = 0;
        struct rusage usage;
        pid_t pid = wait4(-1, &status, WNOHANG | __WALL, &usage);
        if (pid < 0)
            r->children_gone = errno == ECHILD;
        if (pid <= 0)
            return;
        add_usage(&r->exit, &usage);
        if (pid == r->main)
            main_ended(r, status, now);
    }
}

static void on_signal(struct runner *r)
{
    struct signalfd_siginfo info[8];
    /* What a program sends to PID 1 is of no interest: children are counted by wait4 alone. */
    while (read(r->signals, info, sizeof info) > 0)
        ;
    reap(r);
}

/* All pieces in one message where the socket takes it: the program wakes up once. */
static bool send_pieces(int fd, struct iovec *pieces, size_t count)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    while (message.msg_iovlen > 0) {
        ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (n < 0)
            return false;
        for (size_t sent = (size_t)n; message.msg_iovlen > 0; message.msg_iov++, message.msg_iovlen--) {
            struct iovec *first = message.msg_iov;
            size_t of_it = sent < first->iov_len ? sent : first->iov_len;
            first->iov_base = (char *)first->iov_base + of_it;
            first->iov_len -= of_it;
            sent -= of_it;
            if (first->iov_len > 0)
                break;
        }
    }
    return true;
}

static bool hand_over(struct runner *r)
{
    struct program_go go = {.magic = TEMPLATE_MAGIC, .length = (uint32_t)r->spec_bytes.len};
    struct timeval bound = {.tv_sec = HANDOVER_S};
    struct iovec pieces[] = {{.iov_base = &go, .iov_len = sizeof go},
                             {.iov_base = r->spec_bytes.data, .iov_len = r->spec_bytes.len},
                             {.iov_base = r->state_run.in.data, .iov_len = r->state_run.in.len}};
    return setsockopt(r->go, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound) == 0 &&
           send_pieces(r->go, pieces, sizeof pieces / sizeof *pieces);
}

/* Compiling and running share the limits of the run: the second stage goes on with the clocks of the first. */
static void begin_clocks(struct runner *r)
{
    if (!r->second)
        r->exit = (struct frame_exit){0};
    r->exit.exit_code = -1;
    r->exit.signal = SIGKILL;
    if (r->second)
        return;
    usage_tasks_begin(r);
    r->started_ns = clock_mono_ns();
    r->deadline_ns = 0;
    if (r->spec.wall_ms != 0 && defence_on(r->off, DEFENCE_WALL_LIMIT))
        r->deadline_ns = r->started_ns + (int64_t)r->spec.wall_ms * 1000000;
    r->tick_ns = r->started_ns + MEMORY_TICK_NS;
    if (!usage_cpu_ns(r, &r->cpu_base_ns))
        r->cpu_base_ns = 0;
    if (!usage_oom_kills(r, &r->oom_base))
        r->oom_base = 0;
}

void runner_release(struct runner *r)
{
    struct errinfo info;
    /* An interpreter that was started ahead cannot lower its own; every other program does, before the user's code. */
    if (r->warm != NULL && lockdown_limits(r->main, &r->spec, r->off, &info) != ERR_OK) {
        end_unstarted(r, FRAME_DEAD, info.text);
        return;
    }
    begin_clocks(r);
    r->state = RUN_STARTING;
    if (!hand_over(r)) {
        end_unstarted(r, FRAME_DEAD, "the program ended before its job");
        return;
    }
    fault_enter(FAULT_NONE);
    if (r->compile && r->in >= 0) {
        close(r->in);
        r->in = -1;
    }
    pump_input(r);
}

/* Before anything else is told of the program, once. What follows in this turn takes it along. */
static void say_started(struct runner *r)
{
    if (!r->started_told)
        runner_must(channel_queue(&r->channel, FRAME_STARTED, NULL, 0));
    r->started_told = true;
}

void runner_say_ready(struct runner *r)
{
    say_u32(r, FRAME_READY, FRAME_VERSION);
}

/* The program's side of the go socket: ready, failed, or (its end closed) running. */
void runner_on_go(struct runner *r)
{
    struct program_ready m = {0};
    ssize_t n = recv(r->go, &m, sizeof m, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    /* It died without having read all of its job: what the socket still held is lost, and so it did nothing. */
    bool unread = n < 0 && errno == ECONNRESET;
    bool whole = n == (ssize_t)sizeof m && m.magic == TEMPLATE_MAGIC;
    m.text[sizeof m.text - 1] = '\0';
    if (whole && m.error == 0 && r->state == RUN_PREPARING) {
        r->main = m.pid;
        r->state = RUN_READY;
        if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
            runner_leave();
        if (r->second)
            runner_release(r);
        else
            runner_say_ready(r);
    } else if (whole && m.error == PROGRAM_COMPILE_FAILED && r->state == RUN_STARTING && r->warm != NULL) {
        r->compile = true; /* its end is the end of the compile step, and there is no second one */
    } else if (whole && m.error == PROGRAM_COMPILED && r->state == RUN_STARTING && r->warm != NULL) {
        r->taking = true;
        r->state = RUN_RUNNING; /* so that its output is read: as yet the compiler's */
        (void)artifact_open(r); /* when that fails nothing is kept */
    } else if (r->state == RUN_STARTING && (r->state_run.kept ? whole && m.error == 0 : n == 0)) {
        if (!r->state_run.kept)
            close_go(r);
        r->state = RUN_RUNNING;
        say_started(r);
        if (r->main == 0) /* so short that its end was reaped before this */
            begin_grace(r, clock_mono_ns());
    } else {
        char text[192];
        snprintf(text, sizeof text, "%s (%s)", whole ? m.text : "the program ended before its job",
                 whole ? strerrordesc_np(m.error) : "no reason given");
        end_unstarted(r, r->state == RUN_READY || unread ? FRAME_DEAD : FRAME_ERROR, text);
    }
}

/* The compile step was good, and the run is a step of its own. */
static bool goes_on(const struct runner *r)
{
    return r->compiled.exit_code == 0 && r->warm == NULL;
}

static void second_stage(struct runner *r)
{
    struct errinfo info = {0};
    say_exit(r, FRAME_STAGE, &r->exit);
    r->compiled = r->exit;
    r->compile = false;
    r->second = true;
    if (!goes_on(r))
        return;
    r->exit = (struct frame_exit){.user_ns = r->compiled.user_ns,
                                  .system_ns = r->compiled.system_ns,
                                  .max_rss_bytes = r->compiled.max_rss_bytes};
    r->children_gone = false;
    for (int i = 0; i < 2; i++) {
        if (r->out[i] >= 0)
            close(r->out[i]);
    }
    if (start_program(r, true, &info) != ERR_OK) {
        runner_give_up(r, info.text);
        return;
    }
    r->state = RUN_PREPARING;
}

/* What the compiler said is told, and the interpreter still waits: the program goes to the worker, and then it may run. */
static void take_program(struct runner *r)
{
    if (!r->taking || !r->drained || r->state != RUN_RUNNING)
        return;
    enum err e = artifact_send(r);
    if (e == ERR_AGAIN)
        return;
    runner_must(e);
    say_exit(r, FRAME_STAGE, &(struct frame_exit){.wall_ns = (uint64_t)(clock_mono_ns() - r->started_ns)});
    r->taking = false;
    close_go(r);
}

/* What the whole pod used since the release. The worker need not ask for it then. */
static void count_pod(struct runner *r)
{
    struct frame_exit *e = &r->exit;
    uint64_t kills = 0, cpu = 0;
    usage_tasks(r, &e->processes);
    if (!usage_oom_kills(r, &kills) || !usage_cpu_ns(r, &cpu) || !usage_peak_bytes(r, &e->pod_peak_bytes))
        return;
    e->pod_oom_kills = kills > r->oom_base ? kills - r->oom_base : 0;
    e->pod_cpu_ns = cpu > r->cpu_base_ns ? cpu - r->cpu_base_ns : 0;
    e->counted = 1;
    if (r->warm != NULL) { /* the process began long before its job */
        e->user_ns = e->pod_cpu_ns;
        e->system_ns = 0;
    }
}

static void give_files(struct runner *r)
{
    if (r->exit.files) {
        runner_must(channel_flush(&r->channel));
        enum err e = files_send(&r->files, &r->channel);
        if (e == ERR_AGAIN)
            return;
        runner_must(e);
    }
    say(r, FRAME_DONE, NULL, 0);
    r->state = RUN_OVER;
}

static void keep_program(struct runner *r)
{
    enum err e = artifact_send(r);
    if (e == ERR_AGAIN)
        return;
    runner_must(e);
    second_stage(r);
}

/* Everything but us is dead and every byte is on its way. */
static void finish(struct runner *r)
{
    uint64_t kills = 0;
    if (usage_oom_kills(r, &kills) && kills > r->oom_base && r->exit.end == PE_OWN &&
        r->exit.signal == SIGKILL)
        r->exit.end = PE_MEMORY;
    count_pod(r);
    if (r->compile && r->exit.end == PE_OWN) {
        if (r->exit.exit_code == 0 && artifact_open(r)) {
            r->state = RUN_KEEPING;
            keep_program(r);
            return;
        }
        second_stage(r);
        if (goes_on(r))
            return;
    }
    say_started(r);
    runner_must(state_announce(r));
    r->files.unstarted = r->compile || (r->second && !goes_on(r));
    r->exit.files = !r->early && files_look(&r->files);
    say_exit(r, FRAME_EXIT, &r->exit);
    r->state = RUN_GIVING;
    give_files(r);
    close_go(r); /* nobody waits for this */
}

static void check_cpu(struct runner *r, int64_t now)
{
    uint64_t used = 0;
    uint64_t limit = r->spec.cpu_ms * 1000000;
    if (limit == 0 || r->state_run.ended || !defence_on(r->off, DEFENCE_CPU_LIMIT) || !usage_cpu_ns(r, &used))
        return;
    used = used > r->cpu_base_ns ? used - r->cpu_base_ns : 0;
    if (used >= limit) {
        runner_end_run(r, PE_CPU);
        return;
    }
    /* Not before every processor has worked for what is left. */
    int64_t soonest = (int64_t)(limit - used) / sysconf(_SC_NPROCESSORS_ONLN);
    if (soonest < CPU_TICK_MIN_NS)
        soonest = CPU_TICK_MIN_NS;
    if (now + soonest < r->tick_ns)
        r->tick_ns = now + soonest;
}

/* One more than the program's: us. */
static void check_pids(struct runner *r)
{
    uint64_t now = 0;
    if (r->pids_limit != 0 && usage_pids(r, &now) && now > r->pids_limit + 1)
        runner_end_run(r, PE_PIDS);
}

static bool has_deadline(const struct runner *r)
{
    return r->deadline_ns != 0 && (r->tools == NULL || !tools_waiting(r->tools));
}

static void check_clocks(struct runner *r)
{
    int64_t now = clock_mono_ns();
    bool alive = r->state == RUN_STARTING || r->state == RUN_RUNNING || r->state == RUN_GRACE;
    if (alive && has_deadline(r) && now >= r->deadline_ns)
        runner_end_run(r, PE_WALL);
    if (alive && now >= r->tick_ns) {
        uint64_t kills = 0;
        r->tick_ns = now + MEMORY_TICK_NS;
        if (usage_oom_kills(r, &kills) && kills > r->oom_base)
            runner_end_run(r, PE_MEMORY);
        check_pids(r);
        check_cpu(r, now);
    }
    if (r->state == RUN_GRACE && (now >= r->grace_ns || pump_at_end(r)) && !r->children_gone)
        kill_all(r);
}

static void pump(struct runner *r)
{
    /* While it is starting, runner_on_go comes first: it may have started and written since the poll. */
    if (r->state != RUN_RUNNING && r->state != RUN_GRACE && r->state != RUN_KILLING)
        return;
    say_started(r);
    runner_must(state_pump(r));
    enum err e = pump_output(r);
    if (e != ERR_FULL) {
        runner_must(e);
        return;
    }
    /* Also of a program that has ended by itself: some of its output is left out. */
    if (r->exit.end == PE_OWN)
        r->exit.end = PE_OUTPUT;
    runner_end_run(r, PE_OUTPUT);
}

/* Output goes on until its end is reached; EXIT follows it. */
static void settle(struct runner *r)
{
    if (early_end(r))
        finish(r);
    else if (r->state == RUN_KILLING || r->state == RUN_GRACE) {
        reap(r);
        if (r->state == RUN_KILLING && !r->children_gone)
            kill_all(r);
        if (!r->children_gone &&
            (defence_on(r->off, DEFENCE_KILL_ALL) || r->state != RUN_KILLING || r->exit.end != PE_OWN))
            return;
        pump(r); /* nobody writes any more: what is there now is all */
        if (r->drained && !r->state_run.held)
            finish(r);
    } else if (r->state == RUN_KEEPING)
        keep_program(r);
    else if (r->state == RUN_GIVING)
        give_files(r);
}

static int wait_ms(const struct runner *r)
{
    bool alive = r->state == RUN_STARTING || r->state == RUN_RUNNING || r->state == RUN_GRACE;
    int64_t until = INT64_MAX;
    if (alive && has_deadline(r))
        until = r->deadline_ns;
    if (alive && r->tick_ns < until)
        until = r->tick_ns;
    if (r->state == RUN_GRACE && r->grace_ns < until)
        until = r->grace_ns;
    if (r->state == RUN_KILLING)
        until = clock_mono_ns() + 10 * 1000000LL; /* a fork that raced our kill */
    if (until == INT64_MAX)
        return -1;
    int64_t left = until - clock_mono_ns();
    return left <= 0 ? 0 : (int)((left + 999999) / 1000000);
}

enum { P_CONTROL, P_SIGNALS, P_GO, P_IN, P_OUT, P_ERR, P_COUNT };

/* Most programs call no tools, and pay nothing for those that do. */
static int wait_for_events(struct runner *r, struct pollfd p[P_COUNT])
{
    if (r->tools == NULL)
        return poll(p, P_COUNT, wait_ms(r));
    struct pollfd all[P_COUNT + TOOLS_POLLS];
    memcpy(all, p, P_COUNT * sizeof *p);
    unsigned count = tools_polls(r->tools, all + P_COUNT);
    int n = poll(all, P_COUNT + count, wait_ms(r));
    if (n > 0) {
        memcpy(p, all, P_COUNT * sizeof *p);
        tools_polled(r->tools, all + P_COUNT, count);
    }
    return n;
}

static void pump_tools(struct runner *r)
{
    enum err e = channel_flush(&r->channel);
    orders_take(r); /* results that had no room */
    while (e == ERR_OK && r->state == RUN_RUNNING && channel_idle(&r->channel))
        e = tools_pump(r->tools, &r->channel, clock_mono_ns());
    if (e != ERR_AGAIN)
        runner_must(e);
}

static void turn(struct runner *r)
{
    bool idle = channel_idle(&r->channel);
    short control = (short)((orders_have_room(r) ? POLLIN : 0) | (idle ? 0 : POLLOUT));
    bool running = r->state >= RUN_STARTING && r->state <= RUN_KILLING;
    struct pollfd p[P_COUNT] = {
        [P_CONTROL] = {.fd = r->channel.fd, .events = control},
        [P_SIGNALS] = {.fd = r->signals, .events = POLLIN},
        [P_GO] = {.fd = state_listens(r) && !r->taking ? r->go : -1, .events = POLLIN},
        [P_IN] = {.fd = running && r->held.len > 0 ? r->in : -1, .events = POLLOUT},
        [P_OUT] = {.fd = running && idle && !r->over_output ? r->out[0] : -1, .events = POLLIN},
        [P_ERR] = {.fd = running && idle && !r->over_output ? r->out[1] : -1, .events = POLLIN},
    };
    int n = wait_for_events(r, p);
    if (n < 0 && errno != EINTR)
        runner_leave();
    if (p[P_CONTROL].revents & POLLOUT)
        runner_must(channel_flush(&r->channel));
    if (p[P_GO].revents != 0 && r->state <= RUN_STARTING)
        runner_on_go(r);
    if (p[P_SIGNALS].revents != 0)
        on_signal(r);
    if (p[P_CONTROL].revents & (POLLIN | POLLHUP | POLLERR))
        orders_read(r);
    if (p[P_IN].revents != 0) {
        pump_input(r);
        orders_take(r);
    }
    pump(r);
    take_program(r);
    if (r->tools != NULL)
        pump_tools(r);
    check_clocks(r);
    settle(r);
    pump_tell_taken(r);
    runner_must(channel_end_turn(&r->channel));
}

void runner_begin(struct runner *r)
{
    struct errinfo info = {0};
    r->loadavg = open("/proc/loadavg", O_RDONLY | O_CLOEXEC); /* without it nothing is counted */
    if (start_program(r, false, &info) != ERR_OK)
        runner_give_up(r, info.text);
}

_Noreturn void runner_run(struct runner *r)
{
    for (;;)
        turn(r);
}
