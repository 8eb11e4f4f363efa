/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/runner/runner.h"
#include "worker/spawner/defence.h"

#include <errno.h>
#include <unistd.h>

static void shut(int *fd)
{
    close(*fd);
    *fd = -1;
}

/* One chunk of one stream, as far as it is within the limit. ERR_AGAIN: nothing there now, or at its end. */
static enum err pump_stream(struct runner *r, int which)
{
    int *fd = &r->out[which];
    if (*fd < 0)
        return ERR_AGAIN;
    size_t want = channel_room(&r->channel);
    if (r->output_left < want)
        want = (size_t)r->output_left + 1; /* one more shows that there is more */
    ssize_t n = read(*fd, channel_chunk(&r->channel), want);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return ERR_AGAIN;
    if (n <= 0) {
        shut(fd);
        return ERR_AGAIN;
    }
    size_t len = (size_t)n;
    if (len > r->output_left) {
        len = (size_t)r->output_left;
        r->over_output = true;
    }
    r->output_left -= len;
    if (len > 0)
        channel_queue_chunk(&r->channel, which == 0 ? FRAME_STDOUT : FRAME_STDERR, len);
    return ERR_OK;
}

enum err pump_output(struct runner *r)
{
    int quiet = 0;
    r->drained = false;
    while (quiet < 2 && !r->over_output) {
        enum err e = channel_room(&r->channel) == 0 ? channel_flush(&r->channel) : ERR_OK;
        if (e != ERR_OK || channel_room(&r->channel) == 0)
            return e;
        e = pump_stream(r, r->out_first ? 0 : 1);
        r->out_first = !r->out_first;
        quiet = e == ERR_AGAIN ? quiet + 1 : 0;
    }
    r->drained = true;
    return r->over_output ? ERR_FULL : ERR_OK;
}

bool pump_at_end(const struct runner *r)
{
    return r->over_output || (r->out[0] < 0 && r->out[1] < 0);
}

enum err pump_hold_input(struct runner *r, struct str bytes)
{
    if (r->input_ended || (r->in < 0 && !r->compile)) {
        r->taken += (uint32_t)bytes.n; /* the program is not interested any more */
        return ERR_OK;
    }
    if (r->held.max - r->held.len < bytes.n) { /* what is written still stands before what waits */
        buf_consume(&r->held, r->held_at);
        r->held_at = 0;
    }
    buf_append_str(&r->held, bytes);
    return buf_status(&r->held);
}

void pump_input(struct runner *r)
{
    while (r->in >= 0 && r->held_at < r->held.len) {
        ssize_t n = write(r->in, r->held.data + r->held_at, r->held.len - r->held_at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            shut(&r->in); /* EPIPE: its reader is closed */
            break;
        }
        r->held_at += (size_t)n;
        r->taken += (uint32_t)n;
    }
    if (r->in < 0 && r->compile)
        return; /* the run behind it gets it */
    if (r->in < 0 || r->held_at == r->held.len) {
        r->taken += (uint32_t)(r->held.len - r->held_at);
        buf_reset(&r->held);
        r->held_at = 0;
        if (r->in >= 0 && r->input_ended)
            shut(&r->in);
    } else if (r->held_at > r->held.len / 2) {
        buf_consume(&r->held, r->held_at);
        r->held_at = 0;
    }
}

/* The worker has never more than FRAME_STDIN_HELD_MAX under way, so few of these can wait in the channel. */
void pump_tell_taken(struct runner *r)
{
    if (r->taken < FRAME_STDIN_TOLD || r->state != RUN_RUNNING || !r->started_told)
        return;
    const char bytes[4] = {(char)r->taken, (char)(r->taken >> 8), (char)(r->taken >> 16),
                           (char)(r->taken >> 24)};
    runner_must(channel_queue(&r->channel, FRAME_STDIN_TAKEN, bytes, sizeof bytes));
    r->taken = 0;
}
