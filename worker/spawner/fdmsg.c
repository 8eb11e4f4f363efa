/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/fdmsg.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

union control {
    char bytes[CMSG_SPACE(sizeof(int) * FDMSG_MAX)];
    struct cmsghdr align;
};

static void put_fds(struct msghdr *m, union control *control, const int *fds, size_t n)
{
    if (n == 0)
        return;
    *control = (union control){{0}};
    m->msg_control = control->bytes;
    m->msg_controllen = CMSG_SPACE(sizeof(int) * n);
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * n);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
}

enum err fdmsg_send(int sock, const void *data, size_t len, const int *fds, size_t n, bool wait)
{
    union control control;
    char copy[1024];
    if (n > FDMSG_MAX || len > sizeof copy)
        return ERR_RANGE;
    memcpy(copy, data, len);
    struct iovec iov = {.iov_base = copy, .iov_len = len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    put_fds(&m, &control, fds, n);
    ssize_t sent;
    do {
        sent = sendmsg(sock, &m, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    } while (sent < 0 && errno == EINTR);
    if (sent == (ssize_t)len)
        return ERR_OK;
    return errno == EAGAIN                         ? ERR_AGAIN
           : errno == EPIPE || errno == ECONNRESET ? ERR_CLOSED
           : errno == ETOOMANYREFS                 ? ERR_FULL
                                                   : ERR_SYSTEM;
}

static size_t take_fds(struct msghdr *m, int *fds)
{
    size_t n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds + n, CMSG_DATA(c), here * sizeof(int));
        n += here;
    }
    return n;
}

enum err fdmsg_recv(int sock, void *data, size_t len, int *ret_fds, size_t max, size_t *ret_n, bool wait)
{
    union control control;
    int fds[FDMSG_MAX];
    struct iovec iov = {.iov_base = data, .iov_len = len};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    ssize_t got;
    do {
        got = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EAGAIN ? ERR_AGAIN : errno == ECONNRESET ? ERR_CLOSED : ERR_SYSTEM;
    if (got == 0)
        return ERR_CLOSED;
    size_t n = take_fds(&m, fds);
    bool good = (size_t)got == len && n <= max && (m.msg_flags & MSG_TRUNC) == 0;
    /* There is room for FDMSG_MAX in the buffer: what is missing had none in the table of the process. */
    bool lost = (m.msg_flags & MSG_CTRUNC) != 0;
    if (!good || lost) {
        for (size_t i = 0; i < n; i++)
            close(fds[i]);
        return good ? ERR_FULL : ERR_PROTOCOL;
    }
    if (n > 0)
        memcpy(ret_fds, fds, n * sizeof(int));
    *ret_n = n;
    return ERR_OK;
}

ssize_t fdmsg_write(int sock, const void *data, size_t len, int fd)
{
    union control control;
    /* The member is older than const; nothing is written there. */
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    put_fds(&m, &control, &fd, fd >= 0);
    return sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t fdmsg_read(int sock, void *data, size_t len, int *ret_fd)
{
    union control control;
    int fds[FDMSG_MAX];
    struct iovec iov = {.iov_base = data, .iov_len = len};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    ssize_t got = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    size_t n = got > 0 ? take_fds(&m, fds) : 0;
    for (size_t i = 1; i < n; i++)
        close(fds[i]);
    *ret_fd = n > 0 ? fds[0] : -1;
    return got;
}
