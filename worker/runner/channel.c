/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/runner/channel.h"

#include "base/cleanup.h"
#include "worker/spawner/fdmsg.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

bool channel_idle(const struct channel *c)
{
    return c->out_at == c->out_len;
}

enum err channel_flush(struct channel *c)
{
    c->full = false;
    while (c->out_at < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            c->full = errno == EAGAIN;
            return c->full ? ERR_OK : ERR_CLOSED;
        }
        c->out_at += (size_t)n;
    }
    c->out_at = c->out_len = 0;
    return ERR_OK;
}

enum err channel_end_turn(struct channel *c)
{
    return c->full ? ERR_OK : channel_flush(c);
}

enum err channel_queue(struct channel *c, enum frame_type type, const void *payload, size_t length)
{
    if (sizeof c->out - c->out_len < FRAME_HEADER_SIZE + length)
        return ERR_FULL;
    frame_put_header((uint8_t *)c->out + c->out_len, type, length);
    if (length > 0)
        memcpy(c->out + c->out_len + FRAME_HEADER_SIZE, payload, length);
    c->out_len += FRAME_HEADER_SIZE + length;
    return ERR_OK;
}

enum err channel_put(struct channel *c, enum frame_type type, const void *payload, size_t length)
{
    enum err e = channel_queue(c, type, payload, length);
    return e == ERR_OK ? channel_flush(c) : e;
}

/* Not worth a read below half of a chunk: then what is queued goes first. */
size_t channel_room(const struct channel *c)
{
    return c->out_at > 0 || c->out_len > CHANNEL_CHUNK_MAX / 2 ? 0 : CHANNEL_CHUNK_MAX - c->out_len;
}

char *channel_chunk(struct channel *c)
{
    return c->out + c->out_len + FRAME_HEADER_SIZE;
}

void channel_queue_chunk(struct channel *c, enum frame_type type, size_t length)
{
    frame_put_header((uint8_t *)c->out + c->out_len, type, length);
    c->out_len += FRAME_HEADER_SIZE + length;
}

enum err channel_put_chunk(struct channel *c, enum frame_type type, size_t length)
{
    channel_queue_chunk(c, type, length);
    return channel_flush(c);
}

int channel_take_passed(struct channel *c)
{
    return steal_fd(&c->passed);
}

enum err channel_fill(struct channel *c)
{
    if (c->in_len == sizeof c->in)
        return ERR_OK;
    int passed;
    ssize_t n = fdmsg_read(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, &passed);
    if (passed >= 0 && c->passed >= 0)
        close(c->passed);
    if (passed >= 0)
        c->passed = passed;
    if (n > 0) {
        c->in_len += (size_t)n;
        return ERR_OK;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? ERR_AGAIN : ERR_CLOSED;
}

enum err channel_next(struct channel *c, struct frame *ret_frame, size_t *ret_used)
{
    return frame_take((struct str){.p = c->in, .n = c->in_len}, ret_frame, ret_used);
}

void channel_drop(struct channel *c, size_t used)
{
    c->in_len -= used;
    memmove(c->in, c->in + used, c->in_len);
}
