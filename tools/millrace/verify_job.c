/* SPDX-License-Identifier: Apache-2.0 */
/* One job: its log is folded, and its HASH and its places in the lists are compared with what came out. */
#include "base/clock.h"
#include "base/id.h"
#include "queue/archive.h"
#include "tools/millrace/verify_fold.h"
#include "json/json.h"

#include <stdio.h>
#include <string.h>

enum { PAGE_MAX = 256 << 20, PAIRS_MAX = 16, LEASE_MOST_MS = 600000 };
static const char page_entries[] = "64";

struct checked {
    struct verify *v;
    const char *job, *key;
    const struct redis_value *head; /* HGETALL */
    struct folded f;
    bool broken; /* the log cannot be folded: that was told */
};

static struct str held(const struct checked *c, const char *field)
{
    for (size_t i = 0; i + 1 < c->head->count; i += 2)
        if (str_eq(c->head->items[i].text, str_of(field)))
            return c->head->items[i + 1].text;
    return (struct str){0};
}

static int64_t held_int(const struct checked *c, const char *field)
{
    int64_t value = 0;
    return str_to_i64(held(c, field), &value) ? 0 : value;
}

/* ---- the log -------------------------------------------------------------------------------------------------------- */

static enum err decode(const struct redis_value *entry, struct event *ret_event)
{
    struct str fields[2 * PAIRS_MAX];
    const struct redis_value *list = redis_item(entry, 1);
    size_t count = list->count < 2 * PAIRS_MAX ? list->count : 2 * PAIRS_MAX;
    struct id none = {""};
    for (size_t i = 0; i < count; i++)
        fields[i] = redis_text(&list->items[i]);
    return event_decode(redis_text(redis_item(entry, 0)), none, fields, count / 2, ret_event);
}

/* False: no more is wanted. A running job's log goes on while we look: what lies behind the HASH's `last` is not yet in
   the HASH that we saw. */
static bool take_entry(struct checked *c, const struct redis_value *entry)
{
    struct event e;
    char id[EVENT_ID_MAX], last[EVENT_ID_MAX];
    snprintf(id, sizeof id, STR_FMT, STR_ARG(redis_text(redis_item(entry, 0))));
    snprintf(last, sizeof last, STR_FMT, STR_ARG(held(c, "last")));
    if (!held_int(c, "finished") && last[0] && event_id_compare(id, last) > 0)
        return false;
    if (decode(entry, &e)) {
        verify_differs(c->v, c->key, "log: entry %s cannot be read", id);
        c->broken = true;
        return false;
    }
    verify_fold(c->v, c->key, &c->f, &e);
    return true;
}

static void fold_log(struct checked *c)
{
    const char *log = verify_key(c->v, 1, "j:%s:log", c->job);
    char from[EVENT_ID_MAX + 1] = "-";
    for (bool more = true; more && !c->v->failed;) {
        auto_arena memory = ARENA_INIT(PAGE_MAX);
        const struct redis_value *page =
            store_ask(c->v->store, &memory, "XRANGE", log, from, "+", "COUNT", page_entries, NULL);
        c->v->failed = !page;
        more = page && page->count > 0;
        for (size_t i = 0; more && i < page->count; i++)
            more = take_entry(c, &page->items[i]);
        snprintf(from, sizeof from, "(%s", c->f.last);
    }
}

/* ---- the HASH ------------------------------------------------------------------------------------------------------- */

static void same_text(struct checked *c, const char *field, const char *should)
{
    struct str is = held(c, field);
    if (!str_eq(is, str_of(should)))
        verify_differs(c->v, c->key, "%s is '" STR_FMT "', the log says '%s'", field, STR_ARG(is), should);
}

static void same_int(struct checked *c, const char *field, int64_t should)
{
    if (held_int(c, field) != should)
        verify_differs(c->v, c->key, "%s is %lld, the log says %lld", field, (long long)held_int(c, field),
                       (long long)should);
}

