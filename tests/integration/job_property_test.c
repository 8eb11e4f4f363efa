/* SPDX-License-Identifier: Apache-2.0 */
/* The model (schema/job_machine) and the scripts get the same random commands; their answers, projections and logs
   must be the same after each.    job_property_test [SEED [ROUNDS]] */
#include "schema/job_machine.h"
#include "support/queue_world.h"

#include "base/clock.h"
#include "queue/internal.h"
#include "unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMMANDS = 400, LOG_MAX = 1024, WAIT_MS = 1000000 };

static unsigned long seed = 1, rounds = 8;

struct subject {
    struct world *w;
    struct id job, session;
    struct job model;
    enum event_type log[LOG_MAX];
    size_t log_count, events;
    uint64_t sends, last_sent; /* counted; the last one that was taken */
    char entry[EVENT_ID_MAX];  /* the newest of the lane for this job, delivered; "" none */
    char answer[32];
    bool done;
};

static unsigned pick(unsigned below)
{
    seed = seed * 6364136223846793005ul + 1442695040888963407ul;
    return (unsigned)(seed >> 33) % below;
}

/* ---- the store's side --------------------------------------------------------------------------------------------- */

static struct keyset keys_of(const struct subject *s)
{
    return (struct keyset){.job = str_of(s->job.text),
                           .session = str_of(s->session.text),
                           .tenant = STR("t"),
                           .class_name = STR("local")};
}

static void on_script(void *arg, const struct redis_value *v)
{
    struct subject *s = arg;
    struct str word = redis_text(redis_item(v, 0));
    s->done = true;
    if (v && v->type == REDIS_ERROR)
        word = v->text;
    snprintf(s->answer, sizeof s->answer, STR_FMT, STR_ARG(word));
}

static void on_beat(void *arg, const struct redis_value *v)
{
    struct subject *s = arg;
    s->done = true;
    snprintf(s->answer, sizeof s->answer, "%s", redis_integer(redis_item(v, 1)) < 0 ? "fenced" : "ok");
}

static void finish_call(struct subject *s, struct call *c, size_t keys, call_cb cb)
{
    s->done = false;
    call_go_keys(c, keys, cb, s);
    UNTIL(s->w, s->done);
}

static void common(struct call *c, const struct subject *s)
{
    call_cstr(c, s->job.text);
    call_cstr(c, "millrace:");
}

static void send_submit(struct subject *s, struct call *c, const struct job_input *in)
{
    common(c, s);
    call_cstr(c, s->session.text);
    for (size_t i = 0; i < 3; i++)
        call_cstr(c, (const char *const[]){"t", "u", "local"}[i]);
    call_int(c, pick(3));
    call_cstr(c, "py");
    call_cstr(c, "{}");
    call_cstr(c, "");
    call_cstr(c, "");
    call_int(c, in->retry);
    call_int(c, 0);
    call_int(c, 10);
    call_int(c, 1000000);
    for (int i = 0; i < 3; i++)
        call_int(c, 1000000000);
    call_cstr(c, "{}");
    call_cstr(c, "{\"position\":");
    call_cstr(c, "");
    call_int(c, 0);
    call_int(c, WAIT_MS);
}

static void send_drafts(struct call *c, const struct job_input *in)
{
    for (size_t i = 0; i < in->count; i++) {
        call_cstr(c, event_type_name(in->drafts[i]));
        call_cstr(c, "{}");
        call_cstr(c, "");
    }
}

static void send_step(struct subject *s, struct call *c, const struct job_input *in)
{
    common(c, s);
    call_int(c, in->attempt);
    call_int(c, (int64_t)in->n);
    call_int(c, (int64_t)in->read);
    if (in->command == JOB_CMD_finish) {
        call_int(c, 5);
        call_cstr(c, in->worker);
        call_cstr(c, "");
        call_cstr(c, "process");
        call_int(c, 0);
    }
    send_drafts(c, in);
}

