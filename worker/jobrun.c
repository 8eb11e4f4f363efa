/* SPDX-License-Identifier: Apache-2.0 */
/* A job from its beginning to its end: which state, which pod, which deadline. */
#include "worker/jobrun_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "worker/pool_plan.h"
#include "worker/spawner/kinds.h"
#include "json/json.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- states ---- */

#define TO(state) (1u << JR_##state)
#define ANY_END   (TO(RETURNING) | TO(OVER))
static const struct {
    const char *name;
    unsigned next;
} states[JR_COUNT] = {
    [JR_NEW] = {"new", TO(FETCHING) | TO(LOOKING) | TO(WAITING) | TO(FINISHING) | ANY_END},
    [JR_FETCHING] = {"fetching", TO(LOOKING) | TO(WAITING) | TO(FINISHING) | ANY_END},
    [JR_LOOKING] = {"looking", TO(WAITING) | TO(FINISHING) | ANY_END},
    [JR_WAITING] = {"waiting", TO(LIMITING) | TO(LOADING) | TO(RECORDING) | TO(STARTING) | TO(WAITING) |
                                   TO(FINISHING) | ANY_END},
    [JR_LIMITING] = {"limiting",
                     TO(LOADING) | TO(RECORDING) | TO(STARTING) | TO(WAITING) | TO(FINISHING) | ANY_END},
    [JR_LOADING] = {"loading", TO(RECORDING) | TO(STARTING) | TO(WAITING) | TO(FINISHING) | ANY_END},
    [JR_RECORDING] = {"recording", TO(STARTING) | TO(WAITING) | TO(FINISHING) | ANY_END},
    [JR_STARTING] = {"starting", TO(RUNNING) | TO(WAITING) | TO(ENDING) | TO(FINISHING) | ANY_END},
    [JR_RUNNING] = {"running", TO(PARKED) | TO(ENDING) | TO(FINISHING) | ANY_END},
    [JR_PARKED] = {"parked", TO(FINISHING) | ANY_END},
    [JR_ENDING] = {"ending", TO(COLLECTING) | TO(FINISHING) | ANY_END},
    [JR_COLLECTING] = {"collecting", TO(FINISHING) | ANY_END},
    [JR_FINISHING] = {"finishing", ANY_END},
    [JR_RETURNING] = {"returning", TO(RETURNING) | TO(OVER)},
    [JR_OVER] = {"over", 0},
};
#undef ANY_END
#undef TO

void jobrun_set_state(struct jobrun *run, enum jobrun_state to)
{
    if (!(states[run->state].next & 1u << to)) {
        log_error("a job may not change its state so", F_JOB(run->job.text, run->attempt),
                  F_STR("from", states[run->state].name), F_STR("to", states[to].name));
        abort();
    }
    run->state = to;
    run->deadline_ns = 0;
    if (to >= JR_RUNNING)
        jobrun_take_inputs(run);
}

void jobrun_set_deadline(struct jobrun *run, int64_t ms)
{
    run->deadline_ns = clock_mono_ns() + ms * MS_NS;
}

/* When the pod's own clock must have ended the program. */
int64_t jobrun_wall_ms(const struct jobrun *run)
{
    int64_t saving = run->state_run ? run->runs->options.state.time_ms + WALL_GRACE_MS : 0;
    return (int64_t)run->request.limits.wall_ms + WALL_GRACE_MS + saving;
}

/* ---- the pod ---- */

void jobrun_drop_pod(struct jobrun *run, bool dead)
{
    if (!run->pod)
        return;
    struct pool_pod *pod = run->pod;
    run->pod = NULL;
    run->paused = false;
    pool_pod_release(pod, dead);
}

const struct pod_backend_ops *jobrun_ops(const struct jobrun *run)
{
    return pool_pod_ops(run->pod);
}

void jobrun_refuse(struct jobrun *run, enum reason reason, const char *why)
{
    run->facts.refused_reason = reason;
    snprintf(run->refused, sizeof run->refused, "%s", why);
    run->facts.refused = run->refused;
    jobrun_finish(run);
}

