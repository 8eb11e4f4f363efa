/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the ready lanes: one connection for each partition, blocked in XREADGROUP while there is a free slot. */
#include "queue/consumer.h"
#include "queue/state.h"

#include "json/json.h"

#include <string.h>

enum { BLOCK_MS = 2000, RECOVER_PAGE = 100 };

struct keyset lane_keys(const struct lane *l, struct str job)
{
    return (struct keyset){.partition = l->partition, .class_name = str_of(l->class_name), .job = job};
}

static unsigned free_now(const struct consumer *c)
{
    return c->free_slots > c->claiming && !c->stopping ? c->free_slots - c->claiming : 0;
}

int64_t lane_capacity(const struct lane *l)
{
    return (int64_t)l->leases + l->claiming + free_now(l->c);
}

void call_capacity(struct call *call, struct lane *l)
{
    int64_t capacity = lane_capacity(l);
    if (capacity == l->told)
        call_cstr(call, "");
    else
        call_int(call, capacity);
    l->told = capacity;
}

void call_offer(struct call *call, struct lane *l, unsigned more)
{
    const struct consumer *c = l->c;
    call_cstr(call, c->q->process);
    call_int(call, c->stopping ? 0 : free_now(c) + more);
}

/* ---- claiming ----------------------------------------------------------------------------------------------------- */

struct claim {
    struct lane *lane;
    struct id job;
    char entry[EVENT_ID_MAX];
    struct list link;
};

static void hand_on(struct lane *lane, struct lease *l, const struct redis_value *v)
{
    struct consumer *c = lane->c;
    struct state_view state;
    struct claimed_job job = {
        .job = l->node.id,
        .session = l->session,
        .attempt = l->attempt,
        .tenant = redis_text(redis_item(v, 3)),
        .user = redis_text(redis_item(v, 4)),
        .lang = redis_text(redis_item(v, 5)),
        .request = redis_text(redis_item(v, 2)),
        .retry = redis_integer(redis_item(v, 7)) != 0,
        .created_ms = redis_integer(redis_item(v, 8)),
        .now_ms = redis_integer(redis_item(v, 9)),
        .last_seq = (uint64_t)redis_integer(redis_item(v, 10)),
        .last_input = (uint64_t)redis_integer(redis_item(v, 12)),
        .state = state_given(v, &state) ? &state : NULL,
    };
    uint64_t ins = job.last_input;
    struct id id = l->node.id;
    if (ins == 0) /* nothing to read yet: begin behind `claimed` */
        lease_begin(l, redis_text(redis_item(v, 11)));
    if (c->free_slots > 0)
        c->free_slots--;
    c->cb.on_job(c->cb.arg, &job);
    l = lease_find(c, str_of(id.text));
    if (l && l->attempt == job.attempt && ins > 0)
        lease_inputs(l, ins);
}

/* The job is ours: by a claim, or handed to us. */
static void claimed(struct lane *lane, struct id job, struct str entry, const struct redis_value *v)
{
    struct consumer *c = lane->c;
    struct lease *old = lease_find(c, str_of(job.text));
    if (old && old->attempt == (uint32_t)redis_integer(redis_item(v, 1)))
        return; /* told already */
    if (old) {
        uint32_t attempt = old->attempt;
        lease_end(old);
        c->cb.on_fenced(c->cb.arg, job, attempt);
    }
    struct lease *l = lease_new(lane, v, entry, job);
    if (!l)
        return; /* without memory: the lease lapses, and another worker takes it */
    if (c->stopping) {
        queue_requeue(c->q, job, l->attempt, STR("worker_drained"), false, NULL, NULL);
        return;
    }
    hand_on(lane, l, v);
    consumer_pump(c);
}

static void on_claim(void *arg, const struct redis_value *v)
{
    auto_free struct claim *claim = arg;
    struct lane *lane = claim->lane;
    struct consumer *c = lane->c;
    list_remove(&claim->link);
    lane->claiming--;
    c->claiming--;
    enum queue_answer answer = answer_of(v);
    if (answer == QUEUE_OK || answer == QUEUE_DUP)
        claimed(lane, claim->job, str_of(claim->entry), v);
    else if (!c->q->closing)
        consumer_pump(c);
}