static void send_claim(struct subject *s, struct call *c, const struct job_input *in)
{
    common(c, s);
    call_cstr(c, in->entry);
    call_cstr(c, in->worker);
    call_cstr(c, "");
    call_cstr(c, "process");
    call_int(c, 0);
}

static void send_beat(struct subject *s, struct call *c, const struct job_input *in)
{
    struct keyset keys = keys_of(s);
    call_key(c, &keys, "JOB");
    call_cstr(c, in->worker);
    call_int(c, 50);
    call_cstr(c, "process");
    call_int(c, 0);
    call_int(c, in->attempt);
    call_cstr(c, in->entry);
    call_int(c, (int64_t)in->read);
}

static void send_client(struct subject *s, struct call *c, const struct job_input *in)
{
    static char bytes[70000];
    memset(bytes, 'x', sizeof bytes);
    common(c, s);
    call_cstr(c, "t");
    call_cstr(c, "sender");
    call_int(c, (int64_t)(in->repeated ? s->last_sent : ++s->sends));
    call_cstr(c, event_type_name(in->drafts[0]));
    call_cstr(c, "");
    call_str(c, (struct str){bytes, in->size});
}

static void send_cancel(struct subject *s, struct call *c, const struct job_input *in)
{
    (void)in;
    common(c, s);
    call_cstr(c, "t");
    call_cstr(c, "{\"reason\":\"r\"}");
}

static void send_requeue(struct subject *s, struct call *c, const struct job_input *in)
{
    common(c, s);
    call_int(c, in->attempt);
    call_cstr(c, "\"why\"");
    call_int(c, in->counts);
    call_int(c, in->max_attempts);
    call_int(c, in->released);
    call_cstr(c, in->worker);
    call_cstr(c, "");
}

static void send_reap(struct subject *s, struct call *c, const struct job_input *in)
{
    common(c, s);
    call_cstr(c, in->entry);
    call_int(c, in->attempt);
    call_int(c, (int64_t)in->hb);
    call_int(c, in->max_attempts);
}

static void send_give(struct subject *s, struct call *c, const struct job_input *in)
{
    common(c, s);
    call_cstr(c, in->entry);
}

static void send_expire(struct subject *s, struct call *c, const struct job_input *in)
{
    common(c, s);
    call_int(c, in->due);
}

static void on_placed(void *arg, const struct redis_value *v)
{
    struct subject *s = arg;
    assert_non_null(v);
    s->done = true;
}

/* Its time has come, or has not: set in the list of those that wait, where it is in it. */
static void set_waiting(struct subject *s, bool due)
{
    struct keyset keys = keys_of(s);
    struct call *c = call_plain(s->w->api, "ZADD");
    call_key(c, &keys, "WAITING");
    call_cstr(c, "XX");
    call_int(c, due ? 1 : clock_wall_ms() + WAIT_MS);
    call_cstr(c, s->job.text);
    finish_call(s, c, 0, on_placed);
}

static void send_overdue(struct subject *s, struct call *c, const struct job_input *in)
{
    (void)in;
    common(c, s);
}

