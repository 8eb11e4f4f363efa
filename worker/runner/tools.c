/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/runner/tools.h"

#include "base/buf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { HEAD = 4, RESULTS_HELD_MAX = 1024 * 1024, RESULT_MESSAGE_MAX = 48 * 1024 * 1024 };

struct connection {
    int fd; /* -1: free */
    uint32_t id;
    struct buf in;  /* what the program sends, with its head */
    struct buf out; /* what it has not read of its results */
    size_t out_at, sent_at;
    bool sending; /* its message is on its way to the worker */
};

struct tools {
    int listener;
    struct connection at[TOOLS_CONNECTIONS_MAX];
    uint32_t last_id, messages; /* so many went to the worker */
    bool waiting;
    int64_t since_ns;
    unsigned turn; /* whose message is looked at first */
};

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && chmod(path, 0666) == 0 &&
        listen(fd, TOOLS_CONNECTIONS_MAX) == 0)
        return fd;
    close(fd);
    return -1;
}

struct tools *tools_open(void)
{
    struct tools *t = calloc(1, sizeof *t);
    if (t == NULL || (t->listener = listen_at(FRAME_TOOLS_SOCKET)) < 0) {
        free(t);
        return NULL;
    }
    for (unsigned i = 0; i < TOOLS_CONNECTIONS_MAX; i++)
        t->at[i].fd = -1;
    return t;
}

bool tools_waiting(const struct tools *t)
{
    return t->waiting;
}

bool tools_has_room(const struct tools *t)
{
    size_t held = 0;
    for (unsigned i = 0; i < TOOLS_CONNECTIONS_MAX; i++)
        held += t->at[i].out.len - t->at[i].out_at;
    return held <= RESULTS_HELD_MAX;
}

/* ---- connections ---- */

static void hang_up(struct connection *c)
{
    close(c->fd);
    buf_free(&c->in);
    buf_free(&c->out);
    *c = (struct connection){.fd = -1};
}

/* The head of its message, which may not be there yet. */
static size_t announced(const struct connection *c)
{
    const unsigned char *h = (const unsigned char *)c->in.data;
    return c->in.len < HEAD ? SIZE_MAX
                            : HEAD + (h[0] | (size_t)h[1] << 8 | (size_t)h[2] << 16 | (size_t)h[3] << 24);
}

static bool whole(const struct connection *c)
{
    return c->fd >= 0 && c->in.len >= HEAD && c->in.len >= announced(c);
}

static void welcome(struct tools *t)
{
    int fd = accept4(t->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    for (unsigned i = 0; i < TOOLS_CONNECTIONS_MAX; i++) {
        struct connection *c = &t->at[i];
        if (c->fd >= 0)
            continue;
        *c = (struct connection){.fd = fd, .id = ++t->last_id};
        buf_init(&c->in, HEAD + TOOLS_MESSAGE_MAX);
        buf_init(&c->out, RESULT_MESSAGE_MAX);
        return;
    }
    close(fd); /* the program has all it may have open */
}

/* A message at a time: what follows it stays in the socket. */
static void listen_to(struct connection *c)
{
    size_t want = c->in.len < HEAD ? HEAD - c->in.len : announced(c) - c->in.len;
    if (c->in.len >= HEAD && announced(c) > HEAD + TOOLS_MESSAGE_MAX) {
        hang_up(c);
        return;
    }
    char *room = buf_reserve(&c->in, want);
    ssize_t n = room != NULL ? recv(c->fd, room, want, 0) : 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        hang_up(c);
    else
        c->in.len += (size_t)n;
}

static void answer(struct connection *c)
{
    while (c->out_at < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + c->out_at, c->out.len - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            hang_up(c);
            return;
        }
        c->out_at += (size_t)n;
    }
    buf_free(&c->out);
    buf_init(&c->out, RESULT_MESSAGE_MAX);
    c->out_at = 0;
}

unsigned tools_polls(const struct tools *t, struct pollfd *ret_polls)
{
    unsigned n = 0;
    ret_polls[n++] = (struct pollfd){.fd = t->listener, .events = POLLIN};
    for (unsigned i = 0; i < TOOLS_CONNECTIONS_MAX; i++) {
        const struct connection *c = &t->at[i];
        if (c->fd < 0)
            continue;
        short events = (short)((whole(c) ? 0 : POLLIN) | (c->out_at < c->out.len ? POLLOUT : 0));
        ret_polls[n++] = (struct pollfd){.fd = events != 0 ? c->fd : -1, .events = events};
    }
    return n;
}

void tools_polled(struct tools *t, const struct pollfd *polls, unsigned count)
{
    for (unsigned n = 1, i = 0; n < count; i++) { /* none came or went since tools_polls() */
        struct connection *c = &t->at[i];
        if (c->fd < 0)
            continue;
        short got = polls[n++].revents;
        if (got & POLLOUT)
            answer(c);
        if (c->fd >= 0 && (got & (POLLIN | POLLHUP | POLLERR)) && !whole(c))
            listen_to(c);
    }
    if (polls[0].revents & POLLIN)
        welcome(t);
}

/* ---- to the worker and back ---- */

enum err tools_pump(struct tools *t, struct channel *channel, int64_t now_ns)
{
    struct connection *c = NULL;
    for (unsigned i = 0; c == NULL && i < TOOLS_CONNECTIONS_MAX; i++) {
        unsigned at = (t->turn + i) % TOOLS_CONNECTIONS_MAX;
        if (whole(&t->at[at])) {
            c = &t->at[at];
            t->turn = at;
        }
    }
    if (c == NULL)
        return ERR_AGAIN;
    size_t left = c->in.len - HEAD - c->sent_at, most = CHANNEL_CHUNK_MAX - FRAME_TOOL_HEAD;
    struct frame_tool head = {.connection = c->id, .last = left <= most};
    size_t n = head.last ? left : most;
    char *chunk = channel_chunk(channel);
    frame_put_tool((uint8_t *)chunk, &head);
    if (n > 0)
        memcpy(chunk + FRAME_TOOL_HEAD, c->in.data + HEAD + c->sent_at, n);
    c->sent_at += n;
    if (head.last) {
        buf_reset(&c->in);
        c->sent_at = 0;
        t->turn = (t->turn + 1) % TOOLS_CONNECTIONS_MAX;
        t->messages++;
        if (!t->waiting)
            t->since_ns = now_ns;
        t->waiting = true;
    }
    return channel_put_chunk(channel, FRAME_TOOL_CALL, FRAME_TOOL_HEAD + n);
}

enum err tools_result(struct tools *t, struct str payload, int64_t now_ns, int64_t *ret_stood_ns)
{
    struct frame_tool head;
    struct str bytes;
    *ret_stood_ns = 0;
    if (frame_get_tool(payload, &head, &bytes) != ERR_OK)
        return ERR_PROTOCOL;
    if (t->waiting && head.seen != 0 && head.seen == t->messages) {
        t->waiting = false;
        *ret_stood_ns = now_ns - t->since_ns;
    }
    for (unsigned i = 0; i < TOOLS_CONNECTIONS_MAX; i++) {
        struct connection *c = &t->at[i];
        if (c->fd < 0 || c->id != head.connection) /* the program may have closed it */
            continue;
        buf_append_str(&c->out, bytes);
        if (buf_status(&c->out) != ERR_OK)
            hang_up(c);
        else
            answer(c);
        break;
    }
    return ERR_OK;
}
