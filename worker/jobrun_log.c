/* SPDX-License-Identifier: Apache-2.0 */
/* The log's side of a job: append, finish, requeue; one of them in flight at a time, each sent again with the
   same number until it is answered. */
#include "worker/jobrun_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void on_flush(uv_timer_t *timer);

enum err jobrun_log_init(struct jobrun *run)
{
    coalesce_init(&run->out);
    coalesce_batch_init(&run->batch);
    buf_init(&run->started_json, 1024);
    buf_init(&run->usage_json, 1024);
    buf_init(&run->end_json, 8192);
    run->drafts = run->draft_room;
    run->flush.data = run;
    return uv_timer_init(run->runs->options.loop, &run->flush) == 0 ? ERR_OK : ERR_SYSTEM;
}

static void on_flush_closed(uv_handle_t *handle)
{
    struct jobrun *run = handle->data;
    assert(run->magic == JOBRUN_MAGIC);
    coalesce_free(&run->out);
    coalesce_batch_free(&run->batch);
    buf_free(&run->started_json);
    buf_free(&run->usage_json);
    buf_free(&run->end_json);
    jobrun_files_free(run);
    jobrun_compile_free(run);
    run_tools_free(run->tools);
    judge_free(&run->judge);
    run_request_free(&run->request);
    run_plan_free(&run->plan);
    jobrun_state_free(run);
    run->magic = 0;
    free(run);
}

void jobrun_over(struct jobrun *run)
{
    assert(run->state == JR_OVER);
    if (run->appending || run->flush_closed || (run->state_run && run->state_run->fetching))
        return;
    run->flush_closed = true;
    list_remove(&run->link);
    run->runs->count--;
    uv_close((uv_handle_t *)&run->flush, on_flush_closed);
    if (run->runs->options.changed)
        run->runs->options.changed(run->runs->options.arg);
}

/* ---- drafts ---- */

static void add_draft(struct jobrun *run, enum event_type type, const struct buf *json)
{
    run->drafts[run->draft_count++] = (struct event_draft){.type = type, .data = buf_str(json)};
}

static void add_started(struct jobrun *run)
{
    if (run->started_told)
        return;
    run->started_told = true;
    buf_reset(&run->started_json);
    buf_printf(&run->started_json, "{\"backend\":\"%s\",\"warm\":%s,\"queue_ms\":%" PRId64,
               run->pod ? pool_pod_ops(run->pod)->name : "",
               run->pod && !pool_pod_is(run->pod, "cold") ? "true" : "false", run->queue_ms);
    if (run->state_run && run->state_run->given)
        buf_printf(&run->started_json,
                   ",\"state_version\":%" PRIu64 ",\"state_size\":%" PRIu64 ",\"state_hash\":\"%s\"",
                   run->state_run->base, run->state_run->given_size, run->state_run->given_hash);
    int64_t created_ms;
    if (inputs_workspace(run->inputs, &created_ms))
        buf_printf(&run->started_json, ",\"workspace\":\"%s\"", created_ms > 0 ? "reused" : "new");
    buf_append_char(&run->started_json, '}');
    add_draft(run, EV_STARTED, &run->started_json);
}

static void begin_drafts(struct jobrun *run)
{
    coalesce_batch_reset(&run->batch);
    run->draft_count = 0;
    run->tries = 0;
}

static void add_output(struct jobrun *run)
{
    coalesce_take(&run->out, &run->batch, clock_mono_ns());
    run->draft_count += coalesce_drafts(&run->batch, run->drafts + run->draft_count);
}

/* ---- sending and its answers ---- */

static void on_answer(void *arg, enum queue_answer answer);

static void send_drafts(struct jobrun *run)
{
    const struct jobrun_queue *q = &run->runs->options.queue;
    int64_t cost = 0;
    run->appending = true;
    run->retry_ns = 0;
    run->sent_ns = clock_mono_ns();
    run->sent = run->state == JR_FINISHING   ? LOG_FINISH
                : run->state == JR_RETURNING ? LOG_REQUEUE
                                             : LOG_APPEND;
    switch (run->sent) {
    case LOG_FINISH:
        if (run->state_run && run->state_run->saved) {
            q->finish_state(q->arg, run->job, run->attempt, run->appends + 1, run->drafts, run->draft_count,
                            (uint32_t)((run->sent_ns - run->released_ns) / MS_NS), &run->state_run->change,
                            on_answer, run);
            return;
        }
        cost = run->released_ns ? (run->sent_ns - run->released_ns) / MS_NS : 0;
        q->finish(q->arg, run->job, run->attempt, run->appends + 1, run->drafts, run->draft_count,
                  (uint32_t)cost, on_answer, run);
        return;
    case LOG_REQUEUE:
        q->requeue(q->arg, run->job, run->attempt, str_of(reason_row(run->return_reason)->name),
                   run->released, on_answer, run);
        return;
    case LOG_APPEND:
        q->append(q->arg, run->job, run->attempt, run->appends + 1, run->drafts, run->draft_count, on_answer,
                  run);
        return;
    }
}

