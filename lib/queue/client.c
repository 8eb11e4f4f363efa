/* SPDX-License-Identifier: Apache-2.0 */
/* submit, send, cancel. */
#include "queue/internal.h"

#include "io/crypto.h"
#include "json/json.h"

#include <string.h>

enum { FULL_RETRY_MS = 1000, WAIT_MS = 86400 * 1000 };

/* ---- submit ------------------------------------------------------------------------------------------------------- */

struct submission {
    struct queue *q;
    struct id job, session;
    bool sync;
    queue_submit_cb cb;
    void *arg;
};

static struct id id_of(struct str s)
{
    struct id id = {0};
    if (id_parse(s, &id) != ERR_OK)
        id.text[0] = '\0';
    return id;
}

static void submitted(struct submission *s, enum queue_answer answer, const struct queue_submitted *result)
{
    struct topic *t = s->sync ? topic_hold(s->q, &s->job) : NULL; /* the one held since the call */
    s->cb(s->arg, answer, result);
    if (t)
        topic_unhold(s->q, t);
    free(s);
}

static void on_submit(void *arg, const struct redis_value *v)
{
    struct submission *s = arg;
    struct queue_submitted result = {.retry_after_ms = FULL_RETRY_MS};
    enum queue_answer answer = answer_of(v);
    if (v && v->type == REDIS_ERROR && str_starts(v->text, STR("OOM")))
        answer = QUEUE_FULL;
    if (answer == QUEUE_OK || answer == QUEUE_DUP) {
        result.job = id_of(redis_text(redis_item(v, 1)));
        result.session = id_of(redis_text(redis_item(v, 2)));
        result.event_id = redis_text(redis_item(v, 3)).p;
        result.position = (uint64_t)redis_integer(redis_item(v, 4));
        result.existing = strcmp(result.job.text, s->job.text) != 0;
        answer = result.existing ? QUEUE_DUP : QUEUE_OK; /* a repeat after a lost answer is no other job */
        if (s->sync && !result.existing)
            topic_keep(s->q, &s->job, redis_text(redis_item(v, 5)));
    }
    submitted(s, answer, &result);
}

static void refuse_full(void *arg, const struct redis_value *v)
{
    struct submission *s = arg;
    struct queue_submitted result = {.retry_after_ms = FULL_RETRY_MS};
    submitted(s, v ? QUEUE_FULL : QUEUE_UNAVAILABLE, &result);
}

static void refuse_unavailable(void *arg, const struct redis_value *v)
{
    struct queue_submitted result = {.retry_after_ms = FULL_RETRY_MS};
    (void)v; /* nothing was asked */
    submitted(arg, QUEUE_UNAVAILABLE, &result);
}

static bool plain_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] == '"' || s.p[i] == '\\' || s.p[i] == ':' || s.p[i] == 0x7f)
            return false;
    }
    return s.n > 0 && s.n < NAME_MAX_LEN;
}

static bool acceptable(const struct queue_submit *s)
{
    return s->tenant.n > 0 && s->tenant.n < NAME_MAX_LEN && plain_name(s->class_name) &&
           s->priority < QUEUE_PRIORITIES && (!s->session.text[0] || id_valid(str_of(s->session.text)));
}

/* The tenant cannot hold a NUL. */
static void idempotency_text(const struct queue_submit *submit, struct buf *out)
{
    buf_append_str(out, submit->tenant);
    buf_append_char(out, '\0');
    buf_append_str(out, submit->idempotency_key);
}

static unsigned home_of(const struct queue *q, const struct queue_submit *submit, struct str idempotency)
{
    if (submit->session.text[0])
        return id_partition(str_of(submit->session.text), q->partitions);
    if (submit->idempotency_key.n)
        return id_partition(idempotency, q->partitions);
    return id_partition(str_of(id_new().text), q->partitions);
}

static int64_t share(const struct queue *q, uint64_t cap)
{
    return (int64_t)(cap / q->partitions > 0 ? cap / q->partitions : 1);
}

static void write_details(const struct submission *s, const struct queue_submit *submit, struct buf *out)
{
    static const char *const priorities[QUEUE_PRIORITIES] = {"interactive", "normal", "batch"};
    buf_append_cstr(out, "{\"lang\":");
    json_write_string(out, submit->lang);
    buf_printf(out, ",\"priority\":\"%s\",\"session_id\":\"%s\"}", priorities[submit->priority],
               s->session.text);
}

static struct call *submit_call(struct queue *q, const struct submission *s,
                                const struct queue_submit *submit, const struct keyset *keys)
{
    auto_buf submitted_d = BUF_INIT(1024), queued_d = BUF_INIT(1024);
    write_details(s, submit, &submitted_d);
    buf_printf(&queued_d, "{\"class\":\"" STR_FMT "\",\"position\":", STR_ARG(submit->class_name));
    struct call *c = call_script(q, SCRIPT_submit, keys, true);
    call_hasty(c);
    call_cstr(c, s->job.text);
    call_cstr(c, q->options.key_prefix);
    call_cstr(c, s->session.text);
    call_str(c, submit->tenant);
    call_str(c, submit->user);
    call_str(c, submit->class_name);
    call_int(c, submit->priority);
    call_str(c, submit->lang);
    call_str(c, submit->request);
    call_str(c, submit->request_hash);
    call_cstr(c, submit->sync ? q->process : "");
    call_int(c, submit->retry);
    call_int(c, submit->ordered);
    call_int(c, submit->cost_ms ? submit->cost_ms : 1000);
    call_int(c, submit->sync ? q->options.sync_result_ttl_ms : q->options.result_ttl_ms);
    call_int(c, share(q, q->options.max_jobs));
    call_int(c, share(q, q->options.max_jobs_per_tenant));
    call_int(c, share(q, q->options.max_bytes));
    call_str(c, buf_str(&submitted_d));
    call_str(c, buf_str(&queued_d));
    call_str(c, keys->idem);
    call_int(c, submit->max_ordered);
    call_int(c, submit->wait_ms ? submit->wait_ms : WAIT_MS);
    return c;
}