static void run_script(struct subject *s, const struct job_input *in)
{
    static const struct {
        enum script script;
        void (*send)(struct subject *s, struct call *c, const struct job_input *in);
    } table[JOB_COMMAND_COUNT] = {
        [JOB_CMD_submit] = {SCRIPT_submit, send_submit},
        [JOB_CMD_claim] = {SCRIPT_claim, send_claim},
        [JOB_CMD_append] = {SCRIPT_append, send_step},
        [JOB_CMD_finish] = {SCRIPT_finish, send_step},
        [JOB_CMD_heartbeat] = {SCRIPT_heartbeat, send_beat},
        [JOB_CMD_send] = {SCRIPT_send, send_client},
        [JOB_CMD_cancel] = {SCRIPT_cancel, send_cancel},
        [JOB_CMD_requeue] = {SCRIPT_requeue, send_requeue},
        [JOB_CMD_reap] = {SCRIPT_reap, send_reap},
        [JOB_CMD_give] = {SCRIPT_give, send_give},
        [JOB_CMD_expire] = {SCRIPT_expire, send_expire},
        [JOB_CMD_overdue] = {SCRIPT_overdue, send_overdue},
    };
    struct keyset keys = keys_of(s);
    bool beats = in->command == JOB_CMD_heartbeat;
    if (in->command == JOB_CMD_overdue)
        set_waiting(s, in->due);
    struct call *c = call_script(s->w->api, table[in->command].script, &keys, true);
    table[in->command].send(s, c, in);
    finish_call(s, c, beats ? 1 : 0, beats ? on_beat : on_script);
}

/* ---- facts of the lane ---------------------------------------------------------------------------------------------- */

struct asked {
    bool done;
    struct subject *s;
    bool pending;
};

static void on_lane(void *arg, const struct redis_value *v)
{
    struct asked *a = arg;
    a->done = true;
    for (size_t i = 0; v && v->type == REDIS_ARRAY && i < v->count; i++) {
        if (str_eq(redis_text(redis_item(redis_item(&v->items[i], 1), 1)), str_of(a->s->job.text)))
            snprintf(a->s->entry, sizeof a->s->entry, STR_FMT,
                     STR_ARG(redis_text(redis_item(&v->items[i], 0))));
    }
}

static void on_any(void *arg, const struct redis_value *v)
{
    struct asked *a = arg;
    a->done = true;
    a->pending = v && v->type == REDIS_ARRAY && v->count > 0;
}

/* Everything in the lane is delivered; remembers the newest entry of our job. */
static void deliver_lane(struct subject *s)
{
    struct keyset keys = keys_of(s);
    struct asked a = {.s = s};
    struct call *c = call_plain(s->w->api, "XREADGROUP");
    const char *worker = pick(3) ? "w1" : "w2";
    for (size_t i = 0; i < 6; i++)
        call_cstr(c, (const char *const[]){"GROUP", "w", worker, "COUNT", "100", "STREAMS"}[i]);
    call_key(c, &keys, "READY");
    call_cstr(c, ">");
    call_go(c, on_any, &a);
    UNTIL(s->w, a.done);
    a.done = false;
    c = call_plain(s->w->api, "XRANGE");
    call_key(c, &keys, "READY");
    call_cstr(c, "-");
    call_cstr(c, "+");
    call_go(c, on_lane, &a);
    UNTIL(s->w, a.done);
}

/* For that worker; NULL: for any. */
static bool is_pending(struct subject *s, const char *entry, const char *worker)
{
    struct keyset keys = keys_of(s);
    struct asked a = {.s = s};
    struct call *c = call_plain(s->w->api, "XPENDING");
    call_key(c, &keys, "READY");
    call_cstr(c, "w");
    call_cstr(c, entry);
    call_cstr(c, entry);
    call_int(c, 1);
    if (worker)
        call_cstr(c, worker);
    call_go(c, on_any, &a);
    UNTIL(s->w, a.done);
    return a.pending;
}

/* ---- comparing ------------------------------------------------------------------------------------------------------ */

struct projection {
    bool done, exists;
    char status[16];
    int64_t numbers[7]; /* attempt, seq, n, hb, fails, released, inb */
    bool cancel;
    size_t log_count;
    enum event_type log[LOG_MAX];
};

static void on_projection(void *arg, const struct redis_value *v)
{
    struct projection *p = arg;
    p->exists = redis_text(redis_item(v, 0)).n > 0;
    snprintf(p->status, sizeof p->status, STR_FMT, STR_ARG(redis_text(redis_item(v, 0))));
    for (size_t i = 0; i < 7; i++)
        p->numbers[i] = redis_integer(redis_item(v, i + 1));
    p->cancel = redis_text(redis_item(v, 8)).n > 0;
}