void jobrun_replace_pod(struct jobrun *run, const char *why)
{
    /* Only this of a pod's reasons concerns who made the images, and would be hidden behind the general one. */
    bool lied = run->facts.lost && run->facts.lost_reason == REASON_POD_PROTOCOL;
    log_warn("a claimed pod was dead and is replaced", F_JOB(run->job.text, run->attempt), F_STR("why", why));
    metrics_add(run->runs->options.metrics, METRIC_PODS_REPLACED, 0, 0, 1);
    run->released = false;
    run->released_ns = 0;
    run->loaded = run->pod_lost = run->facts.lost = false;
    jobrun_drop_pod(run, true);
    if (run->pods_tried >= PODS_PER_JOB)
        jobrun_return(run, lied ? REASON_POD_PROTOCOL : REASON_NO_POD);
    else
        jobrun_take_pod(run);
}

static struct pod_limits wanted_limits(const struct jobrun *run)
{
    struct pod_limits limits = run->runs->options.pod_limits;
    limits.memory_bytes = run->request.limits.memory_bytes;
    limits.pids = run->request.limits.pids;
    limits.cpu_millis = run->request.limits.cpu_quota / 100;
    return limits;
}

static bool same_limits(const struct pod_limits *a, const struct pod_limits *b)
{
    return a->memory_bytes == b->memory_bytes && a->pids == b->pids && a->cpu_millis == b->cpu_millis;
}

void jobrun_release_program(struct jobrun *run)
{
    struct pod_run pod_run = {
        .spec = buf_str(&run->plan.spec),
        .stdin_bytes = buf_str(&run->request.stdin_bytes),
        .stdin_eof = !run->request.stdin_open || run->early_eof,
        .collect = buf_str(&run->plan.collect),
        .compiled = jobrun_compile_program(run),
    };
    if (run->state_run)
        pod_run.state = jobrun_state_release(run, &pod_run.spec);
    jobrun_set_state(run, JR_STARTING);
    run->released_ns = clock_mono_ns();
    enum err e = jobrun_ops(run)->run(run->pod->pod, &pod_run);
    if (e != ERR_OK) {
        jobrun_replace_pod(run, err_text(e));
        return;
    }
    run->released = true;
    pool_pod_running(run->pod);
    jobrun_set_deadline(run, jobrun_wall_ms(run));
    jobrun_send_early_inputs(run);
}

void jobrun_after_limits(struct jobrun *run)
{
    if (jobrun_load(run))
        return;
    if (run->retry || (run->started_told && !jobrun_log_busy(run))) {
        jobrun_release_program(run);
        return;
    }
    jobrun_set_state(run, JR_RECORDING);
    if (!run->started_told)
        jobrun_record_started(run);
}

static void got_pod(struct jobrun *run, struct pool_pod *pod)
{
    if (pool_pod_is_fallback(pod, run->plan.kind))
        metrics_add(run->runs->options.metrics, METRIC_POOL_FALLBACKS, run->plan.lang, 0, 1);
    run->pod = pod;
    run->pods_tried++;
    pool_pod_hold(pod, jobrun_on_pod, run);
    struct pod_limits limits = wanted_limits(run);
    if (!jobrun_ops(run)->limits || same_limits(&limits, &run->runs->options.pod_limits)) {
        jobrun_after_limits(run);
        return;
    }
    jobrun_set_state(run, JR_LIMITING);
    jobrun_set_deadline(run, USAGE_GRACE_MS);
    if (jobrun_ops(run)->limits(pod->pod, &limits) != ERR_OK)
        jobrun_replace_pod(run, "the spawner takes no request");
}

static void on_got(void *arg, struct pool_pod *pod, const char *why)
{
    struct jobrun *run = arg;
    const struct jobruns_options *options = &run->runs->options;
    metrics_observe_ns(options->metrics, METRIC_POD_WAIT_SECONDS, run->plan.lang,
                       clock_mono_ns() - run->wait.since_ns);
    if (pod) {
        got_pod(run, pod);
        return;
    }
    if (run->state_run && run->wait.never && !run->state_run->given) {
        run->state_run->any_pod = true;
        jobrun_take_pod(run);
        return;
    }
    log_warn("no pod can be had", F_JOB(run->job.text, run->attempt), F_STR("why", why),
             F_STR("reason", reason_row(run->wait.reason)->name));
    if (options->elsewhere && run->attempt < JOBRUN_ATTEMPTS_MAX &&
        options->elsewhere(options->arg, run->plan.kind, run->attempt))
        jobrun_return(run, REASON_NOT_HERE);
    else if (run->wait.reason == REASON_NO_POD) /* another worker may have one */
        jobrun_return(run, REASON_NO_POD);
    else
        jobrun_refuse(run, run->wait.reason, reason_row(run->wait.reason)->text);
}

