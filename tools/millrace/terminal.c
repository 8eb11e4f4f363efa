/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

/* What a descriptor that poll() calls writable takes without blocking (PIPE_BUF). */
enum { SAFE_WRITE = 4096 };

/* uv_poll_init() makes the descriptor non-blocking, and with it the shell's: put that back. False: cannot be polled, as
   regular files, which never block for long. */
static bool poll_open(uv_poll_t *handle, uv_loop_t *loop, int fd)
{
    int flags = fcntl(fd, F_GETFL);
    bool good = !uv_poll_init(loop, handle, fd);
    if (flags >= 0)
        fcntl(fd, F_SETFL, flags);
    return good;
}

/* ---- out ---- */

static void outlet_break(struct outlet *o)
{
    o->broken = true;
    buf_reset(&o->waiting);
    if (o->on_broken)
        o->on_broken(o->arg);
}

static bool writable(const struct outlet *o)
{
    struct pollfd p = {.fd = o->fd, .events = POLLOUT};
    return !o->pollable || poll(&p, 1, 0) > 0;
}

static void outlet_flush(struct outlet *o)
{
    size_t done = 0;
    while (done < o->waiting.len && writable(o)) {
        size_t n = o->waiting.len - done;
        ssize_t sent = write(o->fd, o->waiting.data + done, o->pollable && n > SAFE_WRITE ? SAFE_WRITE : n);
        if (sent < 0 && errno != EINTR && errno != EAGAIN) {
            outlet_break(o);
            return;
        }
        if (sent < 0 && errno == EAGAIN)
            break;
        done += sent > 0 ? (size_t)sent : 0;
    }
    buf_consume(&o->waiting, done);
}

static void on_writable(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct outlet *o = poll->data;
    size_t before = o->waiting.len;
    outlet_flush(o);
    if (!o->waiting.len && o->polling) {
        uv_poll_stop(&o->poll);
        o->polling = false;
    }
    if (before > OUTLET_LITTLE && o->waiting.len <= OUTLET_LITTLE && o->on_room)
        o->on_room(o->arg);
}

void outlet_open(struct outlet *o, uv_loop_t *loop, int fd)
{
    o->fd = fd;
    buf_init(&o->waiting, OUTLET_MAX);
    o->poll.data = o;
    o->pollable = poll_open(&o->poll, loop, fd);
}

bool outlet_write(struct outlet *o, struct str bytes)
{
    if (o->broken)
        return true;
    buf_append_str(&o->waiting, bytes);
    if (!o->polling)
        outlet_flush(o);
    if (o->waiting.len && !o->broken && !o->polling)
        o->polling = !uv_poll_start(&o->poll, UV_WRITABLE, on_writable);
    return o->waiting.len < OUTLET_MUCH;
}

void outlet_finish(struct outlet *o)
{
    struct pollfd p = {.fd = o->fd, .events = POLLOUT};
    while (o->waiting.len && !o->broken) {
        if (o->pollable && poll(&p, 1, -1) < 0 && errno != EINTR)
            return;
        outlet_flush(o);
    }
}

void outlet_close(struct outlet *o, uv_close_cb closed)
{
    buf_free(&o->waiting);
    if (o->pollable)
        uv_close((uv_handle_t *)&o->poll, closed);
}

/* ---- in ---- */

static bool inlet_read(struct inlet *i)
{
    char room[INLET_CHUNK];
    ssize_t n = read(i->fd, room, sizeof room);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return false;
    i->ended = n <= 0;
    if (i->ended && i->polling)
        inlet_want(i, false);
    i->on_bytes(i->arg, (struct str){room, n > 0 ? (size_t)n : 0});
    return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct inlet *i = poll->data;
    if (!i->ended)
        inlet_read(i);
}

void inlet_open(struct inlet *i, uv_loop_t *loop, int fd)
{
    i->fd = fd;
    i->poll.data = i;
    i->pollable = poll_open(&i->poll, loop, fd);
}

void inlet_want(struct inlet *i, bool want)
{
    bool change = want != i->polling;
    i->polling = want;
    if (i->pollable && change && want && !i->ended)
        uv_poll_start(&i->poll, UV_READABLE | UV_DISCONNECT, on_readable);
    else if (i->pollable && change && !want)
        uv_poll_stop(&i->poll);
    while (!i->pollable && i->polling && !i->ended)
        inlet_read(i);
}

void inlet_close(struct inlet *i, uv_close_cb closed)
{
    i->ended = true;
    i->polling = false;
    if (i->pollable)
        uv_close((uv_handle_t *)&i->poll, closed);
}