static void on_log(void *arg, const struct redis_value *v)
{
    struct projection *p = arg;
    struct event e;
    struct id job = id_new();
    p->done = true;
    for (size_t i = 0; v && i < v->count && i < LOG_MAX; i++) {
        assert_int_equal(entry_decode(&v->items[i], job, &e), ERR_OK);
        assert_int_equal(e.seq, i + 1);
        p->log[p->log_count++] = e.type;
    }
}

static const char *status_of(const struct job *job)
{
    static const char *const names[] = {"", "queued", "running"};
    return job->state == JOB_terminal ? event_type_name(job->end) : names[job->state];
}

static void compare(struct subject *s)
{
    struct keyset keys = keys_of(s);
    struct projection p = {0};
    struct call *c = call_plain(s->w->api, "HMGET");
    call_key(c, &keys, "JOB");
    for (size_t i = 0; i < 9; i++)
        call_cstr(c, (const char *const[]){"status", "attempt", "seq", "n", "hb", "fails", "released", "inb",
                                           "cancel"}[i]);
    call_go(c, on_projection, &p);
    c = call_plain(s->w->api, "XRANGE");
    call_key(c, &keys, "LOG");
    call_cstr(c, "-");
    call_cstr(c, "+");
    call_go(c, on_log, &p);
    UNTIL(s->w, p.done);
    const struct job *m = &s->model;
    assert_string_equal(p.status, status_of(m));
    const int64_t want[7] = {m->attempt, (int64_t)m->seq, (int64_t)m->n,    (int64_t)m->hb,
                             m->fails,   m->released,     (int64_t)m->inbox};
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(p.numbers[i], want[i]);
    assert_int_equal(p.cancel, m->cancel);
    assert_int_equal(p.log_count, s->log_count);
    assert_memory_equal(p.log, s->log, s->log_count * sizeof *s->log);
}

/* ---- random commands ------------------------------------------------------------------------------------------------- */

static const char *answer_word(enum job_answer a)
{
    static const char *const words[] = {
        [JOB_OK] = "ok",           [JOB_DUP] = "dup",   [JOB_FENCED] = "fenced", [JOB_CONFLICT] = "conflict",
        [JOB_MISSING] = "missing", [JOB_FULL] = "full",
    };
    return words[a];
}

static uint32_t near(uint64_t value)
{
    unsigned r = pick(8);
    return (uint32_t)(r == 0 ? value + 1 : r == 1 && value > 0 ? value - 1 : value);
}

static void random_input(struct subject *s, struct job_input *in)
{
    static const enum event_type mid[] = {EV_STARTED, EV_OUTPUT, EV_USAGE, EV_FILE};
    static const enum event_type ends[] = {EV_COMPLETED, EV_FAILED, EV_TIMED_OUT, EV_CANCELLED};
    static const enum event_type clients[] = {EV_INPUT, EV_EOF, EV_SIGNAL};
    static const char *const workers[] = {"w1", "w2"};
    static enum event_type drafts[4];
    /* Mostly what leads on, so that deep states are reached. */
    static const enum job_command often[] = {JOB_CMD_submit, JOB_CMD_claim,     JOB_CMD_claim, JOB_CMD_append,
                                             JOB_CMD_append, JOB_CMD_heartbeat, JOB_CMD_send};
    *in = (struct job_input){0};
    in->command = pick(2) ? often[pick(7)] : (enum job_command)pick(JOB_COMMAND_COUNT);
    if (s->model.state == JOB_none && pick(2))
        in->command = JOB_CMD_submit;
    if (s->model.state == JOB_terminal && pick(4) == 0)
        in->command = JOB_CMD_expire; /* and begin anew */
    if (in->command == JOB_CMD_cancel && pick(3))
        in->command = JOB_CMD_claim;
    in->attempt = near(s->model.attempt);
    in->n = near(s->model.n + 1);
    in->hb = near(s->model.hb);
    in->read = near(s->model.ins);
    in->size = pick(4) == 0 ? 40000 : pick(2) * 5;
    bool newest = s->model.state != JOB_running || pick(6) == 0;
    in->entry = newest && s->entry[0] ? s->entry : s->model.entry[0] ? s->model.entry : "1-1";
    in->worker = workers[pick(2)];
    in->max_attempts = 3;
    in->retry = pick(2);
    in->counts = pick(2);
    in->released = pick(4) == 0;
    in->due = pick(2);
    in->repeated = s->last_sent > 0 && pick(6) == 0;
    in->count = 1 + pick(3);
    for (size_t i = 0; i < in->count; i++)
        drafts[i] = mid[pick(4)];
    if (in->command == JOB_CMD_finish)
        drafts[in->count++] = ends[pick(4)];
    if (in->command == JOB_CMD_send)
        drafts[0] = clients[pick(3)];
    in->drafts = drafts;
    if (in->command == JOB_CMD_reap || in->command == JOB_CMD_give)
        in->pending = is_pending(s, in->entry, NULL);
    if (in->command == JOB_CMD_claim)
        in->pending = is_pending(s, in->entry, in->worker);
}