static void check_head(struct checked *c)
{
    static const char *const priorities[] = {"interactive", "normal", "batch"};
    const struct folded *f = &c->f;
    int64_t prio = held_int(c, "prio");
    same_text(c, "status", f->status);
    same_text(c, "session", f->session);
    same_text(c, "lang", f->lang);
    same_text(c, "class", f->class_name);
    same_text(c, "worker", f->worker);
    same_text(c, "eid", f->queued_id);
    same_text(c, "last", f->last);
    same_int(c, "attempt", f->attempt);
    same_int(c, "seq", f->seq);
    same_int(c, "ms", f->ms);
    same_int(c, "created", f->created);
    same_int(c, "claimed", f->claimed);
    same_int(c, "started", f->started);
    same_int(c, "finished", f->finished);
    same_int(c, "released", f->released);
    same_int(c, "ins", f->ins);
    if (prio < 0 || prio > 2 || strcmp(priorities[prio], f->priority) != 0)
        verify_differs(c->v, c->key, "prio is %lld, the log says '%s'", (long long)prio, f->priority);
    if ((held(c, "cancel").p != NULL) != f->cancel)
        verify_differs(c->v, c->key, "cancel: the log says %s", f->cancel ? "requested" : "not requested");
    if (f->reasons)
        same_int(c, "fails", f->reasons);
}

/* ---- its places ------------------------------------------------------------------------------------------------------ */

/* One question that one number or text answers; NULL when there is none. */
static const char *ask_text(struct verify *v, struct arena *memory, const char *command, const char *key,
                            const char *member)
{
    const struct redis_value *is = store_ask(v->store, memory, command, key, member, NULL);
    v->failed = v->failed || !is;
    if (!is || is->type == REDIS_NIL)
        return NULL;
    return is->type == REDIS_INTEGER ? arena_printf(memory, "%lld", (long long)is->integer) : is->text.p;
}

static void check_score(struct checked *c, const char *name, const char *key, const char *member, bool wanted,
                        int64_t score)
{
    auto_arena memory = ARENA_INIT(1 << 20);
    const char *is = ask_text(c->v, &memory, "ZSCORE", key, member);
    char should[32] = "";
    if (wanted)
        snprintf(should, sizeof should, "%lld", (long long)score);
    if (!c->v->failed && strcmp(is ? is : "", should) != 0)
        verify_differs(c->v, c->key, "%s: its score is '%s', should be '%s'", name, is ? is : "", should);
}

/* An archiver's lease moves what is due to a time soon to come. */
static void check_due(struct checked *c)
{
    auto_arena memory = ARENA_INIT(1 << 20);
    const char *is = ask_text(c->v, &memory, "ZSCORE", verify_key(c->v, 1, "due"), c->job);
    int64_t due = c->f.finished + held_int(c, "ttl"), score = 0;
    if (c->v->failed)
        return;
    if (!is || str_to_i64(str_of(is), &score))
        verify_differs(c->v, c->key, "due: it has ended and is not in it");
    else if (score != due && (score < c->f.finished || score > clock_wall_ms() + LEASE_MOST_MS))
        verify_differs(c->v, c->key, "due: its score is %s, should be %lld", is, (long long)due);
}

static const char *cstr(struct arena *memory, struct str s)
{
    const char *text = arena_cstr(memory, s);
    return text ? text : "";
}

