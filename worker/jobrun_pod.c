/* SPDX-License-Identifier: Apache-2.0 */
/* What a job's pod says, and what becomes of the job then. */
#include "worker/jobrun_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>

void jobrun_resume(struct jobrun *run)
{
    if (!run->paused || !run->pod || coalesce_full(&run->out))
        return;
    run->paused = false;
    if (run->deadline_ns != 0) /* it could not be heard meanwhile */
        jobrun_set_deadline(run, jobrun_wall_ms(run));
    jobrun_ops(run)->pause(run->pod->pod, false);
}

static void pause_if_full(struct jobrun *run)
{
    if (run->paused || !coalesce_full(&run->out))
        return;
    run->paused = true;
    metrics_add(run->runs->options.metrics, METRIC_OUTPUT_PAUSED, 0, 0, 1);
    jobrun_ops(run)->pause(run->pod->pod, true);
}

static void on_output(struct jobrun *run, const struct pod_event *event)
{
    if (run->state != JR_RUNNING && run->state != JR_ENDING)
        return;
    jobrun_compile_output(run, event->stream, event->bytes);
    if (event->stream == POD_STDOUT)
        judge_feed(&run->judge, event->bytes);
    if (coalesce_add(&run->out, event->stream, event->bytes, clock_mono_ns()) != ERR_OK) {
        log_error("no memory for a program's output", F_JOB(run->job.text, run->attempt));
        jobrun_return(run, REASON_INTERNAL);
        return;
    }
    pause_if_full(run);
    jobrun_flush_soon(run);
}

static void on_limits(struct jobrun *run, bool ok)
{
    if (run->state != JR_LIMITING)
        return;
    if (ok)
        jobrun_after_limits(run);
    else
        jobrun_replace_pod(run, "its limits could not be set");
}

static void on_started(struct jobrun *run)
{
    if (run->state != JR_STARTING)
        return;
    if (run->state_run)
        buf_free(&run->state_run->raw); /* the pod has it, and no other will */
    jobrun_set_state(run, JR_RUNNING);
    jobrun_compile_started(run);
    jobrun_set_deadline(run, jobrun_wall_ms(run));
    jobrun_flush_soon(run);
}

void jobrun_ask_usage(struct jobrun *run)
{
    jobrun_set_state(run, JR_ENDING);
    run->facts.wall_ns = clock_mono_ns() - run->released_ns;
    jobrun_set_deadline(run, USAGE_GRACE_MS);
    if (!jobrun_ops(run)->usage || jobrun_ops(run)->usage(run->pod->pod) != ERR_OK)
        jobrun_finish(run);
}

static void on_exit_told(struct jobrun *run, const struct frame_exit *exit)
{
    run->facts.exited = true;
    run->facts.exit = *exit;
    if (run->state != JR_RUNNING && run->state != JR_STARTING)
        return;
    if (!exit->counted && jobrun_ops(run)->usage) {
        jobrun_ask_usage(run);
        return;
    }
    run->facts.used = exit->counted;
    run->facts.usage = (struct pod_usage){.cpu_ns = exit->pod_cpu_ns,
                                          .memory_peak_bytes = exit->pod_peak_bytes,
                                          .oom_kills = exit->pod_oom_kills};
    jobrun_set_state(run, JR_ENDING);
    if (!jobrun_collect(run))
        jobrun_finish(run);
}

static void on_usage(struct jobrun *run, const struct pod_event *event)
{
    if (run->state != JR_ENDING)
        return;
    run->facts.used = event->ok;
    run->facts.usage = event->usage;
    if (!jobrun_collect(run))
        jobrun_finish(run);
}

static void on_refused(struct jobrun *run, const char *why, bool dead)
{
    if (dead && run->state == JR_STARTING && run->facts.killed == PE_OWN) {
        jobrun_replace_pod(run, why);
        return;
    }
    if (run->state == JR_STARTING || run->state == JR_RUNNING)
        jobrun_set_state(run, JR_ENDING);
    if (run->state == JR_LOADING)
        jobrun_refuse(run, REASON_COULD_NOT_START, why);
    else if (run->state == JR_ENDING) {
        run->released_ns = 0; /* nothing of the user ran */
        jobrun_refuse(run, REASON_COULD_NOT_START, why);
    } else
        jobrun_replace_pod(run, why);
}

static void on_lost(struct jobrun *run, const struct pod_event *event)
{
    const char *why = event->text;
    run->pod_lost = run->facts.lost = true;
    run->facts.lost_reason = event->reason;
    switch (run->state) {
    case JR_LIMITING:
    case JR_LOADING:
    case JR_RECORDING:
        jobrun_replace_pod(run, why);
        return;
    case JR_COLLECTING:
        log_warn("a pod was lost while it gave its files", F_JOB(run->job.text, run->attempt),
                 F_STR("why", why));
        jobrun_files_cut(run);
        return;
    case JR_STARTING: /* nothing was heard of the program; without retry it may have run */
        if (run->retry && run->facts.killed == PE_OWN) {
            jobrun_replace_pod(run, why);
            return;
        }
        jobrun_ask_usage(run);
        return;
    case JR_RUNNING:
        log_warn("a pod was lost while its program ran", F_JOB(run->job.text, run->attempt),
                 F_STR("why", why));
        jobrun_ask_usage(run);
        return;
    case JR_NEW:
    case JR_LOOKING:
    case JR_FETCHING:
    case JR_WAITING:
    case JR_PARKED:
    case JR_ENDING:
    case JR_FINISHING:
    case JR_RETURNING:
    case JR_OVER:
    case JR_COUNT:
        return;
    }
}

void jobrun_on_pod(void *arg, const struct pod_event *event)
{
    struct jobrun *run = arg;
    assert(run->magic == JOBRUN_MAGIC && run->pod);
    switch (event->type) {
    case POD_LIMITS:
        on_limits(run, event->ok);
        return;
    case POD_STARTED:
        on_started(run);
        return;
    case POD_OUTPUT:
        on_output(run, event);
        return;
    case POD_STATE:
        jobrun_state_said(run, event->bytes);
        return;
    case POD_STAGE:
        run->facts.staged = true;
        run->facts.stage = event->exit;
        judge_restart(&run->judge);
        jobrun_compile_staged(run);
        return;
    case POD_COMPILED:
        jobrun_compile_piece(run, event->bytes, event->ok);
        return;
    case POD_EXIT:
        on_exit_told(run, &event->exit);
        return;
    case POD_REFUSED:
        on_refused(run, event->text, event->ok);
        return;
    case POD_USAGE:
        on_usage(run, event);
        return;
    case POD_LOST:
        on_lost(run, event);
        return;
    case POD_TOOL_CALL:
        jobrun_on_tool_call(run, event->bytes);
        return;
    case POD_ROOM:
        if (run->state == JR_LOADING)
            inputs_room(run->inputs);
        else
            jobrun_take_inputs(run);
        return;
    case POD_FILE:
    case POD_FILE_DATA:
    case POD_FILE_END:
    case POD_FILE_REFUSED:
        jobrun_on_file(run, event);
        return;
    case POD_DONE:
        jobrun_on_done(run);
        return;
    case POD_READY:
    case POD_WAITING:
    case POD_GONE:
        return;
    }
}
