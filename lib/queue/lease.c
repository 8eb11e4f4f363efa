/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker does with a job that it has claimed: append, finish, requeue (one at a time for each job, in order),
   heartbeats, and the reading of client events. */
#include "queue/consumer.h"
#include "queue/state.h"

#include "base/point.h"
#include "json/json.h"

#include <string.h>

enum { BEAT_BATCH = 200, INPUT_PAGE = 64, ACKNOWLEDGE_BYTES = 8 << 10 };

struct step {
    struct list link;
    struct lease *lease; /* NULL: it ended meanwhile */
    struct call *call;   /* not sent yet */
    bool last;           /* finish or requeue: the lease ends with it */
    queue_done_cb cb;
    void *arg;
};

struct lease *lease_find(struct consumer *c, struct str job)
{
    struct idnode *node = idmap_find(&c->leases, job);
    return node ? container_of(node, struct lease, node) : NULL;
}

static void place_set(struct place *p, struct str id, uint64_t seq)
{
    if (id.n >= sizeof p->id)
        return;
    snprintf(p->id, sizeof p->id, STR_FMT, STR_ARG(id));
    p->seq = seq;
}

void lease_begin(struct lease *l, struct str id)
{
    place_set(&l->read, id, l->read.seq);
    place_set(&l->looked, id, l->looked.seq);
}

struct lease *lease_new(struct lane *lane, const struct redis_value *claimed, struct str entry, struct id job)
{
    struct lease *l = calloc(1, sizeof *l);
    struct str tenant = redis_text(redis_item(claimed, 3));
    if (!l || tenant.n >= sizeof l->tenant ||
        id_parse(redis_text(redis_item(claimed, 6)), &l->session) != ERR_OK) {
        free(l);
        return NULL;
    }
    l->lane = lane;
    l->attempt = (uint32_t)redis_integer(redis_item(claimed, 1));
    memcpy(l->tenant, tenant.p, tenant.n);
    memcpy(l->entry, entry.p, entry.n);
    lease_begin(l, STR("0"));
    list_init(&l->steps);
    idmap_add(&lane->c->leases, &l->node, &job);
    lane->leases++;
    return l;
}

/* ---- steps -------------------------------------------------------------------------------------------------------- */

static void steps_refuse(struct list *steps, enum queue_answer answer)
{
    while (!list_empty(steps)) {
        struct step *s = list_first(steps, struct step, link);
        list_remove(&s->link);
        s->lease = NULL;
        if (!s->call) /* under way: its answer will say so */
            continue;
        call_drop(s->call);
        if (s->cb)
            s->cb(s->arg, answer);
        free(s);
    }
}

static void say_leave(struct consumer *c)
{
    c->left = true;
    for (size_t i = 0; i < c->lane_count; i++) {
        struct keyset keys = lane_keys(&c->lanes[i], (struct str){0});
        struct call *call = call_script(c->q, SCRIPT_leave, &keys, false);
        call_cstr(call, c->worker);
        call_cstr(call, "");
        call_go(call, NULL, NULL);
    }
}

void lease_end(struct lease *l)
{
    struct consumer *c = l->lane->c;
    struct list steps;
    list_init(&steps);
    idmap_remove(&c->leases, &l->node);
    l->lane->leases--;
    while (!list_empty(&l->steps)) {
        struct list *first = l->steps.next;
        list_remove(first);
        list_append(&steps, first);
    }
    free(l);
    steps_refuse(&steps, c->q->closing ? QUEUE_UNAVAILABLE : QUEUE_FENCED);
    if (c->stopping && c->leases.count == 0 && c->claiming == 0 && !c->left && c->q->ready)
        say_leave(c);
}

static void step_send(struct step *s);

static void on_step(void *arg, const struct redis_value *v)
{
    struct step *s = arg;
    struct lease *l = s->lease;
    enum queue_answer answer = answer_of(v);
    queue_done_cb cb = s->cb;
    void *cb_arg = s->arg;
    bool over = s->last || answer == QUEUE_FENCED || answer == QUEUE_NOT_FOUND;
    list_remove(&s->link);
    if (l && answer == QUEUE_UNAVAILABLE)
        l->ending = l->ending && !s->last; /* the worker may try again */
    else if (l && over)
        lease_end(l);
    if (l && !(over && answer != QUEUE_UNAVAILABLE)) {
        uint64_t ins = (uint64_t)redis_integer(redis_item(v, 1));
        struct str last = redis_text(redis_item(v, 2));
        if (ins > l->delivered)
            lease_inputs(l, ins);
        else if (answer == QUEUE_OK && last.n > 0 && !l->reading)
            lease_begin(l, last);
        if (!list_empty(&l->steps))
            step_send(list_first(&l->steps, struct step, link));
    }
    free(s);
    if (cb)
        cb(cb_arg, answer == QUEUE_NOT_FOUND ? QUEUE_FENCED : answer);
}

