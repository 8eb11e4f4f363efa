/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/runner/program.h"

#include "base/fault.h"
#include "worker/lockdown.h"
#include "worker/runner/job.h"
#include "worker/runner/mediator.h"
#include "worker/runner/pod_fds.h"
#include "worker/runner/program_state.h"
#include "worker/spawner/defence.h"
#include "worker/spec.h"
#include "worker/templates/template_proto.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILTER_FD = 4 };

static _Noreturn void say_failed(int go, const struct errinfo *info)
{
    struct program_ready r = {
        .magic = TEMPLATE_MAGIC, .pid = getpid(), .error = info->sys != 0 ? info->sys : EINVAL};
    snprintf(r.text, sizeof r.text, "%.*s", (int)sizeof r.text - 1, info->text);
    (void)!send(go, &r, sizeof r, MSG_NOSIGNAL); /* the runner is all there is to tell */
    _exit(JOB_NOT_STARTED);
}

static void say_ready(int go)
{
    struct program_ready ready = {.magic = TEMPLATE_MAGIC, .pid = getpid()};
    if (send(go, &ready, sizeof ready, MSG_NOSIGNAL) != (ssize_t)sizeof ready)
        _exit(JOB_NOT_STARTED);
}

/* "0" means the writer itself. */
static enum err enter_cgroups(unsigned fds, struct errinfo *info)
{
    for (int fd = RUNNER_FD_CGROUP; fd < RUNNER_FD_CGROUP + RUNNER_CGROUPS_MAX; fd++) {
        if ((fds & 1U << fd) != 0 && write(fd, "0", 1) != 1)
            return errinfo_set(info, ERR_SYSTEM, errno, "enter the cgroup");
    }
    return ERR_OK;
}

/* 0 to 2 are the pipes, 3 the go socket, 4 the filter; nothing else is left. */
static enum err arrange_fds(const struct program_start *s, struct errinfo *info)
{
    const int from[] = {s->stdio[0], s->stdio[1],
                        s->stdio[2], [GO_FD] = s->go, [FILTER_FD] = RUNNER_FD_FILTER};
    bool filter = (s->fds & 1U << RUNNER_FD_FILTER) != 0;
    return lockdown_descriptors(from, filter ? FILTER_FD + 1 : FILTER_FD, s->off, info);
}

static void set_up_lockdown(struct lockdown *l, const struct program_start *s)
{
    *l = (struct lockdown){.uid = s->contained ? getuid() : POD_UID,
                           .gid = s->contained ? getgid() : POD_GID,
                           .umask = 077,
                           .off = s->off,
                           .need_landlock = !s->contained, /* a container's host may have none */
                           .given = s->contained,
                           .work_dir = POD_WORK_DIR};
    lockdown_fixed_rlimits(l);
}

/* `ret_go`: where the go socket is now, failed or not. */
static enum err prepare(const struct program_start *s, const struct lockdown *l, int *ret_go,
                        struct errinfo *info)
{
    enum err e = enter_cgroups(s->fds, info);
    if (e != ERR_OK)
        return e;
    if (!s->contained && defence_on(s->off, DEFENCE_CGROUP_NAMESPACE) && unshare(CLONE_NEWCGROUP) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "cgroup namespace");
    if (signal(SIGPIPE, SIG_DFL) == SIG_ERR)
        return errinfo_set(info, ERR_SYSTEM, errno, "signals");
    e = arrange_fds(s, info);
    if (e != ERR_OK)
        return e;
    *ret_go = GO_FD;
    return lockdown_identity(l, info);
}

/* The filter is mapped from its sealed file. */
static enum err lock(struct lockdown *l, struct errinfo *info)
{
    struct stat st;
    if (fstat(FILTER_FD, &st) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "the system call filter");
    size_t size = (size_t)st.st_size, count = size / sizeof(struct sock_filter);
    if (count == 0 || count > BPF_MAXINSNS || count * sizeof(struct sock_filter) != size)
        return errinfo_set(info, ERR_INVALID, 0, "the system call filter has a wrong size");
    void *filter = mmap(NULL, size, PROT_READ, MAP_PRIVATE, FILTER_FD, 0);
    if (filter == MAP_FAILED)
        return errinfo_set(info, ERR_SYSTEM, errno, "map the system call filter");
    close(FILTER_FD);
    l->filter = filter;
    l->filter_count = (unsigned short)count;
    return lockdown_scope(l, info);
}

static enum err become(const struct program_start *s, struct lockdown *l, struct spec *spec,
                       struct errinfo *info)
{
    enum err e = ERR_OK;
    struct spec_list *argv = !s->second && spec->compile_argv.n > 0 ? &spec->compile_argv : &spec->argv;
    if (argv->n == 0 || argv->at[0][0] != '/')
        return errinfo_set(info, ERR_INVALID, 0, "the command has no absolute path");
    if (spec->source_name != NULL && !s->second)
        e = job_write_source(spec, info);
    /* What a compiler writes is bounded by the pod's file systems: a program may be larger than its files may. */
    if (argv == &spec->compile_argv)
        spec->fsize = 0;
    if (e == ERR_OK && spec->state_max > 0)
        e = program_state_open(GO_FD, spec, info);
    if (e == ERR_OK)
        e = lockdown_limits(0, spec, s->off, info);
    if (e == ERR_OK)
        e = lock(l, info);
    if (e != ERR_OK)
        return e;
    if (spec->state_max > 0)
        say_ready(GO_FD); /* its end of the socket stays open, so that its closing says nothing */
    execve(argv->at[0], argv->at, spec->env.at);
    if (spec->state_max > 0)
        _exit(JOB_NOT_STARTED); /* it was called ready */
    return errinfo_set(info, ERR_SYSTEM, errno, "execute %s", argv->at[0]);
}

/* One that speaks the go protocol itself keeps the socket over its execve; for the others a mediator speaks it. */
static _Noreturn void become_interpreter(const struct program_start *s, struct lockdown *l)
{
    fault_enter(FAULT_LAUNCHER);
    struct errinfo info = {0};
    const struct launcher *w = s->warm;
    char **command = launcher_command(w, s->memory);
    int placed = command != NULL ? launcher_place(w) : -ENOMEM;
    if (placed != 0) {
        (void)errinfo_set(&info, ERR_SYSTEM, -placed, "the launcher");
    } else if (lock(l, &info) == ERR_OK &&
               (w->mediated ? mediator_start(w, &info) == ERR_OK : fcntl(GO_FD, F_SETFD, 0) == 0)) {
        /* execve's prototype is older than const; it does not write to the list. */
        execve(w->argv[0], command, (char *const *)(uintptr_t)w->env);
        (void)errinfo_set(&info, ERR_SYSTEM, errno, "execute %s", w->argv[0]);
    }
    say_failed(GO_FD, &info);
}

_Noreturn void program_main(const struct program_start *s)
{
    struct errinfo info = {0};
    static struct spec spec; /* too large for a stack */
    static struct lockdown l;
    fault_enter(FAULT_PROGRAM);
    set_up_lockdown(&l, s);
    int go = s->go;
    if (prepare(s, &l, &go, &info) != ERR_OK)
        say_failed(go, &info);
    if (s->warm != NULL)
        become_interpreter(s, &l);
    say_ready(GO_FD);
    size_t len = 0;
    char *bytes = job_wait(GO_FD, &len);
    if (spec_parse(bytes, len, &spec) != ERR_OK)
        (void)errinfo_set(&info, ERR_PROTOCOL, 0, "the run specification is damaged");
    else
        (void)become(s, &l, &spec, &info);
    say_failed(GO_FD, &info);
}