static struct lane *lane_named(struct consumer *c, unsigned partition, struct str class_name)
{
    for (size_t i = 0; i < c->lane_count; i++) {
        if (c->lanes[i].partition == partition && str_eq(class_name, str_of(c->lanes[i].class_name)))
            return &c->lanes[i];
    }
    return NULL;
}

void consumer_handed(struct queue *q, struct str message)
{
    struct handed h;
    struct consumer *c = q->consumer;
    if (handed_parse(message, &h) != ERR_OK || c->q->closing)
        return;
    struct lane *lane = lane_named(c, id_partition(str_of(h.job.text), q->partitions), h.class_name);
    if (!lane || h.entry.n >= EVENT_ID_MAX)
        return;
    if (h.answer.count > 0)
        claimed(lane, h.job, h.entry, &h.answer);
    else
        lane_take(lane, h.entry, str_of(h.job.text));
}

static void send_claim(struct lane *lane, struct str entry, struct id job)
{
    struct consumer *c = lane->c;
    struct queue *q = c->q;
    struct claim *claim = calloc(1, sizeof *claim);
    if (!claim)
        return;
    claim->lane = lane;
    claim->job = job;
    snprintf(claim->entry, sizeof claim->entry, STR_FMT, STR_ARG(entry));
    list_append(&c->claims, &claim->link);
    lane->claiming++;
    c->claiming++;
    struct keyset keys = lane_keys(lane, str_of(job.text));
    struct call *call = call_script(q, SCRIPT_claim, &keys, true);
    call_cstr(call, job.text);
    call_cstr(call, q->options.key_prefix);
    call_str(call, entry);
    call_cstr(call, c->worker);
    call_capacity(call, lane);
    call_offer(call, lane, 0);
    call_go(call, on_claim, claim);
}

static void send_give(struct lane *lane, struct str entry, struct str job)
{
    struct keyset keys = lane_keys(lane, job);
    struct call *call = call_script(lane->c->q, SCRIPT_give, &keys, true);
    call_str(call, job);
    call_cstr(call, lane->c->q->options.key_prefix);
    call_str(call, entry);
    call_go(call, NULL, NULL);
}

bool consumer_holds(struct consumer *c, struct str job, struct str entry)
{
    struct lease *l = lease_find(c, job);
    if (l && str_eq(entry, str_of(l->entry)))
        return true;
    list_each(it, &c->claims, struct claim, link)
    {
        if (str_eq(entry, str_of(it->entry)) && str_eq(job, str_of(it->job.text)))
            return true;
    }
    return false;
}