void queue_submit(struct queue *q, const struct queue_submit *submit, queue_submit_cb cb, void *arg)
{
    struct submission *s = call_memory(sizeof *s);
    *s = (struct submission){.q = q, .cb = cb, .arg = arg};
    if (!q->ready || q->partitions == 0 || !acceptable(submit)) {
        call_go(call_plain(q, "PING"), refuse_unavailable, s);
        return;
    }
    if (q->memory_pressed) {
        call_go(call_plain(q, "PING"), refuse_full, s);
        return;
    }
    auto_buf idempotency = BUF_INIT(8192);
    idempotency_text(submit, &idempotency);
    unsigned home = home_of(q, submit, buf_str(&idempotency));
    s->session = submit->session.text[0] ? submit->session : id_new_in(home, q->partitions);
    s->job = id_new_in(home, q->partitions);
    s->sync = submit->sync && topic_hold(q, &s->job);
    remember_class(q, submit->class_name);
    char hex[SHA256_HEX_LEN + 1] = "";
    if (submit->idempotency_key.n) {
        struct sha256 hash = sha256_of(buf_str(&idempotency));
        sha256_hex(&hash, hex);
    }
    struct keyset keys = {.partition = home,
                          .job = str_of(s->job.text),
                          .session = str_of(s->session.text),
                          .tenant = submit->tenant,
                          .class_name = submit->class_name,
                          .idem = str_of(hex)};
    call_go(submit_call(q, s, submit, &keys), on_submit, s);
}

/* ---- send and cancel ---------------------------------------------------------------------------------------------- */

struct done {
    queue_done_cb cb;
    void *arg;
};

static struct done *done_new(queue_done_cb cb, void *arg)
{
    struct done *d = call_memory(sizeof *d);
    *d = (struct done){cb, arg};
    return d;
}

static void on_done(void *arg, const struct redis_value *v)
{
    auto_free struct done *d = arg;
    if (d->cb)
        d->cb(d->arg, answer_of(v));
}

static void on_sent(void *arg, const struct redis_value *v)
{
    auto_free struct done *d = arg;
    enum queue_answer answer = answer_of(v);
    if (d->cb)
        d->cb(d->arg, answer == QUEUE_DUP ? QUEUE_OK : answer); /* a repeat of ours, after a lost answer */
}

static void unavailable(struct queue *q, struct done *d)
{
    call_go(call_plain(q, "PING"), on_done, d); /* answered with QUEUE_UNAVAILABLE in the next turn */
}

/* Senders count for themselves: a repeat keeps its number, so the caller's own count is not needed. */
void queue_send(struct queue *q, struct str tenant, struct id job, uint64_t seq,
                const struct event_draft *draft, queue_done_cb cb, void *arg)
{
    struct done *d = done_new(cb, arg);
    (void)seq;
    if (!q->ready || !event_is_client(draft->type)) {
        unavailable(q, d);
        return;
    }
    struct keyset keys = {.partition = id_partition(str_of(job.text), q->partitions),
                          .job = str_of(job.text)};
    struct call *c = call_script(q, SCRIPT_send, &keys, true);
    call_hasty(c);
    call_cstr(c, job.text);
    call_cstr(c, q->options.key_prefix);
    call_str(c, tenant);
    call_cstr(c, q->process);
    call_int(c, (int64_t)++q->sends);
    call_cstr(c, event_type_name(draft->type));
    call_str(c, draft->data);
    call_str(c, draft->bytes);
    call_go(c, on_sent, d);
}

/* What the script needs to know of the job for its keys is asked first. */
struct cancellation {
    struct queue *q;
    struct id job;
    struct done *done;
    struct buf tenant, details;
};

static void cancellation_free(struct cancellation *x)
{
    buf_free(&x->tenant);
    buf_free(&x->details);
    free(x);
}

static void on_cancel_head(void *arg, const struct redis_value *v)
{
    struct cancellation *x = arg;
    struct queue *q = x->q;
    struct keyset keys = head_keys(q, &x->job, v);
    if (!v || v->type != REDIS_ARRAY || keys.session.n == 0) {
        if (x->done->cb)
            x->done->cb(x->done->arg, v && v->type == REDIS_ARRAY ? QUEUE_NOT_FOUND : QUEUE_UNAVAILABLE);
        free(x->done);
    } else {
        struct call *c = call_script(q, SCRIPT_cancel, &keys, true);
        call_hasty(c);
        call_cstr(c, x->job.text);
        call_cstr(c, q->options.key_prefix);
        call_str(c, buf_str(&x->tenant));
        call_str(c, buf_str(&x->details));
        call_go(c, on_done, x->done);
    }
    cancellation_free(x);
}

void queue_cancel(struct queue *q, struct str tenant, struct id job, struct str reason, queue_done_cb cb,
                  void *arg)
{
    struct done *d = done_new(cb, arg);
    struct cancellation *x = q->ready ? calloc(1, sizeof *x) : NULL;
    if (!x) {
        unavailable(q, d);
        return;
    }
    *x = (struct cancellation){
        .q = q, .job = job, .done = d, .tenant = BUF_INIT(NAME_MAX_LEN * 2), .details = BUF_INIT(4096)};
    buf_append_str(&x->tenant, tenant);
    buf_append_cstr(&x->details, "{\"reason\":");
    json_write_string(&x->details, reason.n ? reason : STR("client"));
    buf_append_char(&x->details, '}');
    call_head(q, &job, on_cancel_head, x);
}
