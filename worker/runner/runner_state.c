/* SPDX-License-Identifier: Apache-2.0 */
/* The go socket of a run that keeps state: raw state in, the program's own end and what it says of its state out. PID 1 looks
   at the end only; the records go to the worker as they are, within their bound. */
#include "base/clock.h"
#include "worker/runner/runner.h"
#include "worker/templates/template_proto.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    STATE_IN_MAX = 512 << 20,
    RECORDS_EXTRA = 256 * 1024, /* headers and warnings */
    SAVE_GRACE_MS = 1000,       /* the program has a clock of its own for saving; ours comes behind it */
};

enum err state_take_in(struct runner *r, struct str bytes)
{
    r->state_run.in.max = STATE_IN_MAX;
    buf_append_str(&r->state_run.in, bytes);
    return buf_status(&r->state_run.in);
}

bool state_begin(struct runner *r)
{
    struct runner_state *s = &r->state_run;
    s->kept = r->spec.state_max > 0;
    s->left = r->spec.state_max + r->spec.state_max / 1024 + RECORDS_EXTRA;
    return s->in.len == r->spec.state_size && (s->kept || s->in.len == 0);
}

void state_program_ended(struct runner *r)
{
    const int32_t status = r->state_run.status;
    if (!r->state_run.ended || ((status & PROGRAM_ENDS_ITSELF) && r->state != RUN_KILLING))
        return;
    r->exit.exit_code = status & 0xff;
    r->exit.signal = 0;
}

bool state_listens(const struct runner *r)
{
    return r->go >= 0 && (!r->state_run.ended || channel_idle(&r->channel));
}

static void shut_go(struct runner *r)
{
    close(r->go);
    r->go = -1;
}

/* False: nothing more is there now. */
static bool take_end(struct runner *r)
{
    struct runner_state *s = &r->state_run;
    struct program_ended told;
    ssize_t n = recv(r->go, s->told + s->part, sizeof told - s->part, MSG_DONTWAIT);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            shut_go(r);
        return false;
    }
    s->part += (size_t)n;
    if (s->part < sizeof told)
        return true;
    memcpy(&told, s->told, sizeof told);
    if (told.magic != TEMPLATE_MAGIC) {
        shut_go(r);
        return false;
    }
    if (told.status & PROGRAM_IS_OVER) {
        r->over_told = true;
        r->over_status = told.status & 0xff;
        s->part = 0;
        return false;
    }
    const int64_t now = clock_mono_ns();
    s->ended = true;
    s->status = told.status;
    r->exit.wall_ns = (uint64_t)(now - r->started_ns);
    r->deadline_ns = now + ((int64_t)r->spec.state_ms + SAVE_GRACE_MS) * 1000000;
    if (r->main == 0) /* its end was reaped before this was read */
        state_program_ended(r);
    return true;
}

/* Shut by the program as its last step, or by the kernel when it has ended: the status that it told counts either way. */
static void over_behind_state(struct runner *r)
{
    r->over_told = !(r->state_run.status & PROGRAM_ENDS_ITSELF);
    r->over_status = r->state_run.status & 0xff;
}

static enum err relay(struct runner *r, bool *ret_more)
{
    struct runner_state *s = &r->state_run;
    ssize_t n = recv(r->go, channel_chunk(&r->channel), CHANNEL_CHUNK_MAX, MSG_DONTWAIT);
    *ret_more = n > 0 && (uint64_t)n <= s->left;
    if (!*ret_more) {
        if (n == 0)
            over_behind_state(r);
        if (n >= 0 || (errno != EAGAIN && errno != EINTR))
            shut_go(r);
        return ERR_OK;
    }
    s->left -= (uint64_t)n;
    s->announced = true;
    return channel_put_chunk(&r->channel, FRAME_STATE, (size_t)n);
}

enum err state_pump(struct runner *r)
{
    bool more = r->go >= 0 && r->state_run.kept;
    r->state_run.held = false;
    enum err e = ERR_OK;
    while (more && e == ERR_OK) {
        if (!r->state_run.ended)
            more = take_end(r);
        else if ((e = channel_flush(&r->channel)) == ERR_OK && channel_idle(&r->channel))
            e = relay(r, &more);
        else {
            r->state_run.held = e == ERR_OK;
            more = false;
        }
    }
    return e;
}

enum err state_announce(struct runner *r)
{
    struct runner_state *s = &r->state_run;
    if (!s->ended || s->announced)
        return ERR_OK;
    s->announced = true;
    return channel_put(&r->channel, FRAME_STATE, NULL, 0);
}
