/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a job: input files before its program is released, output files after its end. A job without any passes
   through here without doing anything. */
#include "worker/jobrun_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum { OWNER_TEXTS_MAX = 4096, FILES_JSON_MAX = 4 << 20 };

void jobrun_keep_owner(struct jobrun *run, const struct claimed_job *job)
{
    run->owner = (struct run_owner){.job = job->job, .session = job->session, .attempt = job->attempt};
    if (!run->runs->options.files)
        return;
    run->owner_texts = BUF_INIT(OWNER_TEXTS_MAX);
    buf_append_str(&run->owner_texts, job->tenant);
    buf_append_str(&run->owner_texts, job->user);
    if (buf_status(&run->owner_texts) != ERR_OK)
        abort(); /* names are shorter than that, and a few bytes there must be */
    const char *at = buf_cstr(&run->owner_texts);
    run->owner.tenant = (struct str){at, job->tenant.n};
    run->owner.user = (struct str){at + job->tenant.n, job->user.n};
}

/* ---- inputs ---- */

/* The client reads why on the program's standard error: any other answer would hide it (DECISIONS 1). */
static void cannot_begin(struct jobrun *run, enum reason reason, const char *why, struct str text)
{
    while (text.n > 0) {
        size_t n = text.n < FRAME_PAYLOAD_MAX ? text.n : FRAME_PAYLOAD_MAX;
        if (coalesce_add(&run->out, POD_STDERR, (struct str){text.p, n}, clock_mono_ns()) != ERR_OK)
            break;
        text = (struct str){text.p + n, text.n - n};
    }
    jobrun_refuse(run, reason, why);
}

static void on_looked(void *arg, enum reason reason, const char *why, struct str text)
{
    struct jobrun *run = arg;
    if (run->state != JR_LOOKING)
        return;
    if (why)
        cannot_begin(run, reason, why, text);
    else
        jobrun_take_pod(run);
}

static void on_loaded(void *arg, enum reason reason, const char *why, struct str text)
{
    struct jobrun *run = arg;
    if (run->state != JR_LOADING)
        return;
    run->loaded = !why;
    if (why)
        cannot_begin(run, reason, why, text);
    else
        jobrun_after_limits(run);
}

void jobrun_look(struct jobrun *run)
{
    struct errinfo info = {0};
    struct inputs_events events = {.looked = on_looked, .loaded = on_loaded, .arg = run};
    if (!run->request.files && !run->request.workspace) {
        jobrun_take_pod(run);
        return;
    }
    if (inputs_open(run->runs->options.files, &run->owner, run->request.files, run->request.workspace,
                    &events, &run->inputs, &info) != ERR_OK) {
        jobrun_refuse(run, REASON_BAD_REQUEST, info.text);
        return;
    }
    jobrun_set_state(run, JR_LOOKING);
    inputs_look(run->inputs);
}

bool jobrun_load(struct jobrun *run)
{
    if (!run->inputs || run->loaded)
        return false;
    jobrun_set_state(run, JR_LOADING);
    jobrun_set_deadline(run, LOADING_MAX_MS);
    inputs_load(run->inputs, jobrun_ops(run), run->pod->pod);
    return true;
}

/* ---- outputs ---- */

static void on_stored(void *arg, bool fenced)
{
    struct jobrun *run = arg;
    if (run->state != JR_COLLECTING)
        return;
    if (fenced)
        jobruns_fenced(run->runs, run->job, run->attempt);
    else
        jobrun_finish(run);
}

static bool open_outputs(struct jobrun *run)
{
    struct outputs_events events = {.stored = on_stored, .arg = run};
    return run->outputs || outputs_open(run->runs->options.files, &run->owner, run->inputs, &events,
                                        jobrun_ops(run), run->pod->pod, &run->outputs) == ERR_OK;
}

bool jobrun_collect(struct jobrun *run)
{
    bool some = run->facts.exited && (run->facts.exit.files || run->inputs);
    if (!some || !run->runs->options.files || !run->pod || !open_outputs(run))
        return false;
    jobrun_set_state(run, JR_COLLECTING);
    jobrun_set_deadline(run, COLLECTING_STALL_MS);
    if (run->pod_done || !run->facts.exit.files)
        outputs_end(run->outputs);
    else if (run->pod_lost)
        outputs_cut(run->outputs);
    return true;
}

void jobrun_on_file(struct jobrun *run, const struct pod_event *event)
{
    if ((run->state != JR_ENDING && run->state != JR_COLLECTING) || !run->facts.exit.files ||
        !run->runs->options.files || !open_outputs(run))
        return;
    if (outputs_take(run->outputs, event) == ERR_OK)
        return;
    log_warn("a pod gives its files against the protocol", F_JOB(run->job.text, run->attempt));
    run->pod_lost = true;
    if (run->state == JR_COLLECTING)
        jobrun_files_cut(run);
}

void jobrun_on_done(struct jobrun *run)
{
    run->pod_done = true;
    if (run->state != JR_COLLECTING)
        return;
    jobrun_drop_pod(run, false);
    outputs_end(run->outputs);
}

void jobrun_files_cut(struct jobrun *run)
{
    outputs_cut(run->outputs);
}

/* ---- telling ---- */

struct place {
    size_t at, len;
};

struct places {
    struct buf *json;
    struct place *list;
    size_t count, cap;
};

static void note_place(void *arg, struct str json)
{
    struct places *p = arg;
    if (p->count == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 64;
        struct place *more = realloc(p->list, cap * sizeof *more);
        if (!more)
            return;
        p->list = more;
        p->cap = cap;
    }
    p->list[p->count++] = (struct place){p->json->len, json.n};
    buf_append_str(p->json, json);
}

void jobrun_files_drafts(struct jobrun *run)
{
    enum { BEHIND = 3 };
    run->files_json = BUF_INIT(FILES_JSON_MAX);
    struct places places = {.json = &run->files_json};
    outputs_write(run->outputs, note_place, &places);
    struct event_draft *all = malloc((run->draft_count + places.count + BEHIND) * sizeof *all);
    if (all && buf_status(&run->files_json) == ERR_OK) {
        memcpy(all, run->drafts, run->draft_count * sizeof *all);
        for (size_t i = 0; i < places.count; i++)
            all[run->draft_count++] = (struct event_draft){
                .type = EV_FILE, .data = {run->files_json.data + places.list[i].at, places.list[i].len}};
        run->drafts = all;
    } else {
        log_error("a run's files cannot be told for want of memory", F_JOB(run->job.text, run->attempt));
        free(all);
    }
    free(places.list);
}

/* ---- the end ---- */

void jobrun_files_stop(struct jobrun *run)
{
    inputs_stop(run->inputs);
    outputs_free(run->outputs);
    run->outputs = NULL;
}

void jobrun_files_free(struct jobrun *run)
{
    jobrun_files_stop(run);
    inputs_free(run->inputs);
    if (run->drafts != run->draft_room)
        free(run->drafts);
    buf_free(&run->files_json);
    buf_free(&run->owner_texts);
}
