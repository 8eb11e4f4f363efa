/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/templates/control.h"

#include "base/cleanup.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

enum { FORK_FDS_MAX = TEMPLATE_FD_CGROUPS + TEMPLATE_CGROUPS_MAX };

_Static_assert(sizeof(struct sock_filter) == sizeof(((struct template_setup *)NULL)->filter[0]),
               "same instruction");
_Static_assert((int)TEMPLATE_RLIMITS_MAX == (int)LOCKDOWN_RLIMITS_MAX, "same table");

static ssize_t receive(int fd, struct msghdr *msg)
{
    ssize_t n;
    do
        n = recvmsg(fd, msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    return n;
}

static bool path_ok(const char path[TEMPLATE_PATH_MAX])
{
    return path[0] == '/' && memchr(path, '\0', TEMPLATE_PATH_MAX) != NULL;
}

static bool setup_ok(const struct template_setup *s, size_t len)
{
    const size_t head = offsetof(struct template_setup, filter);
    return len >= head && s->magic == TEMPLATE_MAGIC && s->type == TEMPLATE_SETUP &&
           s->version == TEMPLATE_VERSION && s->uid != 0 && s->gid != 0 &&
           s->rlimit_count <= TEMPLATE_RLIMITS_MAX && s->filter_count <= TEMPLATE_FILTER_MAX &&
           len == head + s->filter_count * sizeof s->filter[0] && path_ok(s->work_dir) &&
           path_ok(s->source_dir);
}

/* Only a test build can be told to do without a defence. */
static bool defences_ok(const struct template_setup *s)
{
#ifdef MILLRACE_TEST_BUILD
    return s->filter_count > 0;
#else
    const unsigned all = (unsigned)CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC |
                         CLONE_NEWUTS | CLONE_NEWCGROUP;
    return s->filter_count > 0 && s->off == 0 && s->namespaces == all;
#endif
}

enum err control_read_setup(int fd, struct control_setup *ret_setup)
{
    struct template_setup *s = &ret_setup->wire;
    struct iovec iov = {.iov_base = s, .iov_len = sizeof *s};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n = receive(fd, &msg);
    if (n == 0)
        return ERR_CLOSED;
    if (n < 0 || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || !setup_ok(s, (size_t)n) ||
        !defences_ok(s))
        return ERR_PROTOCOL;
    struct lockdown *l = &ret_setup->lockdown;
    *l = (struct lockdown){
        .uid = s->uid,
        .gid = s->gid,
        .umask = s->umask,
        .off = s->off,
        .need_landlock = s->landlock != 0,
        .work_dir = s->work_dir,
        .rlimit_count = s->rlimit_count,
        .filter = (struct sock_filter *)(void *)s->filter,
        .filter_count = (unsigned short)s->filter_count,
    };
    for (unsigned i = 0; i < s->rlimit_count; i++) {
        l->rlimits[i].resource = (int)s->rlimits[i].resource;
        l->rlimits[i].limit = (struct rlimit){.rlim_cur = s->rlimits[i].soft, .rlim_max = s->rlimits[i].hard};
    }
    return ERR_OK;
}

static unsigned take_fds(struct msghdr *msg, int fds[FORK_FDS_MAX])
{
    unsigned count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n && count < FORK_FDS_MAX; i++)
            memcpy(&fds[count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    }
    return count;
}

enum err control_read_fork(int fd, struct control_fork *ret_fork)
{
    struct template_fork wire;
    union {
        char bytes[CMSG_SPACE(FORK_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = &wire, .iov_len = sizeof wire};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control};
    ssize_t n = receive(fd, &msg);
    if (n == 0)
        return ERR_CLOSED;
    memset(ret_fork->fds, -1, sizeof ret_fork->fds);
    unsigned count = n > 0 ? take_fds(&msg, ret_fork->fds) : 0;
    ret_fork->tag = wire.tag;
    ret_fork->cgroup_count = wire.cgroup_count;
    if (n == (ssize_t)sizeof wire && (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 &&
        wire.magic == TEMPLATE_MAGIC && wire.type == TEMPLATE_FORK &&
        wire.cgroup_count <= TEMPLATE_CGROUPS_MAX && count == TEMPLATE_FD_CGROUPS + wire.cgroup_count)
        return ERR_OK;
    control_close(ret_fork);
    return ERR_PROTOCOL;
}

void control_close(struct control_fork *fork)
{
    for (size_t i = 0; i < FORK_FDS_MAX; i++) {
        cleanup_fd(&fork->fds[i]);
        fork->fds[i] = -1;
    }
}

enum err control_reply(int fd, const struct template_reply *reply)
{
    ssize_t n = send(fd, reply, sizeof *reply, MSG_NOSIGNAL);
    return n == (ssize_t)sizeof *reply ? ERR_OK : ERR_CLOSED;
}