static enum metric_status metric_status(enum event_type end)
{
    static const unsigned char status[EV_COUNT] = {[EV_COMPLETED] = METRIC_COMPLETED,
                                                   [EV_TIMED_OUT] = METRIC_TIMED_OUT,
                                                   [EV_FAILED] = METRIC_FAILED,
                                                   [EV_CANCELLED] = METRIC_CANCELLED,
                                                   [EV_DEAD] = METRIC_DEAD};
    return (enum metric_status)status[end];
}

static void count_end(struct jobrun *run)
{
    struct metrics *m = run->runs->options.metrics;
    metrics_add(m, METRIC_JOBS_FINISHED, run->plan.lang, metric_status(run->outcome.type), 1);
    if (run->outcome.type == EV_FAILED)
        metrics_add(m, METRIC_JOBS_FAILED, run->outcome.reason, 0, 1);
    metrics_add(m, METRIC_OUTPUT_BYTES, 0, 0, run->facts.bytes[POD_STDOUT] + run->facts.bytes[POD_STDERR]);
    int64_t ns = clock_mono_ns() - run->begun_ns;
    metrics_observe_ns(m, METRIC_RUN_SECONDS, run->plan.lang, ns);
    log_debug("an attempt has ended", F_JOB(run->job.text, run->attempt),
              F_STR("end", event_type_name(run->outcome.type)), F_INT("ms", ns / 1000000));
}

static void set_over(struct jobrun *run)
{
    jobrun_drop_pod(run, false);
    jobrun_set_state(run, JR_OVER);
    jobrun_over(run);
}

static void on_leave(uv_timer_t *timer)
{
    struct jobrun *run = timer->data;
    if (run->state == JR_FINISHING)
        set_over(run);
}

/* The store writes its answer to us before the message to the client's api. What the end brings with it (the pod is taken down, the
   next one made) would take the processors from both, so it begins when that is out. */
static void leave_soon(struct jobrun *run)
{
    uv_timer_start(&run->flush, on_leave, LEAVE_AFTER_MS, 0);
}

static void try_again(struct jobrun *run)
{
    int64_t pause = (int64_t)LOG_RETRY_FIRST_MS << (run->tries < 6 ? run->tries : 6);
    run->tries++;
    metrics_add(run->runs->options.metrics, METRIC_APPEND_RETRIES, 0, 0, 1);
    run->retry_ns = clock_mono_ns() + (pause < LOG_RETRY_MAX_MS ? pause : LOG_RETRY_MAX_MS) * MS_NS;
}

static void on_append(struct jobrun *run)
{
    run->appends++;
    metrics_observe_ns(run->runs->options.metrics, METRIC_APPEND_SECONDS, 0, clock_mono_ns() - run->sent_ns);
    begin_drafts(run);
    if (run->state == JR_RETURNING)
        send_drafts(run);
    else if (run->complete)
        jobrun_finish(run);
    else if (run->state == JR_RECORDING)
        jobrun_release_program(run);
    else {
        jobrun_flush_soon(run);
        jobrun_resume(run);
    }
}

static void on_done(struct jobrun *run)
{
    switch (run->sent) {
    case LOG_APPEND:
        on_append(run);
        return;
    case LOG_FINISH:
        metrics_observe_ns(run->runs->options.metrics, METRIC_APPEND_SECONDS, 0,
                           clock_mono_ns() - run->sent_ns);
        count_end(run);
        leave_soon(run);
        return;
    case LOG_REQUEUE:
        metrics_add(run->runs->options.metrics, METRIC_JOBS_REQUEUED, 0, 0, 1);
        set_over(run);
        return;
    }
}

static void not_ours(struct jobrun *run, enum queue_answer answer)
{
    metrics_add(run->runs->options.metrics, METRIC_JOBS_FENCED, 0, 0, 1);
    log_info("the attempt is no longer ours", F_JOB(run->job.text, run->attempt), F_INT("answer", answer));
    set_over(run);
}

static void on_answer(void *arg, enum queue_answer answer)
{
    struct jobrun *run = arg;
    assert(run->magic == JOBRUN_MAGIC && run->appending);
    run->appending = false;
    if (run->state == JR_OVER) {
        jobrun_over(run);
        return;
    }
    switch (answer) {
    case QUEUE_OK:
    case QUEUE_DUP:
        on_done(run);
        return;
    case QUEUE_UNAVAILABLE:
    case QUEUE_FULL:
    case QUEUE_DAMAGED:
        try_again(run);
        return;
    case QUEUE_FENCED:
    case QUEUE_CONFLICT:
    case QUEUE_NOT_FOUND:
    case QUEUE_CLOSED:
        not_ours(run, answer);
        return;
    }
}

