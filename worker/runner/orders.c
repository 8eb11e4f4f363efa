/* SPDX-License-Identifier: Apache-2.0 */
/* What the worker says: each frame, and in which state it may come. */
#include "base/clock.h"
#include "worker/runner/runner.h"
#include "worker/spawner/defence.h"

#include <signal.h>

enum { NPROC_OF_NODE = 16384 };

/* RLIMIT_NPROC counts all that have the program's id on this node, other pods too: where the container's processes are counted,
   that is what keeps the limit, and the other is only a last resort. */
static void count_pids(struct runner *r)
{
    uint64_t now;
    if (!r->contained || r->spec.nproc == 0 || !usage_pids(r, &now))
        return;
    r->pids_limit = r->spec.nproc;
    r->spec.nproc = NPROC_OF_NODE;
    spec_replace_u64(r->spec_bytes.data, r->spec_bytes.len, SPEC_LIMIT_NPROC, NPROC_OF_NODE);
}

static void on_start(struct runner *r)
{
    if (r->state != RUN_READY || spec_scan(buf_str(&r->spec_bytes), &r->spec) != ERR_OK ||
        !files_input_whole(&r->files) || !state_begin(r))
        runner_leave();
    artifact_close(r);
    count_pids(r);
    r->compile = r->spec.compile_argv.n > 0 && r->warm == NULL; /* a warm one compiles by itself */
    if (!r->spec.stdin_open)
        r->input_ended = true;
    if (r->spec.tools && (r->tools = tools_open()) == NULL) {
        runner_give_up(r, "the socket of the tools cannot be made");
        return;
    }
    r->output_left = UINT64_MAX - 1;
    if (r->spec.output_bytes != 0 && defence_on(r->off, DEFENCE_OUTPUT_LIMIT))
        r->output_left = r->spec.output_bytes;
    runner_release(r);
    buf_free(&r->state_run.in);
    if (!r->compile)
        buf_free(&r->spec_bytes);
}

static void send_signal(struct runner *r, struct str payload)
{
    uint32_t number = 0;
    if (frame_get_u32(payload, &number) != ERR_OK || number < 1 || number > 64)
        runner_leave();
    if (r->state != RUN_RUNNING || r->main <= 0)
        return;
    if (kill(-r->main, (int)number) != 0) /* its group; a program may have left it */
        kill(r->main, (int)number);
}

static void on_kill(struct runner *r, struct str payload)
{
    uint32_t why = 0;
    if (frame_get_u32(payload, &why) != ERR_OK || why > PE_PIDS)
        runner_leave();
    if (r->state == RUN_READY || r->state == RUN_PREPARING || r->state == RUN_KEEPING)
        runner_give_up(r, "ended before it started");
    else
        runner_end_run(r, (enum pod_end)why);
}

static void take_compiled(struct runner *r, const struct frame *f)
{
    struct errinfo info = {0};
    if (r->state == RUN_OVER) /* an earlier piece had no room */
        return;
    if (r->state != RUN_READY)
        runner_leave();
    enum err e = f->type == FRAME_COMPILED_IN ? artifact_put(r, f->payload, &info)
                                              : artifact_copy(r, channel_take_passed(&r->channel), &info);
    if (e != ERR_OK)
        runner_give_up(r, info.text);
}

static void take_input(struct runner *r, const struct frame *f)
{
    struct errinfo info = {0};
    if (r->state == RUN_OVER)
        return; /* it does not know yet */
    if (r->state != RUN_READY)
        runner_leave();
    enum err e = f->type == FRAME_INPUT_BEGIN ? files_input(&r->files, f->payload, &info)
                                              : files_input_data(&r->files, f->payload, &info);
    if (e == ERR_PROTOCOL)
        runner_leave();
    if (e != ERR_OK)
        runner_give_up(r, info.text);
}

/* While the program waited for it, its wall clock stood still. */
static void on_tool_result(struct runner *r, struct str payload)
{
    int64_t stood = 0;
    if (r->tools == NULL)
        runner_leave();
    runner_must(tools_result(r->tools, payload, clock_mono_ns(), &stood));
    if (r->deadline_ns != 0)
        r->deadline_ns += stood;
}

static void on_frame(struct runner *r, const struct frame *f)
{
    switch (f->type) {
    case FRAME_TOOL_RESULT:
        on_tool_result(r, f->payload);
        return;
    case FRAME_COLLECT:
        if (r->state != RUN_READY)
            runner_leave();
        runner_must(files_collect(&r->files, f->payload));
        return;
    case FRAME_INPUT_BEGIN:
    case FRAME_INPUT_DATA:
        take_input(r, f);
        return;
    case FRAME_SPEC:
        buf_append_str(&r->spec_bytes, f->payload);
        if (r->state != RUN_READY || buf_status(&r->spec_bytes) != ERR_OK)
            runner_leave();
        return;
    case FRAME_COMPILED_IN:
    case FRAME_COMPILED_PASSED:
        take_compiled(r, f);
        return;
    case FRAME_STATE_IN:
        if (r->state != RUN_READY)
            runner_leave();
        runner_must(state_take_in(r, f->payload));
        return;
    case FRAME_START:
        on_start(r);
        return;
    case FRAME_STDIN:
        runner_must(pump_hold_input(r, f->payload));
        break;
    case FRAME_STDIN_EOF:
        r->input_ended = true;
        break;
    case FRAME_SIGNAL:
        send_signal(r, f->payload);
        return;
    case FRAME_KILL:
        on_kill(r, f->payload);
        return;
    default:
        runner_leave();
    }
    if (r->state == RUN_RUNNING || r->state == RUN_STARTING)
        pump_input(r);
}

/* A frame is taken only when what it brings has room, so that the worker's socket fills up and not our memory. */
bool orders_have_room(const struct runner *r)
{
    return r->held.len - r->held_at <= FRAME_STDIN_HELD_MAX &&
           (r->tools == NULL || tools_has_room(r->tools)); /* at the bound START can still be read */
}

void orders_take(struct runner *r)
{
    struct frame f;
    size_t used = 0;
    while (orders_have_room(r)) {
        enum err e = channel_next(&r->channel, &f, &used);
        if (e == ERR_AGAIN)
            return;
        runner_must(e);
        on_frame(r, &f);
        channel_drop(&r->channel, used);
    }
}

void orders_read(struct runner *r)
{
    enum err e = channel_fill(&r->channel);
    if (e != ERR_AGAIN)
        runner_must(e);
    orders_take(r);
}