static void step_send(struct step *s)
{
    struct call *call = s->call;
    s->call = NULL;
    call_go(call, on_step, s);
}

struct refusal {
    queue_done_cb cb;
    void *arg;
};

static void on_refusal(void *arg, const struct redis_value *v)
{
    auto_free struct refusal *r = arg;
    (void)v; /* the answer was known */
    if (r->cb)
        r->cb(r->arg, QUEUE_FENCED);
}

/* The lease is not ours (any more): said in the next turn. */
static void refuse_later(struct queue *q, queue_done_cb cb, void *arg)
{
    struct refusal *r = call_memory(sizeof *r);
    *r = (struct refusal){cb, arg};
    call_go(call_plain(q, "PING"), on_refusal, r);
}

static struct lease *lease_of(struct queue *q, struct id job, uint32_t attempt)
{
    struct lease *l = q->consumer ? lease_find(q->consumer, str_of(job.text)) : NULL;
    return l && l->attempt == attempt ? l : NULL;
}

static struct keyset lease_keys(const struct lease *l)
{
    return (struct keyset){.partition = l->lane->partition,
                           .class_name = str_of(l->lane->class_name),
                           .job = str_of(l->node.id.text),
                           .session = str_of(l->session.text),
                           .tenant = str_of(l->tenant)};
}

static struct call *step_call(struct queue *q, struct lease *l, enum script script)
{
    struct keyset keys = lease_keys(l);
    struct call *call = call_script(q, script, &keys, true);
    call_cstr(call, l->node.id.text);
    call_cstr(call, q->options.key_prefix);
    call_int(call, l->attempt);
    return call;
}

static void step_add(struct lease *l, struct call *call, bool last, queue_done_cb cb, void *arg)
{
    struct step *s = call_memory(sizeof *s);
    *s = (struct step){.lease = l, .call = call, .last = last, .cb = cb, .arg = arg};
    bool idle = list_empty(&l->steps);
    list_append(&l->steps, &s->link);
    l->ending = l->ending || last;
    if (idle)
        step_send(s);
}

static void add_drafts(struct call *call, const struct event_draft *drafts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        call_cstr(call, event_type_name(drafts[i].type));
        call_str(call, drafts[i].data);
        call_str(call, drafts[i].bytes);
    }
}

void queue_append(struct queue *q, struct id job, uint32_t attempt, uint64_t n,
                  const struct event_draft *drafts, size_t count, queue_done_cb cb, void *arg)
{
    struct lease *l = lease_of(q, job, attempt);
    if (!l) {
        refuse_later(q, cb, arg);
        return;
    }
    struct call *call = step_call(q, l, SCRIPT_append);
    call_int(call, (int64_t)n);
    call_int(call, (int64_t)l->delivered);
    add_drafts(call, drafts, count);
    step_add(l, call, false, cb, arg);
}

/* `state` NULL: without. */
static void finish(struct queue *q, struct id job, uint32_t attempt, uint64_t n,
                   const struct event_draft *drafts, size_t count, uint32_t cost_ms,
                   const struct state_change *state, queue_done_cb cb, void *arg)
{
    struct lease *l = lease_of(q, job, attempt);
    if (!l || count == 0 || !event_is_terminal(drafts[count - 1].type)) {
        refuse_later(q, cb, arg);
        return;
    }
    struct call *call = step_call(q, l, state ? SCRIPT_finish_state : SCRIPT_finish);
    call_int(call, (int64_t)n);
    call_int(call, (int64_t)l->delivered);
    call_int(call, cost_ms);
    call_cstr(call, q->consumer->worker);
    call_capacity(call, l->lane);
    call_offer(call, l->lane, 1);
    add_drafts(call, drafts, count);
    if (state)
        state_arguments(call, state);
    step_add(l, call, true, cb, arg);
}

void queue_finish(struct queue *q, struct id job, uint32_t attempt, uint64_t n,
                  const struct event_draft *drafts, size_t count, uint32_t cost_ms, queue_done_cb cb,
                  void *arg)
{
    finish(q, job, attempt, n, drafts, count, cost_ms, NULL, cb, arg);
}

