/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a run's session: fetched and checked before its pod is taken, and made a new version of by its finish. */
#include "worker/jobrun_internal.h"
#include "worker/spec.h"

#include "base/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { EVENT_MAX = 512 * 1024 };

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
    s->seal_text = BUF_INIT(STATE_SEAL_TEXT_MAX);
    state_stream_init(&s->stream, (size_t)run->runs->options.state.max_bytes);
    return ERR_OK;
}

void jobrun_state_free(struct jobrun *run)
{
    struct run_state *s = run->state_run;
    if (s == NULL)
        return;
    state_stream_free(&s->stream);
    struct buf *all[] = {&s->tenant, &s->user, &s->raw, &s->json, &s->seal_text, &s->blob};
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

/* Checks what the store gave; the raw bytes go to the pod. NULL: good. */
static const char *unpack(struct jobrun *run, const struct state_view *view, struct str blob)
{
    struct run_state *s = run->state_run;
    const struct state_keys *keys = run->runs->options.state.keys;
    struct state_scope scope = scope_of(s, view->of.version);
    struct state_seal seal;
    if (state_seal_parse(view->of.seal, &seal) != ERR_OK)
        return "its seal cannot be read";
    if (state_seal_check(keys, &scope, &seal) != ERR_OK)
        return "its seal is not one of this session, or of a key that is not known here";
    if (state_seal_blob(&seal, blob) != ERR_OK)
        return "its bytes are not those that were sealed";
    enum err e = state_unpack(blob, &s->raw);
    if (e != ERR_OK)
        return e == ERR_FULL ? "it is larger than STATE_MAX_SIZE_MB" : "it is no state of a known format";
    s->given = true;
    s->given_size = seal.size;
    sha256_hex(&seal.hash, s->given_hash);
    return NULL;
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
    const char *why = view->found ? unpack(run, view, view->blob) : NULL;
    if (why != NULL) {
        log_warn("a stored state is refused", F_JOB(run->job.text, run->attempt), F_STR("why", why));
        metrics_add(run->runs->options.metrics, METRIC_STATES_REFUSED, 0, 0, 1);
        refuse(run, REASON_STATE_INVALID, "Version %" PRIu64 ": %s.", s->base, why);
        return;
    }
    jobrun_look(run);
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
    } else {
        jobrun_return(run, REASON_INTERNAL);
    }
}

void jobrun_state_fetch(struct jobrun *run)
{
    struct run_state *s = run->state_run;
    const struct jobrun_queue *q = &run->runs->options.queue;
    struct session_owner owner = {.tenant = buf_str(&s->tenant), .user = buf_str(&s->user)};
    jobrun_set_state(run, JR_FETCHING);
    s->fetching = true;
    q->state_read(q->arg, owner, s->session, on_view, run);
}

struct str jobrun_state_release(struct jobrun *run, struct str *ret_spec)
{
    struct run_state *s = run->state_run;
    const struct jobruns_state *options = &run->runs->options.state;
    struct buf *spec = &run->plan.spec;
    if (!s->specified && !pool_pod_is(run->pod, "cold")) {
        s->specified = true;
        spec_put_u64(spec, SPEC_STATE_MAX, (uint64_t)options->max_bytes);
        spec_put_u64(spec, SPEC_STATE_SIZE, s->raw.len);
        spec_put_u64(spec, SPEC_STATE_MS, (uint64_t)options->time_ms);
        spec_put_u64(spec, SPEC_STATE_ON_ERROR, options->on_error);
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

bool jobrun_state_end(struct jobrun *run, struct event_draft *ret_draft)
{
    struct run_state *s = run->state_run;
    bool ran = s != NULL && (s->heard || s->any_pod) && run->outcome.type == EV_COMPLETED;
    if (!ran && !(s != NULL && s->unwanted))
        return false;
    if (s->json.len == 0)
        s->event = s->unwanted ? keep_old(s, "state_conflict") : decide(run);
    *ret_draft = (struct event_draft){.type = s->event, .data = buf_str(&s->json)};
    return true;
}
