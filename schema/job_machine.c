/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/job_machine.h"

#include <string.h>

static const enum job_action transitions[JOB_STATES][JOB_COMMAND_COUNT] = {
#define X(state, command, action) [JOB_##state][JOB_CMD_##command] = JOB_DO_##action,
#include "schema/job_machine.def"
#undef X
};

enum job_action job_action(enum job_state state, enum job_command command)
{
    return transitions[state][command];
}

static void add(struct job_decision *d, enum event_type type)
{
    if (d->count < JOB_EVENTS_MAX)
        d->events[d->count++] = type;
}

/* ---- the guards, one for each action that is not an answer ------------------------------------------------------- */

static enum job_answer accept(const struct job *job, const struct job_input *in, struct job_decision *d)
{
    (void)job;
    (void)in;
    add(d, EV_SUBMITTED);
    add(d, EV_QUEUED);
    return JOB_OK;
}

static enum job_answer start(const struct job *job, const struct job_input *in, struct job_decision *d)
{
    (void)job;
    (void)in;
    add(d, EV_CLAIMED);
    return JOB_OK;
}

static enum job_answer again(const struct job *job, const struct job_input *in, struct job_decision *d)
{
    (void)d;
    return strcmp(job->entry, in->entry) == 0 && strcmp(job->worker, in->worker) == 0 ? JOB_DUP : JOB_FENCED;
}

static enum job_answer step(const struct job *job, const struct job_input *in, struct job_decision *d)
{
    if (in->attempt != job->attempt)
        return JOB_FENCED;
    if (in->n <= job->n)
        return JOB_DUP;
    if (job->state == JOB_terminal)
        return JOB_FENCED;
    if (in->n != job->n + 1)
        return JOB_CONFLICT;
    for (size_t i = 0; i < in->count; i++)
        add(d, in->drafts[i]);
    return JOB_OK;
}

static enum job_answer beat(const struct job *job, const struct job_input *in, struct job_decision *d)
{
    (void)d;
    return in->attempt == job->attempt && strcmp(in->entry, job->entry) == 0 ? JOB_OK : JOB_FENCED;
}

static uint64_t weight(const struct job_input *in)
{
    return in->size > 0 ? in->size : 1;
}

static enum job_answer input(const struct job *job, const struct job_input *in, struct job_decision *d)
{
    bool reserve = in->drafts[0] != EV_INPUT && in->drafts[0] != EV_TOOL_RESULT;
    if (job->inbox + weight(in) > JOB_INBOX_MAX + (reserve ? JOB_INBOX_RESERVE : 0))
        return JOB_FULL;
    add(d, in->drafts[0]);
    return JOB_OK;
}

static enum job_answer end(const struct job *job, const struct job_input *in, struct job_decision *d)
{
    (void)job;
    (void)in;
    add(d, EV_CANCELLED);
    return JOB_OK;
}

static enum job_answer request(const struct job *job, const struct job_input *in, struct job_decision *d)
{
    (void)in;
    if (job->cancel)
        return JOB_DUP;
    add(d, EV_CANCEL_REQUESTED);
    return JOB_OK;
}

/* An attempt without a result: what comes of the job. */
static void after_attempt(const struct job *job, const struct job_input *in, bool counts, bool released,
                          struct job_decision *d)
{
    if (job->cancel)
        add(d, EV_CANCELLED);
    else if (!job->retry && released)
        add(d, EV_FAILED);
    else if (job->fails + counts >= in->max_attempts)
        add(d, EV_DEAD);
    else
        add(d, EV_RETRIED);
}

static enum job_answer hand(const struct job *job, const struct job_input *in, struct job_decision *d)
{
    if (in->attempt != job->attempt)
        return JOB_FENCED;
    after_attempt(job, in, in->counts, in->released || job->released == job->attempt, d);
    return JOB_OK;
}

static enum job_answer take(const struct job *job, const struct job_input *in, struct job_decision *d)
{
    if (!in->pending || strcmp(in->entry, job->entry) != 0 || in->attempt != job->attempt ||
        in->hb != job->hb)
        return JOB_CONFLICT;
    add(d, EV_LEASE_LOST);
    after_attempt(job, in, true, job->released == job->attempt, d);
    return JOB_OK;
}

