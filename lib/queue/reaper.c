/* SPDX-License-Identifier: Apache-2.0 */
/* Watches the leases of the other workers. A lease has lapsed when its attempt and heartbeat counter were the same
   for a whole lease by this process's monotonic clock, during which it could reach the store and was not stopped.
   What the store's clock says of idle times is not asked. */
#include "queue/consumer.h"

#include <string.h>

enum { PENDING_MAX = 2000, TOLD_MAX = 1000, WORKER_LEASES = 3 };

struct seen {
    char entry[EVENT_ID_MAX];
    struct id job; /* "" until it was read */
    int64_t attempt, hb, since_ns;
    bool asked; /* attempt and hb hold something */
};

struct told {
    char worker[NAME_MAX_LEN], text[64];
    int64_t since_ns;
};

static int64_t lease_ns(const struct lane *l)
{
    return (int64_t)l->c->q->options.lease_ms * 1000000;
}

void lane_watch_free(struct lane *l)
{
    free(l->seen);
    free(l->workers);
    l->seen = NULL;
    l->workers = NULL;
    l->seen_count = l->worker_count = 0;
}

/* ---- taking over -------------------------------------------------------------------------------------------------- */

struct look {
    struct lane *lane;
    char entry[EVENT_ID_MAX];
    struct id job;
    int64_t attempt, hb;
};

static void on_reaped(void *arg, const struct redis_value *v)
{
    auto_free struct look *k = arg;
    struct queue *q = k->lane->c->q;
    if (answer_of(v) != QUEUE_OK)
        return;
    q->stats.lease_takeovers++;
    log_warn("a lapsed lease was taken over", F_JOB(k->job.text, k->attempt));
}

static void reap(struct look *k, struct str session, struct str tenant)
{
    struct queue *q = k->lane->c->q;
    struct keyset keys = lane_keys(k->lane, str_of(k->job.text));
    keys.session = session;
    keys.tenant = tenant;
    struct call *call = call_script(q, SCRIPT_reap, &keys, false);
    call_cstr(call, k->job.text);
    call_cstr(call, q->options.key_prefix);
    call_cstr(call, k->entry);
    call_int(call, k->attempt);
    call_int(call, k->hb);
    call_int(call, q->options.max_attempts);
    call_go(call, on_reaped, k);
}

static struct seen *seen_find(struct lane *l, const char *entry)
{
    for (size_t i = 0; i < l->seen_count; i++) {
        if (strcmp(l->seen[i].entry, entry) == 0)
            return &l->seen[i];
    }
    return NULL;
}

static void on_head(void *arg, const struct redis_value *v)
{
    struct look *k = arg;
    struct seen *s = seen_find(k->lane, k->entry);
    int64_t now = clock_mono_ns();
    k->lane->looking--;
    if (!s || !v || v->type != REDIS_ARRAY) {
        free(k);
        return;
    }
    k->attempt = redis_integer(redis_item(v, 0));
    k->hb = redis_integer(redis_item(v, 1));
    if (!s->asked || s->attempt != k->attempt || s->hb != k->hb) {
        s->asked = true;
        s->attempt = k->attempt;
        s->hb = k->hb;
        s->since_ns = now;
        free(k);
    } else if (now - s->since_ns >= lease_ns(k->lane)) {
        s->since_ns = now; /* if it fails, again in a lease */
        reap(k, redis_text(redis_item(v, 2)), redis_text(redis_item(v, 3)));
    } else {
        free(k);
    }
}

static void ask_head(struct look *k)
{
    struct keyset keys = lane_keys(k->lane, str_of(k->job.text));
    struct call *call = call_plain(k->lane->c->q, "HMGET");
    call_key(call, &keys, "JOB");
    call_cstr(call, "attempt");
    call_cstr(call, "hb");
    call_cstr(call, "session");
    call_cstr(call, "tenant");
    call_go(call, on_head, k);
}

static void on_entry(void *arg, const struct redis_value *v)
{
    struct look *k = arg;
    struct lane *l = k->lane;
    struct seen *s = seen_find(l, k->entry);
    struct str job = redis_text(redis_item(redis_item(redis_item(v, 0), 1), 1));
    if (s && v && v->type == REDIS_ARRAY && id_parse(job, &k->job) == ERR_OK) {
        s->job = k->job;
        if (consumer_holds(l->c, job, str_of(k->entry))) {
            l->looking--;
            free(k);
        } else {
            ask_head(k);
        }
        return;
    }
    if (v && v->type == REDIS_ARRAY && v->count == 0) { /* its entry was deleted: nothing can come of it */
        struct keyset keys = lane_keys(l, (struct str){0});
        struct call *call = call_plain(l->c->q, "XACK");
        call_key(call, &keys, "READY");
        call_cstr(call, "w");
        call_cstr(call, k->entry);
        call_go(call, NULL, NULL);
    }
    l->looking--;
    free(k);
}