/* Queued: in the lane, or first of its session and in the backlog, or behind others of its session; one of them. */
static void check_queued(struct checked *c, const char *class_name, const char *tenant, bool behind)
{
    auto_arena memory = ARENA_INIT(1 << 20);
    const char *lane = arena_printf(&memory, "%s %s", class_name, c->job);
    const char *member = arena_printf(&memory, "%s %s %s", c->job, cstr(&memory, held(c, "cost")), tenant);
    const char *key = verify_key(c->v, 1, "c:%s:b%lld", class_name, (long long)held_int(c, "prio"));
    const char *is = ask_text(c->v, &memory, "ZSCORE", key, member);
    int64_t in_lane = tally_get(&c->v->lanes, lane);
    if (!c->v->failed && (is != NULL) + in_lane + behind != 1)
        verify_differs(c->v, c->key,
                       "queued: %d times in the backlog, %lld in the lane, %s its session's others",
                       is != NULL, (long long)in_lane, behind ? "behind" : "not behind");
    if (is && strcmp(is, cstr(&memory, held(c, "tag"))) != 0)
        verify_differs(c->v, c->key, "queued: its place in the backlog is %s, its tag " STR_FMT, is,
                       STR_ARG(held(c, "tag")));
}

static void check_running(struct checked *c, const char *class_name)
{
    auto_arena memory = ARENA_INIT(1 << 20);
    const char *key = verify_key(c->v, 1, "c:%s:ready", class_name), *entry = cstr(&memory, held(c, "entry"));
    const struct redis_value *pending =
        store_ask(c->v->store, &memory, "XPENDING", key, "w", entry, entry, "1", NULL);
    c->v->failed = c->v->failed || !pending;
    if (pending && pending->count != 1)
        verify_differs(c->v, c->key, "running: nobody holds a lease on its lane entry '%s'", entry);
}

/* Its place among the ordered jobs of its session: -1 none. */
static long long order_place(struct checked *c)
{
    auto_arena memory = ARENA_INIT(64 << 20);
    const char *key = verify_key(c->v, 1, "s:%s:order", c->f.session);
    const struct redis_value *list = store_ask(c->v->store, &memory, "LRANGE", key, "0", "-1", NULL);
    long long place = -1;
    c->v->failed = c->v->failed || !list;
    for (size_t i = 0; list && i < list->count; i++)
        if (str_starts(list->items[i].text, str_of(c->job)))
            place = (long long)i;
    return place;
}

static void count(struct checked *c, const char *key, const char *field, int64_t change)
{
    char name[VERIFY_KEY_MAX + 200];
    snprintf(name, sizeof name, "%s %s", key, field);
    tally_add(&c->v->expected, name, change);
}

/* Its time to give up waiting is set while it waits. A job of before there was such a time has no `wait`. */
static void check_waiting(struct checked *c, bool queued)
{
    auto_arena memory = ARENA_INIT(1 << 20);
    const char *is = ask_text(c->v, &memory, "ZSCORE", verify_key(c->v, 1, "waiting"), c->job);
    if (!c->v->failed && (is != NULL) != (queued && held_int(c, "wait") > 0))
        verify_differs(c->v, c->key, "waiting: it is %sin it and %s", is ? "" : "not ", c->f.status);
}

static void check_places(struct checked *c)
{
    auto_arena memory = ARENA_INIT(1 << 20);
    struct verify *v = c->v;
    const char *tenant = cstr(&memory, held(c, "tenant")), *class_name = cstr(&memory, held(c, "class"));
    const char *share = arena_printf(&memory, "r:%s", tenant), *mine = arena_printf(&memory, "t:%s", tenant);
    const char *fair = verify_key(v, 3, "c:%s:fair", class_name), *counts = verify_key(v, 2, "count");
    bool running = !strcmp(c->f.status, "running"), ordered = str_eq(held(c, "ordered"), STR("1"));
    long long place = ordered ? order_place(c) : -1;
    const char *lane = arena_printf(&memory, "%s %s", class_name, c->job);
    if (!share || !mine || !lane)
        return;
    count(c, counts, "bytes", held_int(c, "bytes"));
    count(c, counts, "jobs", !c->f.over);
    count(c, counts, mine, !c->f.over);
    count(c, fair, "run", running);
    count(c, fair, share, running || (!c->f.over && tally_get(&v->lanes, lane)));
    if (c->f.over)
        check_due(c);
    else
        check_score(c, "due", verify_key(v, 1, "due"), c->job, false, 0);
    check_score(c, "list of its tenant", verify_key(v, 1, "t:%s", tenant), c->job, true, c->f.created);
    if (ordered && (place >= 0) == c->f.over)
        verify_differs(v, c->key, "order of its session: place %lld", place);
    check_waiting(c, !running && !c->f.over);
    if (running)
        check_running(c, class_name);
    else if (!c->f.over)
        check_queued(c, class_name, tenant, place > 0);
}