void lane_take(struct lane *lane, struct str entry, struct str job)
{
    struct id id;
    if (id_parse(job, &id) != ERR_OK || entry.n >= EVENT_ID_MAX || consumer_holds(lane->c, job, entry))
        return;
    if (free_now(lane->c) > 0)
        send_claim(lane, entry, id);
    else
        send_give(lane, entry, job);
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static struct lane *lane_of(struct consumer *c, unsigned partition, struct str key)
{
    for (size_t i = 0; i < c->lane_count; i++) {
        struct lane *l = &c->lanes[i];
        auto_buf ready = BUF_INIT(512);
        struct keyset keys = lane_keys(l, (struct str){0});
        if (l->partition != partition)
            continue;
        key_write(c->q, &keys, STR("READY"), &ready);
        if (str_eq(buf_str(&ready), key))
            return l;
    }
    return NULL;
}

/* [[lane, [[entry, ["j", job]], ...]], ...] */
static void take_entries(struct port *p, const struct redis_value *v)
{
    for (size_t i = 0; v && v->type == REDIS_ARRAY && i < v->count; i++) {
        struct lane *l = lane_of(p->c, p->partition, redis_text(redis_item(&v->items[i], 0)));
        const struct redis_value *entries = redis_item(&v->items[i], 1);
        for (size_t k = 0; l && k < entries->count; k++) {
            const struct redis_value *e = &entries->items[k];
            lane_take(l, redis_text(redis_item(e, 0)), redis_text(redis_item(redis_item(e, 1), 1)));
        }
    }
}

static void make_groups(struct port *p);

static void on_read(void *arg, const struct redis_value *v)
{
    struct port *p = arg;
    p->reading = false;
    if (!v || p->c->q->closing)
        return;
    if (v->type == REDIS_ERROR) {
        /* The lane was deleted: it is made anew, and read from its beginning, in the next second. */
        p->recovered = false;
        if (!str_starts(v->text, STR("NOGROUP")) && !str_starts(v->text, STR("UNBLOCKED"))) {
            (void)store_error(p->c->q, v->text); /* told to the store's watch; here the same follows always */
            redis_reset(p->conn, "a lane can not be read");
        }
        return;
    }
    take_entries(p, v);
    consumer_pump(p->c);
}

static void read_lanes(struct port *p, const char *count, const char *from, bool block)
{
    struct str args[12 + 2 * MAX_CLASSES];
    struct buf keys[MAX_CLASSES];
    struct consumer *c = p->c;
    char block_ms[12];
    size_t n = 0, lanes = 0;
    snprintf(block_ms, sizeof block_ms, "%d", BLOCK_MS);
    args[n++] = STR("XREADGROUP");
    args[n++] = STR("GROUP");
    args[n++] = STR("w");
    args[n++] = str_of(c->worker);
    args[n++] = STR("COUNT");
    args[n++] = str_of(count);
    if (block) {
        args[n++] = STR("BLOCK");
        args[n++] = str_of(block_ms);
    }
    args[n++] = STR("STREAMS");
    for (size_t i = 0; i < c->lane_count; i++) {
        if (c->lanes[i].partition != p->partition)
            continue;
        struct keyset k = lane_keys(&c->lanes[i], (struct str){0});
        keys[lanes] = BUF_INIT(512);
        key_write(c->q, &k, STR("READY"), &keys[lanes]);
        args[n++] = buf_str(&keys[lanes++]);
    }
    for (size_t i = 0; i < lanes; i++)
        args[n++] = str_of(from);
    p->reading = redis_command(p->conn, args, n, BLOCK_MS + 3000, on_read, p) == ERR_OK;
    for (size_t i = 0; i < lanes; i++)
        buf_free(&keys[i]);
}

void consumer_pump(struct consumer *c)
{
    char count[12];
    unsigned slots = free_now(c);
    if (slots == 0 || !c->q->ready)
        return;
    /* Several partitions deliver at the same time: one each, and what is too many goes back. */
    snprintf(count, sizeof count, "%u", c->port_count == 1 ? slots : 1);
    for (size_t i = 0; i < c->port_count; i++) {
        struct port *p = &c->ports[i];
        if (p->reading || p->groups_left > 0 || !redis_up(p->conn))
            continue;
        if (p->recovered)
            read_lanes(p, count, ">", true);
        else
            make_groups(p);
    }
}

void consumer_look_again(struct queue *q)
{
    for (size_t i = 0; q->consumer && i < q->consumer->port_count; i++)
        q->consumer->ports[i].recovered = false;
}

/* What was delivered to us before a connection was lost, and never seen. */
static void on_recovered(void *arg, const struct redis_value *v)
{
    struct port *p = arg;
    p->reading = false;
    if (!v || p->c->q->closing)
        return;
    p->recovered = true;
    take_entries(p, v);
    consumer_pump(p->c);
}

static void recover(struct port *p)
{
    /* Without BLOCK and with an id: the entries that are pending for this consumer. */
    struct consumer *c = p->c;
    char count[12];
    snprintf(count, sizeof count, "%d", RECOVER_PAGE);
    for (size_t i = 0; i < c->lane_count; i++) {
        struct lane *l = &c->lanes[i];
        if (l->partition != p->partition)
            continue;
        auto_buf key = BUF_INIT(512);
        struct keyset k = lane_keys(l, (struct str){0});
        key_write(c->q, &k, STR("READY"), &key);
        struct str args[] = {STR("XREADGROUP"), STR("GROUP"),  STR("w"),
                             str_of(c->worker), STR("COUNT"),  str_of(count),
                             STR("STREAMS"),    buf_str(&key), STR("0")};
        p->reading = redis_command(p->conn, args, sizeof args / sizeof *args, 0, on_recovered, p) == ERR_OK;
    }
}

static void on_group(void *arg, const struct redis_value *v)
{
    struct port *p = arg;
    if (!v || p->c->q->closing) /* BUSYGROUP: it was there, fine */
        return;
    if (v->type == REDIS_ERROR && !str_starts(v->text, STR("BUSYGROUP")))
        (void)store_error(p->c->q, v->text);
    if (--p->groups_left == 0)
        recover(p);
}

static void on_client_id(void *arg, const struct redis_value *v)
{
    struct port *p = arg;
    p->client_id = v ? redis_integer(v) : 0;
}

static void make_groups(struct port *p)
{
    struct consumer *c = p->c;
    p->groups_left = 0;
    p->recovered = false;
    enum err e = redis_command(p->conn, (struct str[]){STR("CLIENT"), STR("ID")}, 2, 0, on_client_id, p);
    for (size_t i = 0; !e && i < c->lane_count; i++) {
        struct lane *l = &c->lanes[i];
        if (l->partition != p->partition)
            continue;
        auto_buf key = BUF_INIT(512);
        struct keyset k = lane_keys(l, (struct str){0});
        key_write(c->q, &k, STR("READY"), &key);
        struct str args[] = {STR("XGROUP"), STR("CREATE"), buf_str(&key),
                             STR("w"),      STR("0"),      STR("MKSTREAM")};
        e = redis_command(p->conn, args, 6, 0, on_group, p);
        p->groups_left += !e;
    }
}

/* ---- connections -------------------------------------------------------------------------------------------------- */

static void on_port_state(void *arg, bool up, const char *why)
{
    struct port *p = arg;
    (void)why; /* the command connection says it */
    p->reading = false;
    p->recovered = false;
    p->groups_left = 0;
    if (up && p->c->q->ready)
        make_groups(p);
}

static void open_ports(struct consumer *c)
{
    struct queue *q = c->q;
    c->port_count = q->partitions;
    c->lane_count = q->partitions * c->class_count;
    c->ports = calloc(c->port_count, sizeof *c->ports);
    c->lanes = calloc(c->lane_count, sizeof *c->lanes);
    if (!c->ports || !c->lanes)
        abort(); /* at start: a worker that cannot hold its lanes is of no use */
    for (size_t i = 0; i < c->lane_count; i++) {
        c->lanes[i] = (struct lane){.c = c,
                                    .partition = (unsigned)(i / c->class_count),
                                    .class_name = c->classes[i % c->class_count],
                                    .told = -1};
    }
    for (size_t i = 0; i < c->port_count; i++) {
        struct port *p = &c->ports[i];
        struct redis_options o = {
            .ca_file = q->options.ca_file,
            .connect_timeout_ms = q->options.connect_timeout_ms,
            .command_timeout_ms = q->options.command_timeout_ms,
            .on_state = on_port_state,
            .arg = p,
        };
        p->c = c;
        p->partition = (unsigned)i;
        if (redis_url_parse(str_of(q->options.redis_url), &o.url, NULL) != ERR_OK ||
            redis_open(q->loop, &o, &p->conn, NULL) != ERR_OK)
            abort();
        part_opened(q);
    }
}

void consumer_connected(struct queue *q)
{
    struct consumer *c = q->consumer;
    if (!c)
        return;
    if (!c->ports)
        open_ports(c);
    for (size_t i = 0; i < c->port_count; i++) {
        struct port *p = &c->ports[i];
        if (redis_up(p->conn) && !p->reading && p->groups_left == 0)
            make_groups(p);
    }
    lanes_beat(c);
}

void consumer_second(struct queue *q)
{
    struct consumer *c = q->consumer;
    if (!c || !q->ready)
        return;
    for (size_t i = 0; i < c->port_count; i++) {
        struct port *p = &c->ports[i];
        if (redis_up(p->conn) && !p->reading && p->groups_left == 0 && !p->recovered)
            make_groups(p);
    }
    consumer_pump(c);
}

/* ---- interface ---------------------------------------------------------------------------------------------------- */

static void on_beat(uv_timer_t *timer)
{
    lanes_beat(timer->data);
}

static void on_watch(uv_timer_t *timer)
{
    struct consumer *c = timer->data;
    if (c->q->ready)
        lanes_watch(c);
}

void queue_consume(struct queue *q, struct str worker, const char *const *classes, size_t count,
                   const struct consumer_callbacks *callbacks)
{
    struct consumer *c = calloc(1, sizeof *c);
    if (!c || q->consumer || count == 0 || count > MAX_CLASSES || worker.n == 0 ||
        worker.n >= sizeof c->worker)
        abort(); /* a programmer's error, or no memory at start */
    c->q = q;
    c->cb = *callbacks;
    c->class_count = count;
    memcpy(c->worker, worker.p, worker.n);
    for (size_t i = 0; i < count; i++) {
        remember_class(q, str_of(classes[i]));
        for (size_t k = 0; k < q->class_count; k++) {
            if (strcmp(q->classes[k], classes[i]) == 0)
                c->classes[i] = q->classes[k];
        }
    }
    idmap_init(&c->leases);
    list_init(&c->claims);
    uint64_t watch_ms = q->options.lease_ms / 4 > 5000 ? 5000 : q->options.lease_ms / 4 + 1;
    uv_timer_init(q->loop, &c->beat);
    uv_timer_init(q->loop, &c->watch);
    c->beat.data = c->watch.data = c;
    uv_timer_start(&c->beat, on_beat, q->options.heartbeat_ms, q->options.heartbeat_ms);
    uv_timer_start(&c->watch, on_watch, watch_ms, watch_ms);
    c->timers = 2;
    part_opened(q);
    part_opened(q);
    q->consumer = c;
    if (q->ready)
        consumer_connected(q);
}

void queue_consume_slots(struct queue *q, unsigned free_slots)
{
    struct consumer *c = q->consumer;
    if (!c || c->stopping)
        return;
    c->free_slots = free_slots;
    /* More than the store knows of: say so at once, or the lanes stay as short as they are. */
    for (size_t i = 0; c->q->ready && i < c->lane_count; i++) {
        if (lane_capacity(&c->lanes[i]) > c->lanes[i].told && c->leases.count == 0)
            lane_beat(&c->lanes[i]);
    }
    consumer_pump(c);
}

static void unblock(struct port *p)
{
    if (!p->reading || p->client_id == 0)
        return;
    struct call *call = call_plain(p->c->q, "CLIENT");
    call_cstr(call, "UNBLOCK");
    call_int(call, p->client_id);
    call_go(call, NULL, NULL);
}

void queue_consume_stop(struct queue *q)
{
    struct consumer *c = q->consumer;
    if (!c || c->stopping)
        return;
    c->stopping = true;
    c->free_slots = 0;
    for (size_t i = 0; i < c->port_count; i++)
        unblock(&c->ports[i]);
    lanes_beat(c);
}

void consumer_message(struct queue *q, const struct message *m)
{
    struct lease *l = lease_find(q->consumer, str_of(m->job.text));
    uint64_t last = m->count == 0 ? m->seq : 0;
    for (size_t i = 0; i < m->count; i++) {
        if (event_is_client(m->events[i].type))
            last = m->events[i].seq;
    }
    if (l && last > 0)
        lease_inputs(l, last);
}

/* ---- end ---------------------------------------------------------------------------------------------------------- */

static void on_consumer_timer_closed(uv_handle_t *handle)
{
    struct consumer *c = handle->data;
    struct queue *q = c->q;
    if (--c->timers == 0) {
        free(c->ports);
        free(c->lanes);
        free(c);
    }
    part_closed(q);
}

void consumer_close(struct queue *q)
{
    struct consumer *c = q->consumer;
    if (!c)
        return;
    c->stopping = true;
    for (size_t i = 0; i < c->port_count; i++)
        redis_close(c->ports[i].conn, part_closed, q);
    calls_fail_all(q); /* claims and steps under way */
    idmap_each(l, &c->leases, struct lease, node) lease_end(l);
    for (size_t i = 0; i < c->lane_count; i++)
        lane_watch_free(&c->lanes[i]);
    q->consumer = NULL;
    uv_close((uv_handle_t *)&c->beat, on_consumer_timer_closed);
    uv_close((uv_handle_t *)&c->watch, on_consumer_timer_closed);
}
