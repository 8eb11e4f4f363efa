/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a run's session: fetched and checked before its pod is taken, and made a new version of by its finish. */
#include "worker/jobrun_internal.h"
#include "worker/spawner/kinds.h"
#include "worker/spec.h"
#include "worker/state_script.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    EVENT_MAX = 512 * 1024,
    AWAY_AGAIN_MS = 500, /* a state that cannot be read now is asked for so often ... */
    AWAY_PATIENCE_MS =
        20 * 1000, /* ... and so long: nothing of the run has begun, so waiting loses nothing */
};

/* A large blob is unpacked beside the loop. */
struct state_unpacking {
    uv_work_t work;
    struct jobrun *run; /* NULL: it went meanwhile */
    struct buf blob, raw;
    enum err e;
};

enum err jobrun_state_open(struct jobrun *run, const struct claimed_job *job)
{
    struct run_state *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    run->state_run = s;
    s->session = job->session;
    s->tenant = BUF_INIT(4096);
    s->user = BUF_INIT(4096);
    buf_append_str(&s->tenant, job->tenant);
    buf_append_str(&s->user, job->user);
    s->raw = BUF_INIT((size_t)run->runs->options.state.max_bytes);
    s->json = BUF_INIT(EVENT_MAX);
    s->place = BUF_INIT(OBJECT_KEY_MAX);
    s->seal_text = BUF_INIT(STATE_SEAL_TEXT_MAX);
    state_stream_init(&s->stream, (size_t)run->runs->options.state.max_bytes);
    return ERR_OK;
}

void jobrun_state_free(struct jobrun *run)
{
    struct run_state *s = run->state_run;
    if (s == NULL)
        return;
    state_load_cancel(s->load);
    if (s->unpacking != NULL)
        s->unpacking->run = NULL;
    if (s->op != NULL)
        object_op_cancel(s->op);
    state_stream_free(&s->stream);
    struct buf *all[] = {&s->place, &s->tenant, &s->user, &s->raw, &s->json, &s->seal_text, &s->blob};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        buf_free(all[i]);
    free(s);
    run->state_run = NULL;
}

static struct state_scope scope_of(const struct run_state *s, uint64_t version)
{
    return (struct state_scope){
        .tenant = buf_str(&s->tenant), .session = str_of(s->session.text), .version = version};
}

/* ---- before the program ---- */

