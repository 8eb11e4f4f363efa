/* SPDX-License-Identifier: Apache-2.0 */
/* The two children of the spawner: the helper in U0, and the worker. */
#include "base/cleanup.h"
#include "base/fault.h"
#include "worker/spawner/fdmsg.h"
#include "worker/spawner/idmap.h"
#include "worker/spawner/plan.h"
#include "worker/spawner/preflight.h"
#include "worker/spawner/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* For the short time in which two children could hold each other's descriptors: everything is close-on-exec. */
static enum err keep_fds(const int *fds, size_t n)
{
    int up[8];
    for (size_t i = 0; i < n; i++) {
        up[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 64);
        if (up[i] < 0)
            return ERR_SYSTEM;
    }
    for (size_t i = 0; i < n; i++) {
        if (dup2(up[i], 3 + (int)i) < 0)
            return ERR_SYSTEM;
    }
    return syscall(SYS_close_range, 3 + (unsigned)n, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */) == 0 ? ERR_OK
                                                                                             : ERR_SYSTEM;
}

static _Noreturn void helper_child(const struct spawner *s, int control, int go)
{
    char byte, off[16], owner[16];
    fault_enter(FAULT_HELPER_EXEC);
    char *const environment[] = {(char *)(uintptr_t)fault_environment(), NULL}; /* none */
    /* A host without it was accepted; everywhere else a program that cannot have it does not start. */
    bool landlock = (s->missing & 1ULL << PREFLIGHT_LANDLOCK) == 0;
    snprintf(off, sizeof off, "%x", s->off | (landlock ? 0U : 1U << DEFENCE_LANDLOCK));
    snprintf(owner, sizeof owner, "%d", s->privileged ? HELPER_TEMPLATE_UID : 0);
    char *const argv[] = {(char[]){HELPER_NAME}, off, owner, NULL};
    if (read(go, &byte, 1) != 0) /* the maps are written when the other end closes */
        _exit(71);
    /* Where it is denied to the namespace there must be none. */
    if ((setgroups(0, NULL) != 0 && errno != EPERM) || getgroups(0, NULL) != 0 || setresgid(0, 0, 0) != 0 ||
        setresuid(0, 0, 0) != 0)
        _exit(71);
    const int fds[] = {control, s->filter};
    int image = fcntl(s->image, F_DUPFD_CLOEXEC, 32); /* out of the way */
    if (image < 0 || keep_fds(fds, 2) != ERR_OK)
        _exit(71);
    fexecve(image, argv, environment); /* keep_fds() only marked it close-on-exec */
    _exit(71);
}

/* Its first message: the root is built, or why not. */
static enum err wait_until_up(struct spawner *s, struct errinfo *info)
{
    struct helper_reply r = {.type = 0};
    size_t n = 0;
    enum err e = fdmsg_recv(s->helper, &r, sizeof r, NULL, 0, &n, true);
    r.text[sizeof r.text - 1] = '\0';
    if (e != ERR_OK)
        return errinfo_set(info, e, 0, "the helper ended at once");
    return r.type == HELPER_UP ? ERR_OK : errinfo_set(info, ERR_SYSTEM, 0, "the helper: %s", r.text);
}

/* The helper and its templates are walled off as pods are. */
static pid_t clone_helper(unsigned off)
{
    unsigned long flags = plan_clone_flags(off) | SIGCHLD;
    return (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
}

enum err spawner_start_helper(struct spawner *s, struct errinfo *info)
{
    int pair[2], go[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "socketpair");
    s->helper = pair[0];
    auto_fd control = pair[1];
    if (pipe2(go, O_CLOEXEC) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "pipe");
    auto_fd go_read = go[0];
    auto_fd go_write = go[1];
    s->helper_pid = clone_helper(s->off);
    if (s->helper_pid < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "make the outer user namespace");
    if (s->helper_pid == 0) {
        close(go[1]);
        helper_child(s, control, go_read);
    }
    enum err e = cgroups_adopt(&s->cgroups, s->helper_pid, info);
    if (e == ERR_OK)
        e = idmap_write(s->helper_pid, s->privileged, s->host_base, &s->ids, info);
    if (e != ERR_OK) {
        kill(s->helper_pid, SIGKILL);
        return e;
    }
    close(steal_fd(&go_write));
    close(steal_fd(&control));
    return wait_until_up(s, info);
}

/* An ordinary process from here on, and for all that it starts. */
static bool drop_privilege(const struct spawner *s)
{
    if (s->privileged) {
        for (int cap = 0; cap <= CAP_LAST_CAP; cap++) {
            if (s->worker_uid != 0 && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0 && errno != EINVAL)
                return false;
        }
        if (setgroups(0, NULL) != 0 || setresgid(s->worker_gid, s->worker_gid, s->worker_gid) != 0 ||
            setresuid(s->worker_uid, s->worker_uid, s->worker_uid) != 0)
            return false;
    }
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

/* The worker's program may lie where only we can go (a clone in /root): then it is started by the descriptor that we
   opened with our privilege. By its path first, so that the process has its name on older kernels too. */
static void become_worker(const struct spawner *s, int exe)
{
    execvp(s->worker_argv[0], s->worker_argv);
    if (errno == EACCES && exe >= 0)
        fexecve(exe, s->worker_argv, environ);
}

static _Noreturn void worker_child(const struct spawner *s, int socket, pid_t parent)
{
    sigset_t none;
    char number[16];
    fault_enter(FAULT_WORKER);
    sigemptyset(&none);
    int exe = open(s->worker_argv[0], O_PATH | O_CLOEXEC);
    int fd = fcntl(socket, F_DUPFD, 3); /* not close-on-exec */
    snprintf(number, sizeof number, "%d", fd);
    if (fd < 0 || sigprocmask(SIG_SETMASK, &none, NULL) != 0 || setenv(SPAWNER_FD_ENV, number, 1) != 0 ||
        unsetenv("MILLRACE_SPAWNER_EXE") != 0 || !drop_privilege(s))
        _exit(71);
    /* It hands back what it has and ends; the end of the socket tells it the same. */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) != 0 || getppid() != parent)
        _exit(71);
    become_worker(s, exe);
    fprintf(stderr, "millrace-spawner: cannot start %s: %s\n", s->worker_argv[0], strerror(errno));
    _exit(127);
}

enum err spawner_start_worker(struct spawner *s, struct errinfo *info)
{
    int pair[2];
    pid_t self = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "socketpair");
    s->worker = pair[0];
    auto_fd theirs = pair[1];
    s->worker_pid = fork();
    if (s->worker_pid < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "fork");
    if (s->worker_pid == 0)
        worker_child(s, theirs, self);
    return ERR_OK;
}
