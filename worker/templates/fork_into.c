/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/templates/fork_into.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    HELPER_STACK = 64 * 1024,
    HELPER_FLAGS = CLONE_VM | CLONE_VFORK | SIGCHLD,
};

/* Shared by the template, M and N: they run one at a time. */
struct crossing {
    const struct fork_into *into;
    jmp_buf back; /* in fork_into_pod's frame, which lives on in P's copy of the template's stack */
    volatile pid_t program;
    const char *volatile step; /* what failed; NULL: nothing */
    volatile int error;
};

static char stack_m[HELPER_STACK] __attribute__((aligned(64)));
static char stack_n[HELPER_STACK] __attribute__((aligned(64)));

static int fail(struct crossing *c, const char *step)
{
    c->error = errno;
    c->step = step;
    return 1;
}

static pid_t reap(pid_t pid)
{
    pid_t got;
    do
        got = waitpid(pid, NULL, __WALL);
    while (got < 0 && errno == EINTR);
    return got;
}

/* fork() and not a raw clone: it keeps glibc's locks and its idea of the thread id right in P. */
static int run_n(void *arg)
{
    struct crossing *c = arg;
    pid_t pid = fork();
    if (pid == 0)
        longjmp(c->back, 1);
    if (pid < 0)
        return fail(c, "fork of the program");
    c->program = pid;
    return 0;
}

/* "0" is the writer itself: M, and so what it forks. */
static int enter_cgroups(const struct fork_into *into)
{
    for (unsigned i = 0; i < into->cgroup_count; i++)
        if (write(into->cgroups[i], "0", 1) != 1)
            return -1;
    return 0;
}

static int run_m(void *arg)
{
    struct crossing *c = arg;
    if (enter_cgroups(c->into) != 0)
        return fail(c, "entering the cgroup");
    if (setns(c->into->pidfd, (int)(c->into->namespaces & ~(unsigned)CLONE_NEWCGROUP)) != 0)
        return fail(c, "joining the namespaces");
    /* PID 1 is not in the pod's cgroup, so its view would show where that is: P gets one that begins where P
     * is. */
    if ((c->into->namespaces & CLONE_NEWCGROUP) != 0 && unshare(CLONE_NEWCGROUP) != 0)
        return fail(c, "making the cgroup namespace");
    pid_t n = clone(run_n, stack_n + HELPER_STACK, HELPER_FLAGS, c);
    if (n < 0)
        return fail(c, "clone of N");
    return reap(n) == n ? 0 : fail(c, "waiting for N");
}

enum err fork_into_pod(const struct fork_into *into, pid_t *ret_pid, struct errinfo *info)
{
    static struct crossing c;
    memset(&c, 0, sizeof c);
    c.into = into;
    if (setjmp(c.back) != 0) {
        *ret_pid = 0;
        return ERR_OK;
    }
    pid_t m = clone(run_m, stack_m + HELPER_STACK, HELPER_FLAGS, &c);
    if (m < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "clone of M");
    if (reap(m) != m && c.step == NULL)
        return errinfo_set(info, ERR_SYSTEM, errno, "waiting for M");
    if (c.program > 0) {
        *ret_pid = c.program;
        return ERR_OK;
    }
    if (c.step == NULL) /* killed: the pod ended meanwhile */
        return errinfo_set(info, ERR_SYSTEM, ESRCH, "on the way into the pod");
    return errinfo_set(info, ERR_SYSTEM, c.error, "%s", c.step);
}