static void check_request(struct checked *c)
{
    auto_arena memory = ARENA_INIT(1 << 20);
    const struct redis_value *len =
        store_ask(c->v->store, &memory, "STRLEN", verify_key(c->v, 1, "j:%s:req", c->job), NULL);
    c->v->failed = c->v->failed || !len;
    int64_t stored = c->f.stored + redis_integer(len), is = held_int(c, "bytes") + held_int(c, "owed");
    if (len && stored != is)
        verify_differs(c->v, c->key, "bytes and owed are %lld, log and request have %lld", (long long)is,
                       (long long)stored);
    struct str idem = held(c, "idem");
    if (!idem.n)
        return;
    const char *key = verify_key(c->v, 1, "i:" STR_FMT, STR_ARG(idem));
    const char *job = ask_text(c->v, &memory, "HGET", key, "job");
    if (!c->v->failed && (!job || strcmp(job, c->job) != 0))
        verify_differs(c->v, c->key, "its idempotency record names '%s'", job ? job : "");
}

/* What stays of a HASH whose log was archived. */
static void check_kept(struct checked *c)
{
    const struct folded *f = &c->f;
    same_text(c, "status", f->status);
    same_text(c, "session", f->session);
    same_text(c, "lang", f->lang);
    same_text(c, "eid", f->queued_id);
    same_text(c, "last", f->last);
    same_int(c, "attempt", f->attempt);
    same_int(c, "seq", f->seq);
    same_int(c, "ms", f->ms);
    same_int(c, "created", f->created);
    same_int(c, "started", f->started);
    same_int(c, "finished", f->finished);
}

/* Its log lies in the object store: it is read there, and what is left in Redis of it is compared. */
static void check_archived(struct checked *c)
{
    auto_arena memory = ARENA_INIT(1 << 20);
    struct verify *v = c->v;
    const char *tenant = cstr(&memory, held(c, "tenant"));
    struct str rest = held(c, "arch"), pack = str_split(&rest, ' ');
    bool gone = !ask_text(v, &memory, "ZSCORE", verify_key(v, 1, "packs"), cstr(&memory, pack));
    if (gone && !v->failed)
        verify_differs(v, c->key, "arch: there is no pack " STR_FMT, STR_ARG(pack));
    struct archive_place place;
    if (archive_place_parse(held(c, "arch"), &place) != ERR_OK)
        verify_differs(v, c->key, "arch: it says no place");
    else if (verify_pack(v, c->key, c->job, &place, &c->f))
        check_kept(c);
    c->f.finished = held_int(c, "finished");
    same_int(c, "bytes", 0);
    check_due(c);
    check_score(c, "list of its tenant", verify_key(v, 1, "t:%s", tenant), c->job, true,
                held_int(c, "created"));
}

void verify_job(struct verify *v, const char *job)
{
    auto_arena memory = ARENA_INIT(64 << 20);
    char key[VERIFY_KEY_MAX];
    snprintf(key, sizeof key, "%s", verify_key(v, 0, "j:%s", job));
    struct checked c = {.v = v, .job = job, .key = key};
    c.head = store_ask(v->store, &memory, "HGETALL", key, NULL);
    v->failed = v->failed || !c.head;
    if (!c.head || !c.head->count)
        return; /* gone since it was listed; what it left is found by verify_other_key */
    v->jobs++;
    if (held(&c, "arch").n) {
        check_archived(&c);
        return;
    }
    fold_log(&c);
    if (c.broken || v->failed)
        return;
    check_head(&c);
    check_request(&c);
    check_places(&c);
}
