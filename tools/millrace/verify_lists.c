/* SPDX-License-Identifier: Apache-2.0 */
/* Lists, records and counters: nothing may be in them that no job accounts for. */
#include "base/id.h"
#include "tools/millrace/verify_look.h"

#include <stdio.h>
#include <string.h>

enum { ANSWER_MAX = 512 << 20 };
static const char page_entries[] = "1000";

/* "c:<class>:ready" -> the class. */
static bool class_of(const struct verify *v, const char *key, const char *end, char *out, size_t size)
{
    const char *name = key + strlen(v->base);
    size_t n = strlen(name), tail = strlen(end);
    if (strncmp(name, "c:", 2) != 0 || n < 2 + tail || strcmp(name + n - tail, end) != 0)
        return false;
    snprintf(out, size, "%.*s", (int)(n - 2 - tail), name + 2);
    return true;
}

void verify_lanes(struct verify *v, const char *key)
{
    char class_name[200], name[300], from[64] = "-";
    if (!class_of(v, key, ":ready", class_name, sizeof class_name))
        return;
    for (bool more = true; more && !v->failed;) {
        auto_arena memory = ARENA_INIT(ANSWER_MAX);
        const struct redis_value *page =
            store_ask(v->store, &memory, "XRANGE", key, from, "+", "COUNT", page_entries, NULL);
        v->failed = !page;
        more = page && page->count > 0;
        for (size_t i = 0; more && i < page->count; i++) {
            struct str id = redis_text(redis_item(&page->items[i], 0));
            struct str job = redis_text(redis_item(redis_item(&page->items[i], 1), 1));
            snprintf(name, sizeof name, "%s " STR_FMT, class_name, STR_ARG(job));
            tally_add(&v->lanes, name, 1);
            snprintf(from, sizeof from, "(" STR_FMT, STR_ARG(id));
        }
    }
}

/* ---- members whose job has to exist --------------------------------------------------------------------------------- */

static bool exists(struct verify *v, const char *key)
{
    auto_arena memory = ARENA_INIT(1 << 20);
    const struct redis_value *is = store_ask(v->store, &memory, "EXISTS", key, NULL);
    v->failed = v->failed || !is;
    return !is || is->integer == 1;
}

static bool job_exists(struct verify *v, struct str job)
{
    char id[ID_LEN + 1];
    snprintf(id, sizeof id, STR_FMT, STR_ARG(job));
    return exists(v, verify_key(v, 0, "j:%s", id));
}

static void check_member(struct verify *v, const char *key, struct str member)
{
    struct str rest = member, job = str_split(&rest, ' ');
    if (!job_exists(v, job))
        verify_differs(v, key, "names the job " STR_FMT ", which does not exist", STR_ARG(job));
}

static void each_member(struct verify *v, const char *key,
                        void (*check)(struct verify *v, const char *key, struct str member))
{
    char from[32];
    size_t count = 1;
    for (long long at = 0; count > 0 && !v->failed; at += (long long)count) {
        auto_arena memory = ARENA_INIT(ANSWER_MAX);
        char until[32];
        snprintf(from, sizeof from, "%lld", at);
        snprintf(until, sizeof until, "%lld", at + 999);
        const struct redis_value *page = store_ask(v->store, &memory, "ZRANGE", key, from, until, NULL);
        v->failed = !page;
        count = page ? page->count : 0;
        for (size_t i = 0; i < count; i++)
            check(v, key, page->items[i].text);
    }
}

static void check_zset(struct verify *v, const char *key)
{
    each_member(v, key, check_member);
}

static void check_list(struct verify *v, const char *key)
{
    auto_arena memory = ARENA_INIT(ANSWER_MAX);
    const struct redis_value *all = store_ask(v->store, &memory, "LRANGE", key, "0", "-1", NULL);
    v->failed = v->failed || !all;
    for (size_t i = 0; all && i < all->count; i++)
        check_member(v, key, all->items[i].text);
}

static void check_record(struct verify *v, const char *key)
{
    auto_arena memory = ARENA_INIT(1 << 20);
    const struct redis_value *job = store_ask(v->store, &memory, "HGET", key, "job", NULL);
    v->failed = v->failed || !job;
    if (job)
        check_member(v, key, job->text);
}

