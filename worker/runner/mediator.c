/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/runner/mediator.h"

#include "base/fault.h"
#include "worker/runner/job.h"
#include "worker/templates/template_proto.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct mediator {
    const struct launcher *launcher;
    pid_t interpreter;
    int job, status;
};

static void tell(const struct mediator *m, int error, const char *text)
{
    struct program_ready ready = {.magic = TEMPLATE_MAGIC, .pid = m->interpreter, .error = error};
    snprintf(ready.text, sizeof ready.text, "%s", text);
    if (send(GO_FD, &ready, sizeof ready, MSG_NOSIGNAL) != (ssize_t)sizeof ready)
        _exit(JOB_NOT_STARTED);
}

/* 0: the interpreter ended. */
static char next_status(const struct mediator *m)
{
    char c = 0;
    ssize_t n;
    do
        n = read(m->status, &c, 1);
    while (n < 0 && errno == EINTR);
    return n == 1 ? c : '\0';
}

static bool write_all(int fd, const void *bytes, size_t len)
{
    for (const char *p = bytes; len > 0;) {
        ssize_t n = write(fd, p, len);
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool write_text(int fd, const char *text)
{
    return write_all(fd, text, strlen(text) + 1);
}

static bool write_list(int fd, const struct spec_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        if (!write_text(fd, list->at[i]))
            return false;
    return true;
}

/* What the interpreter compiles, and the class to run: in the command, that is before the args. */
static bool write_program(int fd, const struct spec *spec)
{
    size_t args = spec->program_args.n;
    return spec->source_name != NULL && spec->argv.n > args &&
           write_text(fd, spec->compile_argv.n > 0 ? spec->source_name : "") &&
           write_text(fd, spec->argv.at[spec->argv.n - args - 1]);
}

/* The file is there when the interpreter opened it ahead. */
static enum err write_source(const struct mediator *m, const struct spec *spec, struct errinfo *info)
{
    if (m->launcher->stub == NULL)
        return job_write_source(spec, info);
    int fd = open(m->launcher->stub, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);
    bool good = fd >= 0 && write_all(fd, spec->source.p, spec->source.n);
    if (fd >= 0)
        close(fd);
    return good ? ERR_OK : errinfo_set(info, ERR_SYSTEM, errno, "write the source file");
}

static enum err hand_over(const struct mediator *m, const struct spec *spec, struct errinfo *info)
{
    char count[24];
    bool compiles = m->launcher->compiles;
    snprintf(count, sizeof count, "%zu", spec->program_args.n + (compiles ? 2 : 0));
    enum err e = write_source(m, spec, info);
    if (e != ERR_OK)
        return e;
    bool good = !m->launcher->appended || write_all(LAUNCHER_FD, spec->source.p, spec->source.n);
    good = good && write_text(m->job, count) && (!compiles || write_program(m->job, spec)) &&
           write_list(m->job, &spec->program_args) && write_list(m->job, &spec->env) &&
           (!compiles || write_text(m->job, ""));
    return good ? ERR_OK : errinfo_set(info, ERR_SYSTEM, errno, "hand the job to the interpreter");
}

/* How compiling ended. The interpreter goes on with a program that is kept when the runner has taken that. */
static void tell_compiled(const struct mediator *m)
{
    char status = next_status(m), none;
    if (status == 'C')
        tell(m, PROGRAM_COMPILE_FAILED, "");
    if (status != 'K')
        return;
    tell(m, PROGRAM_COMPILED, "");
    while (read(GO_FD, &none, 1) < 0 && errno == EINTR)
        ;
}

static _Noreturn void mediate(const struct mediator *m)
{
    static struct spec spec; /* too large for a stack */
    struct errinfo info = {0};
    if (next_status(m) != 'r') {
        tell(m, ECHILD, "the interpreter ended before it was ready");
        _exit(JOB_NOT_STARTED);
    }
    tell(m, 0, "");
    size_t len = 0;
    char *bytes = job_wait(GO_FD, &len);
    enum err e = spec_parse(bytes, len, &spec);
    if (e != ERR_OK)
        (void)errinfo_set(&info, e, 0, "the run specification is damaged");
    else
        e = hand_over(m, &spec, &info);
    if (e != ERR_OK) {
        tell(m, info.sys != 0 ? info.sys : EINVAL, info.text);
        _exit(JOB_NOT_STARTED);
    }
    fault_user_code();
    if (m->launcher->compiles && spec.compile_argv.n > 0)
        tell_compiled(m);
    _exit(
        0); /* the end of the job lets the interpreter go on, that of the go socket says that the program runs */
}

/* A grandchild, so that PID 1 reaps it and the interpreter has no child that it does not know. */
static bool fork_apart(const struct mediator *m, const int theirs[2])
{
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() != 0)
            _exit(0); /* when that fails nobody says that the pod is ready, and it is given up */
        const int others[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, theirs[0], theirs[1]};
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
            close(others[i]);
        if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
            _exit(JOB_NOT_STARTED);
        mediate(m);
    }
    return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

static enum err make_stub(const char *name, struct errinfo *info)
{
    int fd = name == NULL ? -1 : open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (name != NULL && fd < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "create the source file");
    if (fd >= 0)
        close(fd);
    return ERR_OK;
}

/* A pipe whose ends have higher numbers than those that the interpreter finds its own at. */
static bool high_pipe(int *ret_read, int *ret_write)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    *ret_read = fcntl(ends[0], F_DUPFD_CLOEXEC, MEDIATOR_STATUS_FD + 1);
    *ret_write = fcntl(ends[1], F_DUPFD_CLOEXEC, MEDIATOR_STATUS_FD + 1);
    close(ends[0]);
    close(ends[1]);
    return *ret_read >= 0 && *ret_write >= 0;
}

enum err mediator_start(const struct launcher *launcher, struct errinfo *info)
{
    struct mediator m = {.launcher = launcher, .interpreter = getpid()};
    int theirs[2];
    enum err e = make_stub(launcher->stub, info);
    if (e != ERR_OK)
        return e;
    if (!high_pipe(&theirs[0], &m.job) || !high_pipe(&m.status, &theirs[1]) || !fork_apart(&m, theirs))
        return errinfo_set(info, ERR_SYSTEM, errno, "start the mediator");
    close(m.job);
    close(m.status);
    if (dup2(theirs[0], MEDIATOR_JOB_FD) < 0 || dup2(theirs[1], MEDIATOR_STATUS_FD) < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "descriptors");
    return ERR_OK; /* theirs are closed by the execve */
}
