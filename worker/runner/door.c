/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/runner/door.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "worker/runner/pod_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 16, DEAD_PEER_MS = 30000, KEEP_IDLE_S = 10, KEEP_EVERY_S = 5, KEEP_TIMES = 4 };

static int listen_on(int family, unsigned port)
{
    const struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_ANY)};
    const struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    const struct sockaddr *to =
        family == AF_INET6 ? (const struct sockaddr *)&v6 : (const struct sockaddr *)&v4;
    auto_fd fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int one = 1, zero = 0;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero) != 0) ||
        bind(fd, to, family == AF_INET6 ? sizeof v6 : sizeof v4) != 0 || listen(fd, BACKLOG) != 0)
        return -1;
    return steal_fd(&fd);
}

enum err door_open(struct door *d, unsigned port, const uint8_t digest[DIGEST_SIZE], struct errinfo *info)
{
    d->listener = listen_on(AF_INET6, port); /* takes IPv4 too */
    if (d->listener < 0)
        d->listener = listen_on(AF_INET, port);
    if (d->listener < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "listen on port %u", port);
    memcpy(d->digest, digest, sizeof d->digest);
    for (int i = 0; i < DOOR_STRANGERS_MAX; i++)
        d->strangers[i].fd = -1;
    return ERR_OK;
}

static void turn_away(struct door *d, int i)
{
    close(d->strangers[i].fd);
    d->strangers[i].fd = -1;
}

/* When every place is taken the one that came first makes room. */
static int place_for(struct door *d)
{
    int oldest = 0;
    for (int i = 0; i < DOOR_STRANGERS_MAX; i++) {
        if (d->strangers[i].fd < 0)
            return i;
        if (d->strangers[i].until_ns < d->strangers[oldest].until_ns)
            oldest = i;
    }
    turn_away(d, oldest);
    return oldest;
}

static void let_in(struct door *d)
{
    auto_fd came = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int fd =
        came < 0 ? -1 : fcntl(came, F_DUPFD_CLOEXEC, RUNNER_FD_END); /* it may have got the worker's number */
    if (fd < 0)
        return;
    int i = place_for(d);
    d->strangers[i].fd = fd;
    d->strangers[i].got = 0;
    d->strangers[i].until_ns = clock_mono_ns() + KNOCK_SECONDS * 1000000000LL;
}

/* The time it takes does not tell how much was right. */
static bool has_token(const struct door *d, const uint8_t knock[KNOCK_SIZE])
{
    uint8_t digest[DIGEST_SIZE], differs = 0;
    digest_of(knock + KNOCK_MAGIC_SIZE, KNOCK_TOKEN_SIZE, digest);
    for (int i = 0; i < DIGEST_SIZE; i++)
        differs |= (uint8_t)(digest[i] ^ d->digest[i]);
    for (int i = 0; i < KNOCK_MAGIC_SIZE; i++)
        differs |= (uint8_t)(knock[i] ^ (uint8_t)KNOCK_MAGIC[i]);
    return differs == 0;
}

/* A worker that vanished without a word is noticed, also while it owes us nothing. */
static bool settle(int fd)
{
    const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEP_EVERY_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEP_TIMES},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, DEAD_PEER_MS},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int)) != 0)
            return false;
    return true;
}

static void worker_left(struct runner *r)
{
    close(r->channel.fd);
    r->channel.fd = -1;
    r->channel.in_len = r->channel.out_at = r->channel.out_len = 0;
}

/* It takes the place of the one before, which has given no order. */
static void worker_came(struct runner *r, int fd)
{
    if (r->channel.fd >= 0)
        worker_left(r);
    if (!settle(fd) || dup3(fd, RUNNER_FD_CONTROL, O_CLOEXEC) < 0)
        runner_leave();
    close(fd);
    r->channel.fd = RUNNER_FD_CONTROL;
    if (r->state == RUN_READY)
        runner_say_ready(r);
}

static void listen_to(struct door *d, struct runner *r, int i)
{
    uint8_t *bytes = d->strangers[i].bytes;
    ssize_t n =
        recv(d->strangers[i].fd, bytes + d->strangers[i].got, KNOCK_SIZE - d->strangers[i].got, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    d->strangers[i].got += n > 0 ? (size_t)n : 0;
    if (n > 0 && d->strangers[i].got < KNOCK_SIZE)
        return;
    if (n <= 0 || !has_token(d, bytes)) {
        turn_away(d, i);
        return;
    }
    int fd = d->strangers[i].fd;
    d->strangers[i].fd = -1;
    worker_came(r, fd);
}

/* True: an order is there. */
static bool look_at_worker(struct runner *r)
{
    char byte;
    ssize_t n = recv(r->channel.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0)
        worker_left(r);
    return n > 0;
}

static void close_door(struct door *d)
{
    for (int i = 0; i < DOOR_STRANGERS_MAX; i++)
        if (d->strangers[i].fd >= 0)
            turn_away(d, i);
    close(d->listener);
    d->listener = -1;
}

enum { D_LISTENER, D_WORKER, D_GO, D_STRANGERS, D_COUNT = D_STRANGERS + DOOR_STRANGERS_MAX };

static int next_timeout(const struct door *d)
{
    int64_t next = INT64_MAX, now = clock_mono_ns();
    for (int i = 0; i < DOOR_STRANGERS_MAX; i++)
        if (d->strangers[i].fd >= 0 && d->strangers[i].until_ns < next)
            next = d->strangers[i].until_ns;
    if (next == INT64_MAX)
        return -1;
    return next <= now ? 0 : (int)((next - now) / 1000000) + 1;
}

static void wait_at(const struct door *d, const struct runner *r, struct pollfd p[D_COUNT])
{
    bool worker = r->channel.fd >= 0;
    p[D_LISTENER] = (struct pollfd){.fd = d->listener, .events = POLLIN};
    p[D_WORKER] = (struct pollfd){.fd = r->channel.fd, .events = POLLIN};
    p[D_GO] = (struct pollfd){.fd = worker ? r->go : -1, .events = POLLIN};
    for (int i = 0; i < DOOR_STRANGERS_MAX; i++)
        p[D_STRANGERS + i] = (struct pollfd){.fd = d->strangers[i].fd, .events = POLLIN};
    if (poll(p, D_COUNT, next_timeout(d)) < 0 && errno != EINTR)
        runner_leave();
}

void door_wait(struct door *d, struct runner *r)
{
    struct pollfd p[D_COUNT];
    r->channel.fd = -1;
    for (;;) {
        wait_at(d, r, p);
        int64_t now = clock_mono_ns();
        for (int i = 0; i < DOOR_STRANGERS_MAX; i++) {
            if (d->strangers[i].fd >= 0 && p[D_STRANGERS + i].revents != 0)
                listen_to(d, r, i);
            if (d->strangers[i].fd >= 0 && d->strangers[i].until_ns <= now)
                turn_away(d, i);
        }
        if (p[D_LISTENER].revents != 0)
            let_in(d);
        if (p[D_GO].revents != 0 && r->channel.fd >= 0)
            runner_on_go(r);
        if (p[D_WORKER].revents != 0 && r->channel.fd >= 0 && look_at_worker(r))
            break;
    }
    close_door(d);
}