static void check_job_part(struct verify *v, const char *key)
{
    check_member(v, key, (struct str){key + strlen(v->base) + 2, ID_LEN});
}

static void check_session_part(struct verify *v, const char *key)
{
    char session[ID_LEN + 1];
    snprintf(session, sizeof session, "%.*s", ID_LEN, key + strlen(v->base) + 2);
    if (!exists(v, verify_key(v, 0, "s:%s", session)))
        verify_differs(v, key, "its session does not exist");
}

static void check_session(struct verify *v, const char *key, struct str session)
{
    char name[ID_LEN + 1];
    snprintf(name, sizeof name, STR_FMT, STR_ARG(session));
    if (!exists(v, verify_key(v, 0, "s:%s", name)))
        verify_differs(v, key, "names the session %s, which does not exist", name);
}

static void check_sessions(struct verify *v, const char *key)
{
    each_member(v, key, check_session);
}

static void add_counters(struct verify *v, const char *key);

static void nothing(struct verify *v, const char *key)
{
    (void)v;
    (void)key;
}

/* What a key of the partition is by its name. */
static const struct kind {
    const char *begins, *ends;
    void (*check)(struct verify *v, const char *key);
} kinds[] = {
    {"j:", ":log", check_job_part},
    {"j:", ":req", check_job_part},
    {"j:", "", nothing},
    {"i:", "", check_record},
    {"t:", "", check_zset},
    {"s:", ":order", check_list},
    {"s:", ":log", check_session_part},
    {"s:", ":files", check_session_part},
    {"s:", ":states", check_session_part},
    {"s:", ":blobs", check_session_part},
    {"s:", "", nothing},
    {"sdue", "", check_sessions},
    {"sidle", "", check_sessions},
    {"sweep", "", nothing},
    {"drop", "", nothing},
    {"due", "", check_zset},
    {"waiting", "", check_zset},
    {"packs", "", nothing},
    {"count", "", add_counters},
    {"c:", ":b0", check_zset},
    {"c:", ":b1", check_zset},
    {"c:", ":b2", check_zset},
    {"c:", ":fair", add_counters},
    {"c:", ":ready", nothing},
    {"c:", ":workers", nothing},
    {"store", "", nothing},
};

void verify_other_key(struct verify *v, const char *key)
{
    const char *name = key + strlen(v->base);
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t tail = strlen(kinds[i].ends);
        if (strncmp(name, kinds[i].begins, strlen(kinds[i].begins)) == 0 && n >= tail &&
            strcmp(name + n - tail, kinds[i].ends) == 0) {
            kinds[i].check(v, key);
            return;
        }
    }
    v->other_keys++;
}

/* ---- counters --------------------------------------------------------------------------------------------------------- */

/* Which fields of `count` and `fair` are sums over jobs; the others are the scheduler's own. */
static bool is_sum(const char *field)
{
    return !strcmp(field, "jobs") || !strcmp(field, "bytes") || !strcmp(field, "run") ||
           !strncmp(field, "t:", 2) || !strncmp(field, "r:", 2);
}

static void add_counters(struct verify *v, const char *key)
{
    auto_arena memory = ARENA_INIT(ANSWER_MAX);
    const struct redis_value *all = store_ask(v->store, &memory, "HGETALL", key, NULL);
    v->failed = v->failed || !all;
    for (size_t i = 0; all && i + 1 < all->count; i += 2) {
        const char *field = all->items[i].text.p;
        if (!field || !is_sum(field))
            continue;
        const char *name = arena_printf(&memory, "%s %s", key, field);
        struct tally_row *row = name ? tally_find(&v->expected, name) : NULL;
        int64_t should = row ? row->count : 0;
        if (row)
            row->seen = true;
        if (redis_integer(&all->items[i + 1]) != should)
            verify_differs(v, key, "%s is " STR_FMT ", the logs say %lld", field,
                           STR_ARG(all->items[i + 1].text), (long long)should);
    }
}

void verify_counters(struct verify *v)
{
    for (size_t i = 0; i < v->expected.size; i++) {
        const struct tally_row *row = &v->expected.rows[i];
        if (row->name && row->count && !row->seen)
            verify_differs(v, row->name, "is missing, the logs say %lld", (long long)row->count);
    }
}