static void look_at(struct lane *l, struct seen *s)
{
    struct look *k = calloc(1, sizeof *k);
    if (!k)
        return;
    k->lane = l;
    memcpy(k->entry, s->entry, sizeof k->entry);
    k->job = s->job;
    l->looking++;
    if (s->job.text[0]) {
        ask_head(k);
        return;
    }
    struct keyset keys = lane_keys(l, (struct str){0});
    struct call *call = call_plain(l->c->q, "XRANGE");
    call_key(call, &keys, "READY");
    call_cstr(call, k->entry);
    call_cstr(call, k->entry);
    call_go(call, on_entry, k);
}

/* ---- the pending list --------------------------------------------------------------------------------------------- */

/* Both lists are in the order of stream ids. What the lane no longer has pending is forgotten. */
static void merge(struct lane *l, const struct redis_value *v)
{
    struct seen *next = calloc(v->count ? v->count : 1, sizeof *next);
    size_t count = 0, old = 0;
    if (!next)
        return;
    for (size_t i = 0; i < v->count; i++) {
        struct str entry = redis_text(redis_item(&v->items[i], 0));
        if (entry.n == 0 || entry.n >= sizeof next->entry)
            continue;
        struct seen *s = &next[count++];
        memcpy(s->entry, entry.p, entry.n);
        while (old < l->seen_count && event_id_compare(l->seen[old].entry, s->entry) < 0)
            old++;
        if (old < l->seen_count && strcmp(l->seen[old].entry, s->entry) == 0)
            *s = l->seen[old];
    }
    free(l->seen);
    l->seen = next;
    l->seen_count = count;
}

static bool is_ours(const struct lane *l, const struct seen *s)
{
    return s->job.text[0] && consumer_holds(l->c, str_of(s->job.text), str_of(s->entry));
}

static void on_pending(void *arg, const struct redis_value *v)
{
    struct lane *l = arg;
    l->looking--;
    if (!v || v->type != REDIS_ARRAY) {
        lane_watch_free(l); /* what was seen before the store was away says nothing */
        return;
    }
    merge(l, v);
    for (size_t i = 0; i < l->seen_count; i++) {
        if (!is_ours(l, &l->seen[i]))
            look_at(l, &l->seen[i]);
    }
}

static void scan_pending(struct lane *l)
{
    struct keyset keys = lane_keys(l, (struct str){0});
    struct call *call = call_plain(l->c->q, "XPENDING");
    call_key(call, &keys, "READY");
    call_cstr(call, "w");
    call_cstr(call, "-");
    call_cstr(call, "+");
    call_int(call, PENDING_MAX);
    l->looking++;
    call_go(call, on_pending, l);
}

/* ---- workers that are gone ---------------------------------------------------------------------------------------- */

static void sweep(struct lane *l, const struct told *t)
{
    struct keyset keys = lane_keys(l, (struct str){0});
    struct call *call = call_script(l->c->q, SCRIPT_leave, &keys, false);
    call_cstr(call, t->worker);
    call_cstr(call, t->text);
    call_go(call, NULL, NULL);
}

static struct told *told_find(struct lane *l, struct str worker)
{
    for (size_t i = 0; i < l->worker_count; i++) {
        if (str_eq(worker, str_of(l->workers[i].worker)))
            return &l->workers[i];
    }
    return NULL;
}

static void on_workers(void *arg, const struct redis_value *v)
{
    struct lane *l = arg;
    int64_t now = clock_mono_ns();
    l->looking--;
    size_t pairs = v && v->type == REDIS_ARRAY && v->count / 2 <= TOLD_MAX ? v->count / 2 : 0;
    struct told *next = calloc(pairs ? pairs : 1, sizeof *next);
    if (!next)
        return;
    for (size_t i = 0; i < pairs; i++) {
        struct str worker = redis_text(&v->items[2 * i]), text = redis_text(&v->items[2 * i + 1]);
        snprintf(next[i].worker, sizeof next[i].worker, STR_FMT, STR_ARG(worker));
        snprintf(next[i].text, sizeof next[i].text, STR_FMT, STR_ARG(text));
        struct told *old = told_find(l, worker);
        next[i].since_ns = old && str_eq(text, str_of(old->text)) ? old->since_ns : now;
        if (now - next[i].since_ns > WORKER_LEASES * lease_ns(l))
            sweep(l, &next[i]);
    }
    free(l->workers);
    l->workers = next;
    l->worker_count = pairs;
}

static void scan_workers(struct lane *l)
{
    struct keyset keys = lane_keys(l, (struct str){0});
    struct call *call = call_plain(l->c->q, "HGETALL");
    call_key(call, &keys, "WORKERS");
    l->looking++;
    call_go(call, on_workers, l);
}

void lanes_watch(struct consumer *c)
{
    int64_t now = clock_mono_ns();
    for (size_t i = 0; i < c->lane_count; i++) {
        struct lane *l = &c->lanes[i];
        if (l->looking > 0)
            continue;
        if (now - l->scanned_ns > lease_ns(l) * 3 / 4) /* it was we who stood still */
            lane_watch_free(l);
        l->scanned_ns = now;
        scan_pending(l);
        scan_workers(l);
    }
    janitor_run(c->q);
}