void queue_finish_state(struct queue *q, struct id job, uint32_t attempt, uint64_t n,
                        const struct event_draft *drafts, size_t count, uint32_t cost_ms,
                        const struct state_change *state, queue_done_cb cb, void *arg)
{
    test_point("state-finish");
    finish(q, job, attempt, n, drafts, count, cost_ms, state, cb, arg);
}

/* Such a job had no pod, or gave it up of itself. */
static bool is_tried(struct str reason)
{
    static const char *const others[] = {"worker_drained", "tools_parked", "not_here"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (str_eq(reason, str_of(others[i])))
            return false;
    return true;
}

void queue_requeue(struct queue *q, struct id job, uint32_t attempt, struct str reason, bool started,
                   queue_done_cb cb, void *arg)
{
    struct lease *l = lease_of(q, job, attempt);
    if (!l) {
        refuse_later(q, cb, arg);
        return;
    }
    auto_buf why = BUF_INIT(4096);
    json_write_string(&why, reason);
    struct call *call = step_call(q, l, SCRIPT_requeue);
    call_str(call, buf_str(&why));
    call_int(call, is_tried(reason));
    call_int(call, q->options.max_attempts);
    call_int(call, started);
    call_cstr(call, q->consumer->worker);
    call_capacity(call, l->lane);
    step_add(l, call, true, cb, arg);
}

/* ---- heartbeats --------------------------------------------------------------------------------------------------- */

struct beat {
    struct lane *lane;
    size_t count;
    bool whole; /* the lane's last one of this round */
    struct {
        struct id job;
        uint32_t attempt;
    } of[BEAT_BATCH];
};

static void on_beat_answer(void *arg, const struct redis_value *v)
{
    auto_free struct beat *b = arg;
    struct consumer *c = b->lane->c;
    if (b->whole)
        b->lane->beating = false;
    if (answer_of(v) != QUEUE_OK)
        return;
    for (size_t i = 0; i < b->count; i++) {
        int64_t ins = redis_integer(redis_item(v, i + 1));
        struct lease *l = lease_find(c, str_of(b->of[i].job.text));
        if (!l || l->attempt != b->of[i].attempt)
            continue;
        if (ins >= 0) {
            lease_inputs(l, (uint64_t)ins);
        } else if (!l->ending) { /* else its own answer is on the way */
            lease_end(l);
            c->cb.on_fenced(c->cb.arg, b->of[i].job, b->of[i].attempt);
        }
    }
}

static void beat_send(struct beat *b, struct lease **leases)
{
    struct consumer *c = b->lane->c;
    struct keyset keys = lane_keys(b->lane, (struct str){0});
    struct call *call = call_script(c->q, SCRIPT_heartbeat, &keys, false);
    for (size_t i = 0; i < b->count; i++) {
        struct keyset job = lane_keys(b->lane, str_of(b->of[i].job.text));
        call_key(call, &job, "JOB");
    }
    call_cstr(call, c->worker);
    b->lane->told = lane_capacity(b->lane); /* always said: it also tells that the worker lives */
    call_int(call, b->lane->told);
    call_offer(call, b->lane, 0);
    for (size_t i = 0; i < b->count; i++) {
        call_int(call, leases[i]->attempt);
        call_cstr(call, leases[i]->entry);
        call_int(call, (int64_t)leases[i]->delivered);
        leases[i]->unacknowledged = 0;
    }
    call_go_keys(call, b->count, on_beat_answer, b);
}

/* One or more heartbeats, so that all leases of the lane are in; the last may have none. */
void lane_beat(struct lane *lane)
{
    struct lease *leases[BEAT_BATCH];
    struct beat *b = NULL;
    if (lane->beating || lane->c->left)
        return;
    lane->beating = true;
    idmap_each(l, &lane->c->leases, struct lease, node)
    {
        if (l->lane != lane)
            continue;
        if (!b)
            b = calloc(1, sizeof *b);
        if (!b)
            return;
        b->lane = lane;
        leases[b->count] = l;
        b->of[b->count].job = l->node.id;
        b->of[b->count++].attempt = l->attempt;
        if (b->count == BEAT_BATCH) {
            beat_send(b, leases);
            b = NULL;
        }
    }
    if (!b)
        b = calloc(1, sizeof *b);
    if (!b)
        return;
    b->lane = lane;
    b->whole = true;
    beat_send(b, leases);
}

void lanes_beat(struct consumer *c)
{
    for (size_t i = 0; c->q->ready && i < c->lane_count; i++)
        lane_beat(&c->lanes[i]);
}

/* ---- client events ------------------------------------------------------------------------------------------------ */

struct input_read {
    struct consumer *c;
    struct id job;
    uint32_t attempt;
    uint64_t ins; /* the last client event that was known of when it was sent */
    bool looking; /* what waits its turn is not to be told: it begins, or has come, behind what waits */
};

static struct lease *still_ours(const struct input_read *r)
{
    struct lease *l = r->c->q->closing ? NULL : lease_find(r->c, str_of(r->job.text));
    return l && l->attempt == r->attempt ? l : NULL;
}

static void inputs_send(struct lease *l);

static bool waits_its_turn(enum event_type type)
{
    return type == EV_INPUT || type == EV_EOF;
}

static void handed_on(struct lease *l, struct str id, const struct event *e)
{
    place_set(&l->read, id, e->seq);
    if (!event_is_client(e->type))
        return;
    l->delivered = e->seq;
    l->unacknowledged += e->bytes.n + e->data.n + 1;
}

/* One entry of the log. NULL: the lease has ended by what it was told. */
static struct lease *hand_input(struct input_read *r, struct lease *l, struct str id, const struct event *e)
{
    struct consumer *c = r->c;
    bool in_turn = waits_its_turn(e->type), taken = true;
    bool new = e->seq > (in_turn ? l->read.seq : l->looked.seq);
    if (event_is_client(e->type) && new && !(in_turn && r->looking)) {
        taken = c->cb.on_input(c->cb.arg, r->job, r->attempt, e) || !in_turn;
        if (!(l = still_ours(r)))
            return NULL;
    }
    if (!taken)
        r->looking = l->held = true;
    if (!r->looking && e->seq > l->read.seq)
        handed_on(l, id, e);
    if (e->seq > l->looked.seq)
        place_set(&l->looked, id, e->seq);
    return l;
}

/* Hands on what clients wrote. */
static struct lease *hand_inputs(struct input_read *r, const struct redis_value *v)
{
    struct lease *l = still_ours(r);
    for (size_t i = 0; l && i < v->count; i++) {
        struct event e;
        struct str id = redis_text(redis_item(&v->items[i], 0));
        if (entry_decode(&v->items[i], r->job, &e) == ERR_OK)
            l = hand_input(r, l, id, &e);
        else if (r->looking)
            place_set(&l->looked, id, l->looked.seq);
        else
            lease_begin(l, id);
    }
    return l;
}

static uint64_t reach(const struct lease *l)
{
    return l->held ? l->looked.seq : l->read.seq;
}

static void on_inputs(void *arg, const struct redis_value *v)
{
    auto_free struct input_read *r = arg;
    struct lease *l = still_ours(r);
    if (!l)
        return;
    l->reading = false;
    if (!v || v->type != REDIS_ARRAY)
        return; /* the next heartbeat's answer asks again */
    l->reading = true;
    l = hand_inputs(r, v);
    if (!l)
        return;
    l->reading = false;
    if (reach(l) < l->ins && (v->count == INPUT_PAGE || l->ins > r->ins || r->looking != l->held))
        inputs_send(l);
    else if (l->unacknowledged > ACKNOWLEDGE_BYTES)
        lane_beat(l->lane);
}

static void inputs_send(struct lease *l)
{
    struct input_read *r = malloc(sizeof *r);
    char from[EVENT_ID_MAX + 1];
    struct keyset keys = lease_keys(l);
    if (!r)
        return;
    const struct place *place = l->held ? &l->looked : &l->read;
    *r = (struct input_read){
        .c = l->lane->c, .job = l->node.id, .attempt = l->attempt, .ins = l->ins, .looking = l->held};
    snprintf(from, sizeof from, "(%s", place->id);
    struct call *call = call_plain(l->lane->c->q, "XRANGE");
    call_key(call, &keys, "LOG");
    call_cstr(call, strcmp(place->id, "0") == 0 ? "-" : from);
    call_cstr(call, "+");
    call_cstr(call, "COUNT");
    call_int(call, INPUT_PAGE);
    l->reading = true;
    call_go(call, on_inputs, r);
}

void lease_inputs(struct lease *l, uint64_t ins)
{
    if (ins > l->ins)
        l->ins = ins;
    if (l->ins > reach(l) && !l->reading)
        inputs_send(l);
}

void queue_take_inputs(struct queue *q, struct id job, uint32_t attempt)
{
    struct lease *l = lease_of(q, job, attempt);
    if (!l || !l->held)
        return;
    l->held = false;
    lease_inputs(l, l->ins);
}