void jobrun_take_pod(struct jobrun *run)
{
    jobrun_compile_look(run);
    jobrun_set_state(run, JR_WAITING);
    run->wait = (struct pool_wait){
        .got = on_got, .arg = run, .never = jobrun_state_never(run), .reason = REASON_NO_POD};
    struct pool_pod *pod = pools_take(run->runs->options.pools, run->plan.kind, &run->wait);
    metrics_add(run->runs->options.metrics, pod ? METRIC_POOL_HITS : METRIC_POOL_MISSES, run->plan.lang, 0,
                1);
    if (pod)
        got_pod(run, pod);
}

struct jobrun *jobrun_find(struct jobruns *runs, struct id job, uint32_t attempt)
{
    list_each(run, &runs->runs, struct jobrun,
              link) if (run->attempt == attempt && memcmp(run->job.text, job.text, ID_LEN) == 0) return run;
    return NULL;
}

void jobruns_fenced(struct jobruns *runs, struct id job, uint32_t attempt)
{
    struct jobrun *run = jobrun_find(runs, job, attempt);
    if (!run || run->state == JR_OVER)
        return;
    log_warn("fenced: another attempt owns the job", F_JOB(job.text, attempt));
    metrics_add(runs->options.metrics, METRIC_JOBS_FENCED, 0, 0, 1);
    pools_cancel(runs->options.pools, &run->wait);
    jobrun_files_stop(run);
    jobrun_drop_pod(run, false);
    jobrun_set_state(run, JR_OVER);
    jobrun_over(run);
}

/* ---- beginning ---- */

static void plan_collect(struct jobrun *run, const struct file_services *files)
{
    bool all = run->request.workspace;
    struct frame_collect bounds = {.max_files = all ? files->max_workspace_files : files->max_outputs,
                                   .max_file_bytes = files->max_file_bytes,
                                   .max_bytes = all ? files->max_workspace_bytes : files->max_total_bytes,
                                   .all = all};
    run_plan_collect(&run->plan, &bounds);
}

/* An interpreter that was sized when it started serves the runs that it was sized for. */
static void plan_size(struct jobrun *run)
{
    const struct language_row *lang = language_row(run->plan.lang);
    uint64_t usual = run->runs->options.pod_limits.memory_bytes * language_memory_percent(lang) / 100;
    if (lang->sized && run->request.limits.memory_bytes < usual)
        run->plan.kind = pod_kind_row(KIND_COLD)->name;
}

static enum err read_job(struct jobrun *run, const struct claimed_job *job, struct errinfo *info)
{
    enum err e = run_request_parse(job->request, &run->request, info);
    if (e != ERR_OK)
        return e;
    const struct file_services *files = run->runs->options.files;
    if ((run->request.files || run->request.workspace) && !files)
        return errinfo_set(info, ERR_INVALID, 0, "files: this worker has no object store");
    run->out.at_end = run->request.at_end;
    if (run->request.judged &&
        judge_begin(&run->judge, run->request.compare, run->request.expected) != ERR_OK)
        return errinfo_set(info, ERR_NOMEM, 0, "expected_output: no memory for it");
    bool open = run->request.stdin_open || run->request.stdin_bytes.len > POD_STDIN_FIRST;
    e = run_plan_build(&run->request, open, &run->plan, info);
    if (e == ERR_OK)
        plan_size(run);
    if (e == ERR_OK && run->runs->options.pods_by_language)
        run->plan.kind = pool_plan_image_kind(run->plan.lang, run->plan.kind);
    if (e == ERR_OK && run->request.tools)
        e = run_tools_open(job->last_input, &run->tools);
    if (e == ERR_OK && files)
        plan_collect(run, files);
    return e;
}

/* An api that knew would have refused it: it is for another worker, or waits until there is one. */
static void no_toolchain(struct jobrun *run)
{
    log_warn("a job's language is not installed here, it is handed back", F_JOB(run->job.text, run->attempt),
             F_STR("missing", run->runs->options.missing[run->plan.lang]));
    jobrun_return(run, REASON_NO_TOOLCHAIN);
}