static void refuse(struct jobrun *run, enum reason reason, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void refuse(struct jobrun *run, enum reason reason, const char *fmt, ...)
{
    char why[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    jobrun_refuse(run, reason, why);
}

static void refuse_state(struct jobrun *run, const char *why)
{
    log_warn("a stored state is refused", F_JOB(run->job.text, run->attempt), F_STR("why", why));
    metrics_add(run->runs->options.metrics, METRIC_STATES_REFUSED, 0, 0, 1);
    refuse(run, REASON_STATE_INVALID, "Version %" PRIu64 ": %s.", run->state_run->base, why);
}

static void refuse_damaged(struct jobrun *run)
{
    log_warn("a session's keys are damaged", F_JOB(run->job.text, run->attempt));
    metrics_add(run->runs->options.metrics, METRIC_STATES_REFUSED, 0, 0, 1);
    jobrun_refuse(run, REASON_STATE_INVALID,
                  "The store has something else where the session's state should be.");
}

/* Handing the job back would only send it round: the store is away for every worker, and each round counts against it. */
static void wait_for_store(struct jobrun *run)
{
    struct run_state *s = run->state_run;
    int64_t now = clock_mono_ns();
    if (s->away_ns == 0) {
        s->away_ns = now;
        log_limited(LOG_WARN, "a session's state cannot be read now, its run waits",
                    F_JOB(run->job.text, run->attempt));
    }
    if (now - s->away_ns < AWAY_PATIENCE_MS * MS_NS)
        jobrun_set_deadline(run, AWAY_AGAIN_MS);
    else
        jobrun_refuse(run, REASON_STATE_UNAVAILABLE, reason_row(REASON_STATE_UNAVAILABLE)->text);
}

/* The raw bytes of the sealed blob go to the pod. */
static void take_raw(struct jobrun *run, enum err e)
{
    struct run_state *s = run->state_run;
    if (e != ERR_OK) {
        refuse_state(run, e == ERR_FULL ? "it is larger than STATE_MAX_SIZE_MB"
                                        : "it is no state of a known format");
        return;
    }
    s->given = true;
    s->given_size = s->seal.size;
    sha256_hex(&s->seal.hash, s->given_hash);
    jobrun_look(run);
}

static void unpack(uv_work_t *work)
{
    struct state_unpacking *u = work->data;
    u->e = state_unpack(buf_str(&u->blob), &u->raw);
}

static void unpacked(uv_work_t *work, int status)
{
    struct state_unpacking *u = work->data;
    struct jobrun *run = u->run;
    (void)status; /* nobody cancels it */
    if (run != NULL) {
        run->state_run->unpacking = NULL;
        run->state_run->raw = u->raw;
        u->raw = BUF_INIT(0);
    }
    enum err e = u->e;
    buf_free(&u->blob);
    buf_free(&u->raw);
    free(u);
    if (run != NULL && run->state == JR_FETCHING) /* else cancelled, or handed back */
        take_raw(run, e);
}

static void unpack_aside(struct jobrun *run, struct buf *blob)
{
    struct run_state *s = run->state_run;
    struct state_unpacking *u = calloc(1, sizeof *u);
    if (u == NULL) {
        take_raw(run, state_unpack(buf_str(blob), &s->raw));
        return;
    }
    *u = (struct state_unpacking){.run = run, .blob = *blob, .raw = BUF_INIT(s->raw.max)};
    *blob = BUF_INIT(0);
    u->work.data = u;
    s->unpacking = u;
    if (uv_queue_work(run->runs->options.loop, &u->work, unpack, unpacked) != 0)
        abort(); /* only a missing function is refused */
}

static void on_object(void *arg, enum err e, struct buf *blob)
{
    struct jobrun *run = arg;
    run->state_run->load = NULL;
    if (run->state != JR_FETCHING)
        return; /* cancelled, or handed back */
    if (e == ERR_OK)
        unpack_aside(run, blob);
    else if (e == ERR_NOT_FOUND || e == ERR_CORRUPT)
        refuse_state(run, e == ERR_CORRUPT ? "its object is damaged" : "its object is gone");
    else
        wait_for_store(run);
}

static void take_view(struct jobrun *run, const struct state_view *view)
{
    struct run_state *s = run->state_run;
    int64_t wanted = run->request.if_state_version;
    s->base = view->present;
    if (wanted >= 0 && (uint64_t)wanted != s->base) {
        s->unwanted = true;
        refuse(run, REASON_STATE_CONFLICT, "The session's state has version %" PRIu64 ".", s->base);
        return;
    }
    if (!view->found) {
        jobrun_look(run);
        return;
    }
    const struct jobruns_options *o = &run->runs->options;
    const char *why = state_open(o->state.keys, buf_str(&s->tenant), s->session, view, &s->seal);
    if (why != NULL) {
        refuse_state(run, why);
    } else if (!state_is_object(view)) {
        take_raw(run, state_unpack(view->blob, &s->raw));
    } else {
        size_t most = (size_t)o->state.max_bytes + (size_t)o->state.max_bytes / 64 + 128 * 1024;
        s->load = state_load(o->state.store, view->of.place, &s->seal, most, on_object, run);
        if (s->load == NULL)
            wait_for_store(run);
    }
}

static void on_view(void *arg, enum queue_answer answer, const struct state_view *view)
{
    struct jobrun *run = arg;
    struct run_state *s = run->state_run;
    assert(run->magic == JOBRUN_MAGIC && s->fetching);
    s->fetching = false;
    if (run->state == JR_OVER) {
        jobrun_over(run);
        return;
    }
    if (run->state != JR_FETCHING)
        return; /* cancelled, or handed back */
    if (answer == QUEUE_OK) {
        take_view(run, view);
    } else if (answer == QUEUE_NOT_FOUND) {
        s->foreign = true; /* runs with nothing, and saves nothing */
        jobrun_look(run);
    } else if (answer == QUEUE_DAMAGED) {
        refuse_damaged(run);
    } else {
        wait_for_store(run);
    }
}

void jobrun_state_ask(struct jobrun *run)
{
    struct run_state *s = run->state_run;
    const struct jobrun_queue *q = &run->runs->options.queue;
    struct session_owner owner = {.tenant = buf_str(&s->tenant), .user = buf_str(&s->user)};
    s->fetching = true;
    q->state_read(q->arg, owner, s->session, on_view, run);
}

void jobrun_state_fetch(struct jobrun *run, const struct state_view *told)
{
    jobrun_set_state(run, JR_FETCHING);
    if (told != NULL)
        take_view(run, told);
    else
        jobrun_state_ask(run);
}

const char *jobrun_state_never(const struct jobrun *run)
{
    bool asked = run->state_run != NULL && !run->state_run->any_pod;
    bool executed = language_row(run->plan.lang)->state == STATE_ASKED; /* it reads the state itself */
    return asked && !executed ? pod_kind_row(KIND_COLD)->name : NULL;
}

struct str jobrun_state_release(struct jobrun *run, struct str *ret_spec)
{
    struct run_state *s = run->state_run;
    const struct jobruns_state *options = &run->runs->options.state;
    struct buf *spec = &run->plan.spec;
    if (!s->specified && !s->any_pod) {
        s->specified = true;
        spec_put_u64(spec, SPEC_STATE_MAX, (uint64_t)options->max_bytes);
        spec_put_u64(spec, SPEC_STATE_SIZE, s->raw.len);
        spec_put_u64(spec, SPEC_STATE_MS, (uint64_t)options->time_ms);
        spec_put_u64(spec, SPEC_STATE_ON_ERROR, options->on_error);
        state_script_put(&run->plan, run->request.env, (uint64_t)options->max_bytes, options->on_error);
    }
    *ret_spec = buf_str(spec);
    return buf_str(&s->raw);
}

/* ---- after it ---- */

void jobrun_state_said(struct jobrun *run, struct str bytes)
{
    if (run->state_run == NULL)
        return; /* the pod's own invention */
    run->state_run->heard = true;
    state_stream_add(&run->state_run->stream, bytes);
}

static void write_warnings(struct run_state *s)
{
    buf_append_cstr(&s->json, ",\"warnings\":[");
    buf_append_str(&s->json, buf_str(&s->stream.warnings));
    buf_append_cstr(&s->json, "]}");
}

static enum event_type keep_old(struct run_state *s, const char *reason)
{
    buf_printf(&s->json, "{\"version\":%" PRIu64 ",\"reason\":\"%s\"", s->base, reason);
    write_warnings(s);
    return EV_STATE_KEPT;
}

static enum event_type seal(struct jobrun *run, const struct sha256 *hash)
{
    struct run_state *s = run->state_run;
    s->blob_hash = *hash;
    const struct jobruns_state *options = &run->runs->options.state;
    struct state_scope scope = scope_of(s, s->base + 1);
    struct state_seal seal = state_seal_make(options->keys, &scope, hash, s->blob.len);
    sha256_hex(hash, s->hash);
    state_seal_write(&seal, &s->seal_text);
    s->change = (struct state_change){
        .owner = {.tenant = buf_str(&s->tenant), .user = buf_str(&s->user)},
        .session = s->session,
        .base = s->base,
        .place = STR("-"),
        .seal = buf_str(&s->seal_text),
        .blob = buf_str(&s->blob),
        .hash = str_of(s->hash),
        .size = s->blob.len,
        .keep = options->keep,
        .ttl_ms = options->ttl_ms,
    };
    s->saved = true;
    buf_printf(&s->json, "{\"version\":%" PRIu64 ",\"base\":%" PRIu64 ",\"size\":%zu,\"hash\":\"%s\"",
               s->base + 1, s->base, s->blob.len, s->hash);
    write_warnings(s);
    metrics_add(run->runs->options.metrics, METRIC_STATES_SAVED, 0, 0, 1);
    metrics_add(run->runs->options.metrics, METRIC_STATE_BYTES, 0, 0, s->blob.len);
    return EV_STATE_SAVED;
}

static enum event_type decide(struct jobrun *run)
{
    struct run_state *s = run->state_run;
    struct sha256 hash;
    if (s->foreign) {
        state_stream_warn(&s->stream, STR("*"), STR("the session is gone"));
        return keep_old(s, "session_gone");
    }
    if (s->any_pod) {
        state_stream_warn(&s->stream, STR("*"),
                          STR("no warm interpreter could be made, and only such a one saves"));
        return keep_old(s, "not_saved");
    }
    if (state_stream_take(&s->stream, &s->blob, &hash) == ERR_OK)
        return seal(run, &hash);
    if (s->stream.broken != NULL)
        state_stream_warn(&s->stream, STR("*"), str_of(s->stream.broken));
    else if (!s->stream.ended)
        state_stream_warn(&s->stream, STR("*"), STR("the program was killed while its state was saved"));
    return keep_old(s, "not_saved");
}

static void on_stored(void *arg, const struct object_result *result)
{
    struct jobrun *run = arg;
    struct run_state *s = run->state_run;
    s->op = NULL;
    s->storing = false;
    if (result->e != ERR_OK) {
        log_warn("a state could not be stored", F_JOB(run->job.text, run->attempt),
                 F_STR("why", result->why));
        s->saved = false;
        buf_reset(&s->json);
        state_stream_warn(&s->stream, STR("*"), STR("the object store took no state at present"));
        s->event = keep_old(s, "not_saved");
    }
    buf_free(&s->blob);
    if (run->state != JR_OVER && run->state != JR_RETURNING)
        jobrun_finish(run);
}

static void begin_store(struct jobrun *run)
{
    struct run_state *s = run->state_run;
    char maker[64];
    snprintf(maker, sizeof maker, "%s.%u", run->job.text, run->attempt);
    enum err e = state_object_name(buf_str(&s->tenant), s->session, str_of(maker), &s->place);
    if (e == ERR_OK)
        e = state_store(run->runs->options.state.store, buf_str(&s->place), buf_str(&s->blob), &s->blob_hash,
                        on_stored, run, &s->op);
    s->storing = e == ERR_OK;
    s->change.place = buf_str(&s->place);
    s->change.blob = (struct str){"", 0};
    if (e != ERR_OK)
        on_stored(run, &(struct object_result){.e = e, .why = err_text(e)});
}

bool jobrun_state_store(struct jobrun *run)
{
    struct run_state *s = run->state_run;
    if (s == NULL || s->decided)
        return s != NULL && s->storing;
    if (!(s->heard || s->any_pod) || outcome_decide(&run->facts).type != EV_COMPLETED)
        return false;
    s->decided = true;
    s->event = decide(run);
    if (s->saved && s->blob.len > STATE_INLINE_MAX && run->runs->options.state.store != NULL) {
        begin_store(run);
        return true; /* also when it failed at once: then it was finished from there */
    }
    return false;
}

bool jobrun_state_end(struct jobrun *run, struct event_draft *ret_draft)
{
    struct run_state *s = run->state_run;
    if (s == NULL || !(s->decided || s->unwanted))
        return false;
    if (s->unwanted && s->json.len == 0)
        s->event = keep_old(s, "state_conflict");
    *ret_draft = (struct event_draft){.type = s->event, .data = buf_str(&s->json)};
    return true;
}