static enum job_answer back(const struct job *job, const struct job_input *in, struct job_decision *d)
{
    (void)job;
    (void)d;
    if (in->pending)
        return JOB_OK;
    return in->command == JOB_CMD_give ? JOB_DUP : JOB_CONFLICT;
}

static enum job_answer delete (const struct job *job, const struct job_input *in, struct job_decision *d) {
    (void)job; (void)d; return in->due ? JOB_OK : JOB_CONFLICT;
}

static enum job_answer lapse(const struct job *job, const struct job_input *in, struct job_decision *d)
{
    (void)job;
    if (!in->due)
        return JOB_CONFLICT;
    add(d, EV_FAILED);
    return JOB_OK;
}

typedef enum job_answer (*guard_fn)(const struct job *job, const struct job_input *in,
                                    struct job_decision *d);
static const guard_fn guards[] = {
    [JOB_DO_accept] = accept,   [JOB_DO_start] = start, [JOB_DO_again] = again, [JOB_DO_step] = step,
    [JOB_DO_over] = step,       [JOB_DO_beat] = beat,   [JOB_DO_input] = input, [JOB_DO_end] = end,
    [JOB_DO_request] = request, [JOB_DO_hand] = hand,   [JOB_DO_take] = take,   [JOB_DO_back] = back,
    [JOB_DO_delete] = delete,   [JOB_DO_lapse] = lapse,
};

static const enum job_answer answers[] = {
    [JOB_DO_missing] = JOB_MISSING,
    [JOB_DO_fenced] = JOB_FENCED,
    [JOB_DO_conflict] = JOB_CONFLICT,
    [JOB_DO_dup] = JOB_DUP,
};

void job_decide(const struct job *job, const struct job_input *in, struct job_decision *ret_decision)
{
    enum job_action action = job_action(job->state, in->command);
    struct job_decision d = {0};
    if (in->command == JOB_CMD_send && job->state != JOB_none && in->repeated)
        d.answer = JOB_DUP;
    else if (in->command == JOB_CMD_requeue && job->state != JOB_none && in->attempt != job->attempt)
        d.answer = JOB_FENCED;
    else if (in->command == JOB_CMD_give && !in->pending)
        d.answer = JOB_DUP; /* it is back already */
    else if (in->command == JOB_CMD_reap && action == JOB_DO_missing)
        d.answer = JOB_CONFLICT;
    else if (in->command == JOB_CMD_claim && job->state != JOB_running && !in->pending)
        d.answer = JOB_FENCED; /* the entry was given to another */
    else if (action <= JOB_DO_dup)
        d.answer = answers[action];
    else
        d.answer = guards[action](job, in, &d);
    *ret_decision = d;
}

void job_apply(struct job *job, enum event_type type)
{
    job->seq++;
    if (event_is_client(type))
        job->ins = job->seq;
    if (event_is_terminal(type)) {
        job->state = JOB_terminal;
        job->end = type;
    } else if (type == EV_SUBMITTED || type == EV_RETRIED) {
        job->state = JOB_queued;
    } else if (type == EV_CLAIMED) {
        job->state = JOB_running;
        job->attempt++;
        job->n = 0;
        job->hb = 0;
    } else if (type == EV_STARTED) {
        job->released = job->attempt;
    } else if (type == EV_CANCEL_REQUESTED) {
        job->cancel = true;
    }
}

static void keep(char *out, size_t size, const char *text)
{
    size_t len = strnlen(text, size - 1);
    memcpy(out, text, len);
    out[len] = '\0';
}

void job_note(struct job *job, const struct job_input *in)
{
    bool steps = in->command == JOB_CMD_append || in->command == JOB_CMD_finish;
    if (in->command == JOB_CMD_submit)
        job->retry = in->retry;
    if (in->command == JOB_CMD_claim) {
        keep(job->entry, sizeof job->entry, in->entry);
        keep(job->worker, sizeof job->worker, in->worker);
    }
    if (steps)
        job->n = in->n;
    if ((steps || in->command == JOB_CMD_heartbeat) && in->read >= job->ins)
        job->inbox = 0;
    job->hb += in->command == JOB_CMD_heartbeat;
    if (in->command == JOB_CMD_send)
        job->inbox += weight(in);
    if (in->command == JOB_CMD_cancel && job->state == JOB_running)
        job->inbox++;
    if (in->command == JOB_CMD_requeue)
        job->fails += in->counts;
    if (in->command == JOB_CMD_expire)
        *job = (struct job){0};
}
