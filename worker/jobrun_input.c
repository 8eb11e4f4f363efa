/* SPDX-License-Identifier: Apache-2.0 */
/* What a client sends to its running job: standard input, its end, signals, cancel. What comes before the program
   is released is kept for it. */
#include "worker/jobrun_internal.h"
#include "json/json.h"

#include "base/log.h"

static bool takes_input(const struct jobrun *run)
{
    return run->released && (run->state == JR_STARTING || run->state == JR_RUNNING);
}

static bool before_release(const struct jobrun *run)
{
    return !run->released && run->state < JR_STARTING;
}

static bool keep_early(struct jobrun *run, struct str bytes)
{
    struct buf *early = &run->request.stdin_bytes;
    if (early->len + bytes.n > POD_STDIN_FIRST)
        return false;
    buf_append_str(early, bytes);
    return buf_status(early) == ERR_OK;
}

/* False: it waits in the log. While the program is being released nobody knows whether this pod or another one will need it. What
   comes after its end is of no use. */
static bool input_bytes(struct jobrun *run, struct str bytes)
{
    if (before_release(run))
        return keep_early(run, bytes);
    if (run->state == JR_RUNNING)
        return jobrun_ops(run)->input(run->pod->pod, FRAME_STDIN, bytes) != ERR_FULL;
    return run->state != JR_STARTING;
}

static bool input_eof(struct jobrun *run)
{
    if (run->state == JR_STARTING)
        return false;
    if (before_release(run))
        run->early_eof = true;
    else if (run->state == JR_RUNNING)
        (void)!jobrun_ops(run)->input(run->pod->pod, FRAME_STDIN_EOF,
                                      (struct str){0}); /* gone: its end is on the way */
    return true;
}

static void send_signal(struct jobrun *run, int number)
{
    const char bytes[4] = {(char)number, 0, 0, 0};
    (void)!jobrun_ops(run)->input(run->pod->pod, FRAME_SIGNAL,
                                  (struct str){.p = bytes, .n = 4}); /* as above */
}

static void input_signal(struct jobrun *run, struct str data)
{
    auto_json root = NULL;
    if (json_parse(data, &root, NULL) != ERR_OK)
        return;
    int number = signal_number(str_of(json_string_value(json_object_get(root, "signal"))));
    if (number == 0)
        return;
    if (takes_input(run))
        send_signal(run, number);
    else if (before_release(run) && run->early_signal_count < EARLY_SIGNALS_MAX)
        run->early_signals[run->early_signal_count++] = number;
}

void jobrun_send_early_inputs(struct jobrun *run)
{
    /* The end of a standard input that the pod was told is open, and nothing left to carry it. */
    if (run->early_eof && run->request.stdin_open && run->request.stdin_bytes.len <= POD_STDIN_FIRST)
        (void)!jobrun_ops(run)->input(run->pod->pod, FRAME_STDIN_EOF, (struct str){0}); /* as below */
    for (unsigned i = 0; i < run->early_signal_count; i++)
        send_signal(run, run->early_signals[i]);
    run->early_signal_count = 0;
}

void jobrun_kill(struct jobrun *run, enum pod_end why)
{
    if (run->facts.killed == PE_OWN)
        run->facts.killed = why;
    jobrun_ops(run)->kill(run->pod->pod, why);
    jobrun_set_deadline(run, KILL_GRACE_MS);
}

static void input_cancel(struct jobrun *run)
{
    if (takes_input(run)) {
        jobrun_kill(run, PE_CANCELLED);
        return;
    }
    if (!before_release(run) && run->state != JR_PARKED)
        return; /* its end is on the way */
    pools_cancel(run->runs->options.pools, &run->wait);
    run->facts.killed = PE_CANCELLED;
    jobrun_drop_pod(run, false);
    jobrun_finish(run);
}

void jobrun_take_inputs(struct jobrun *run)
{
    const struct jobrun_queue *q = &run->runs->options.queue;
    if (!run->input_waits)
        return;
    run->input_waits = false;
    q->inputs(q->arg, run->job, run->attempt);
}

bool jobruns_input(struct jobruns *runs, struct id job, uint32_t attempt, const struct event *event)
{
    struct jobrun *run = jobrun_find(runs, job, attempt);
    bool taken = true;
    if (!run)
        return true;
    if (event->type == EV_INPUT)
        taken = input_bytes(run, event->bytes);
    else if (event->type == EV_EOF)
        taken = input_eof(run);
    else if (event->type == EV_SIGNAL)
        input_signal(run, event->data);
    else if (event->type == EV_CANCEL_REQUESTED)
        input_cancel(run);
    else if (event->type == EV_TOOL_RESULT)
        jobrun_on_tool_result(run, event);
    run->input_waits = run->input_waits || !taken;
    return taken;
}