static void fold(struct subject *s, const struct job_input *in, const struct job_decision *d)
{
    bool was_running = s->model.state == JOB_running;
    if (d->answer == JOB_OK) {
        job_note(&s->model, in);
        if (in->command == JOB_CMD_send)
            s->last_sent = s->sends;
        if (in->command == JOB_CMD_reap && was_running)
            s->model.fails++;
    }
    for (size_t i = 0; i < d->count; i++) {
        job_apply(&s->model, d->events[i]);
        s->log[s->log_count++] = d->events[i];
        s->events++;
    }
    if (in->command == JOB_CMD_expire && d->answer == JOB_OK) {
        s->log_count = 0;
        s->last_sent = 0;
    }
}

static void one_command(struct subject *s)
{
    struct job_input in;
    struct job_decision d;
    char text[128];
    random_input(s, &in);
    /* A claim needs a lane entry that is its own; without one there is nothing to claim. */
    if (in.command == JOB_CMD_claim && !s->entry[0])
        return;
    job_decide(&s->model, &in, &d);
    run_script(s, &in);
    snprintf(text, sizeof text, "command %d in state %d: %s", in.command, s->model.state, s->answer);
    if (strcmp(s->answer, answer_word(d.answer)) != 0)
        fail_msg("%s, but the model says %s", text, answer_word(d.answer));
    fold(s, &in, &d);
    compare(s);
    deliver_lane(s);
}

static void make_lane(struct subject *s)
{
    struct keyset keys = keys_of(s);
    struct asked a = {.s = s};
    struct call *c = call_plain(s->w->api, "XGROUP");
    call_cstr(c, "CREATE");
    call_key(c, &keys, "READY");
    call_cstr(c, "w");
    call_cstr(c, "0");
    call_cstr(c, "MKSTREAM");
    call_go(c, on_any, &a);
    UNTIL(s->w, a.done);
}

static void model_and_scripts_agree(void **state)
{
    (void)state;
    static struct world w;
    world_init(&w, "no", false);
    world_open(&w);
    for (unsigned long r = 0; r < rounds; r++) {
        static struct subject s;
        s = (struct subject){.w = &w, .job = id_new(), .session = id_new()};
        unsigned long first = seed;
        make_lane(&s);
        for (int i = 0; i < COMMANDS && s.log_count < LOG_MAX - 16; i++)
            one_command(&s);
        print_message("seed %lu: %zu events\n", first, s.events);
    }
    world_close(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(model_and_scripts_agree)};
    if (argc > 1)
        seed = strtoul(argv[1], NULL, 10);
    if (argc > 2)
        rounds = strtoul(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