/* ---- when ---- */

bool jobrun_log_busy(const struct jobrun *run)
{
    return run->appending || run->retry_ns != 0;
}

void jobrun_record_started(struct jobrun *run)
{
    begin_drafts(run);
    add_started(run);
    send_drafts(run);
}

static int64_t until_started_ns(const struct jobrun *run, int64_t now_ns)
{
    if (run->started_told || run->state != JR_RUNNING)
        return -1;
    int64_t alone_ms = run->out.at_end ? STARTED_AT_END_MS : STARTED_ALONE_MS;
    int64_t due = run->released_ns + alone_ms * MS_NS;
    return due > now_ns ? due - now_ns : 0;
}

static int64_t until_due_ns(const struct jobrun *run, int64_t now_ns)
{
    int64_t output = coalesce_wait_ns(&run->out, now_ns);
    int64_t started = until_started_ns(run, now_ns);
    int64_t tools = run->tools ? run_tools_due_ns(run->tools, now_ns) : -1;
    if (output < 0 || (started >= 0 && started < output))
        output = started;
    return output < 0 || (tools >= 0 && tools < output) ? tools : output;
}

static void flush_now(struct jobrun *run)
{
    begin_drafts(run);
    add_started(run);
    add_output(run);
    if (run->tools)
        jobrun_tools_drafts(run);
    send_drafts(run);
    jobrun_resume(run);
}

void jobrun_flush_soon(struct jobrun *run)
{
    if (jobrun_log_busy(run))
        return;
    if (run->state != JR_RUNNING && run->state != JR_STARTING) /* the end takes along what there is */
        return;
    int64_t wait = until_due_ns(run, clock_mono_ns());
    if (wait == 0 && run->tools && jobrun_tools_diverged(run))
        return;
    if (wait == 0)
        flush_now(run);
    else if (wait > 0)
        uv_timer_start(&run->flush, on_flush, (uint64_t)((wait + MS_NS - 1) / MS_NS), 0);
}

static void on_flush(uv_timer_t *timer)
{
    jobrun_flush_soon(timer->data);
}

/* ---- the end ---- */

static void write_facts(struct jobrun *run)
{
    run->facts.bytes[POD_STDOUT] = run->out.total[POD_STDOUT];
    run->facts.bytes[POD_STDERR] = run->out.total[POD_STDERR];
    run->facts.judged = run->judge.on;
    run->facts.right = judge_right(&run->judge);
    run->facts.gaps = run->runs->options.gaps ? run->runs->options.gaps(run->runs->options.arg) : NULL;
    run->outcome = outcome_decide(&run->facts);
    buf_reset(&run->usage_json);
    buf_reset(&run->end_json);
    outcome_write_usage(&run->facts, &run->outcome, &run->usage_json);
    outcome_write(&run->facts, &run->outcome, &run->end_json);
}

void jobrun_finish(struct jobrun *run)
{
    run->complete = true; /* the answer of an append in flight comes back here */
    inputs_stop(run->inputs);
    if (jobrun_state_store(run) || jobrun_log_busy(run))
        return;
    if (coalesce_end(&run->out) != ERR_OK)
        log_error("output was lost for want of memory", F_JOB(run->job.text, run->attempt));
    begin_drafts(run);
    write_facts(run);
    if (run->retry && run->outcome.type == EV_FAILED && run->outcome.reason == REASON_POD_LOST) {
        jobrun_return(run,
                      REASON_POD_LOST); /* through no fault of the program: another attempt may go better */
        return;
    }
    if (run->released_ns)
        add_started(run);
    add_output(run);
    if (run->outputs)
        jobrun_files_drafts(run);
    if (run->released_ns)
        add_draft(run, EV_USAGE, &run->usage_json);
    run->draft_count += jobrun_state_end(run, &run->drafts[run->draft_count]);
    add_draft(run, run->outcome.type, &run->end_json);
    uv_timer_stop(&run->flush);
    jobrun_set_state(run, JR_FINISHING);
    run->deadline_ns = clock_mono_ns() + RELEASE_AFTER_MS * MS_NS;
    send_drafts(run);
}

void jobrun_return(struct jobrun *run, enum reason reason)
{
    pools_cancel(run->runs->options.pools, &run->wait);
    jobrun_files_stop(run);
    jobrun_drop_pod(run, false);
    run->return_reason = reason;
    uv_timer_stop(&run->flush);
    jobrun_set_state(run, JR_RETURNING);
    run->retry_ns = 0;
    if (!run->appending)
        send_drafts(run);
}

void jobrun_log_tick(struct jobrun *run, int64_t now_ns)
{
    if (run->appending || run->retry_ns == 0 || run->retry_ns > now_ns)
        return;
    send_drafts(run);
}