void jobruns_start(struct jobruns *runs, const struct claimed_job *job)
{
    struct jobrun *run = calloc(1, sizeof *run);
    if (!run) {
        log_limited(LOG_ERROR, "no memory for a job; its lease will lapse",
                    F_JOB(job->job.text, job->attempt));
        return;
    }
    run->magic = JOBRUN_MAGIC;
    run->runs = runs;
    run->job = job->job;
    run->attempt = job->attempt;
    jobrun_keep_owner(run, job);
    run->retry = job->retry;
    run->begun_ns = clock_mono_ns();
    run->queue_ms = job->now_ms > job->created_ms ? job->now_ms - job->created_ms : 0;
    run->plan.lang = LANG_COUNT;
    if (jobrun_log_init(run) != ERR_OK)
        abort(); /* libuv's timers cannot fail */
    list_append(&runs->runs, &run->link);
    runs->count++;
    metrics_add(runs->options.metrics, METRIC_JOBS_CLAIMED, 0, 0, 1);
    metrics_observe_ns(runs->options.metrics, METRIC_QUEUE_SECONDS, 0, run->queue_ms * MS_NS);
    log_debug("an attempt begins", F_JOB(run->job.text, run->attempt), F_INT("queue_ms", run->queue_ms));
    struct errinfo info = {0};
    enum err e = read_job(run, job, &info);
    if (e == ERR_OK && run->request.state != RUN_STATE_NONE)
        e = jobrun_state_open(run, job);
    if (e != ERR_OK)
        jobrun_refuse(run, REASON_BAD_REQUEST, info.text);
    else if (runs->options.missing && runs->options.missing[run->plan.lang])
        no_toolchain(run);
    else if (run->request.state == RUN_STATE_SESSION)
        jobrun_state_fetch(run, job->state);
    else
        jobrun_look(run);
}

/* ---- the whole ---- */

static void on_deadline(struct jobrun *run)
{
    run->deadline_ns = 0;
    switch (run->state) {
    case JR_LIMITING:
        jobrun_replace_pod(run, "no answer about its limits");
        return;
    case JR_FETCHING:
        jobrun_state_ask(run);
        return;
    case JR_LOADING:
        jobrun_refuse(run, REASON_INPUT_UNAVAILABLE, reason_row(REASON_INPUT_UNAVAILABLE)->text);
        return;
    case JR_COLLECTING:
        if (outputs_moved(run->outputs))
            jobrun_set_deadline(run, COLLECTING_STALL_MS);
        else
            jobrun_files_cut(run);
        return;
    case JR_STARTING:
    case JR_RUNNING:
        if (run->paused) {
            jobrun_set_deadline(run, WALL_GRACE_MS);
            return;
        }
        if (run->facts.killed == PE_OWN) {
            jobrun_kill(run, run_tools_waiting(run->tools) ? PE_TOOLS : PE_WALL);
            return;
        }
        jobrun_ask_usage(run); /* it does not answer a KILL: the release destroys it */
        return;
    case JR_PARKED:
        run->facts.killed = PE_TOOLS;
        jobrun_finish(run);
        return;
    case JR_ENDING:
        if (!jobrun_collect(run))
            jobrun_finish(run);
        return;
    case JR_FINISHING:
        jobrun_drop_pod(run, false);
        return;
    case JR_NEW:
    case JR_LOOKING:
    case JR_WAITING:
    case JR_RECORDING:
    case JR_RETURNING:
    case JR_OVER:
    case JR_COUNT:
        return;
    }
}

void jobruns_tick(struct jobruns *runs)
{
    int64_t now = clock_mono_ns();
    list_each(run, &runs->runs, struct jobrun, link)
    {
        jobrun_log_tick(run, now);
        if (run->deadline_ns != 0 && run->deadline_ns <= now)
            on_deadline(run);
    }
}

void jobruns_hand_back(struct jobruns *runs, enum reason reason)
{
    list_each(run, &runs->runs, struct jobrun, link) if (!run->complete && run->state != JR_RETURNING &&
                                                         run->state != JR_OVER) jobrun_return(run, reason);
}

enum err jobruns_open(const struct jobruns_options *options, struct jobruns **ret_runs)
{
    struct jobruns *runs = calloc(1, sizeof *runs);
    if (!runs)
        return ERR_NOMEM;
    runs->options = *options;
    list_init(&runs->runs);
    *ret_runs = runs;
    return ERR_OK;
}

void jobruns_free(struct jobruns *runs)
{
    if (!runs)
        return;
    assert(runs->count == 0);
    free(runs);
}

size_t jobruns_count(const struct jobruns *runs)
{
    return runs->count;
}

size_t jobruns_waiting(const struct jobruns *runs)
{
    size_t count = 0;
    list_each(run, &runs->runs, struct jobrun, link) count += run_tools_waiting(run->tools);
    return count;
}
