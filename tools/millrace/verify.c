/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/verify.h"

#include "base/id.h"
#include "tools/millrace/cli.h"
#include "tools/millrace/verify_look.h"

#include <stdio.h>
#include <string.h>

enum { PAGE_MAX = 64 << 20, MOST_PRINTED = 1000 };
static const char scan_count[] = "1000";

/* ---- all keys of a partition -------------------------------------------------------------------------------------- */

/* What SCAN takes for a pattern: the base, with the characters that mean something to it escaped. */
static void pattern_of(const struct verify *v, char out[2 * VERIFY_KEY_MAX])
{
    char *to = out;
    for (const char *p = v->base; *p; p++) {
        if (strchr("*?[]\\^-", *p))
            *to++ = '\\';
        *to++ = *p;
    }
    memcpy(to, "*", 2);
}

static void each_key(struct verify *v, void (*visit)(struct verify *v, const char *key))
{
    char cursor[32] = "0", pattern[2 * VERIFY_KEY_MAX];
    struct tally seen; /* SCAN may tell a key twice */
    pattern_of(v, pattern);
    tally_init(&seen);
    do {
        auto_arena memory = ARENA_INIT(PAGE_MAX);
        const struct redis_value *page =
            store_ask(v->store, &memory, "SCAN", cursor, "MATCH", pattern, "COUNT", scan_count, NULL);
        const struct redis_value *keys = redis_item(page, 1);
        v->failed = v->failed || !page;
        snprintf(cursor, sizeof cursor, STR_FMT, STR_ARG(redis_text(redis_item(page, 0))));
        for (size_t i = 0; i < keys->count && !v->failed; i++) {
            const char *key = keys->items[i].text.p;
            if (key && strlen(key) < VERIFY_KEY_MAX && !tally_find(&seen, key)) {
                tally_add(&seen, key, 1);
                visit(v, key);
            }
        }
    } while (!v->failed && strcmp(cursor, "0") != 0);
    tally_free(&seen);
}

static void visit(struct verify *v, const char *key)
{
    const char *name = key + strlen(v->base);
    if (!strncmp(name, "j:", 2) && strlen(name) == 2 + ID_LEN && !strchr(name + 2, ':'))
        verify_job(v, name + 2);
    else if (!strncmp(name, "s:", 2) && strlen(name) == 2 + ID_LEN && !strchr(name + 2, ':'))
        verify_session(v, name + 2);
}

static void look_at(struct verify *v, unsigned partition)
{
    snprintf(v->base, sizeof v->base, "%s{p%02u}:", v->prefix, partition);
    v->partition = partition;
    tally_init(&v->expected);
    tally_init(&v->lanes);
    each_key(v, verify_lanes);
    if (v->only) {
        verify_job(v, v->only);
    } else {
        each_key(v, visit);
        each_key(v, verify_other_key);
        verify_counters(v);
    }
    tally_free(&v->expected);
    tally_free(&v->lanes);
}

/* ---- looks ----------------------------------------------------------------------------------------------------------- */

/* And the keys of the states, which may be made of the store's id. 0: it was told. */
static unsigned partitions_of(struct verify *v)
{
    auto_arena memory = ARENA_INIT(1 << 20);
    const struct config *config = &v->store->config;
    snprintf(v->base, sizeof v->base, "%s{p00}:", v->prefix);
    const struct redis_value *is =
        store_ask(v->store, &memory, "HMGET", verify_key(v, 0, "store"), "partitions", "epoch", NULL);
    int64_t count = is ? redis_integer(redis_item(is, 0)) : 0;
    if (is && state_keys_of(redis_text(redis_item(is, 1)), config->state_keys.items, config->state_keys.count,
                            &v->keys) != ERR_OK)
        count = 0;
    if (is && (count < 1 || count > 100))
        fprintf(stderr, "millrace: this Redis is not a store of Millrace (no key %s)\n",
                verify_key(v, 0, "store"));
    return count >= 1 && count <= 100 ? (unsigned)count : 0;
}

static void look(struct verify *v, unsigned partitions)
{
    v->jobs = v->sessions = v->events = v->other_keys = 0;
    for (unsigned p = 0; p < partitions && !v->failed; p++)
        if (!v->only || id_partition(str_of(v->only), partitions) == p)
            look_at(v, p);
    v->look++;
}

static size_t standing(const struct verify *v, bool print)
{
    size_t count = 0;
    for (size_t i = 0; i < v->found.size; i++) {
        const struct tally_row *row = &v->found.rows[i];
        if (!row->name || row->count < v->look)
            continue;
        count++;
        if (print && count <= MOST_PRINTED)
            puts(row->name);
    }
    return count;
}

static int verdict(const struct verify *v)
{
    if (v->failed)
        return EXIT_CANNOT;
    size_t count = standing(v, true);
    if (v->only && !v->jobs) {
        fprintf(stderr, "millrace: Redis has no such job\n");
        return EXIT_CANNOT;
    }
    fprintf(stderr, "millrace: %llu jobs, %llu sessions, %llu events, %zu differences\n",
            (unsigned long long)v->jobs, (unsigned long long)v->sessions, (unsigned long long)v->events,
            count);
    return count > 0;
}

int verify_run(const char *only, const char *file, const char *const *sets, size_t set_count)
{
    struct store store;
    if (only && !cli_is_job(only))
        return EXIT_USAGE;
    if (store_open(&store, file, sets, set_count))
        return EXIT_CANNOT;
    struct verify v = {.store = &store, .prefix = store.config.redis_key_prefix, .only = only};
    struct errinfo info = {0};
    unsigned partitions = partitions_of(&v);
    v.failed = !partitions;
    if (objects_open(&v.objects, &store.loop, &store.config, &info) != ERR_OK) {
        fprintf(stderr, "millrace: %s\n", info.text);
        store_close(&store);
        return EXIT_CANNOT;
    }
    tally_init(&v.found);
    do
        look(&v, partitions);
    while (!v.failed && standing(&v, false) && v.look < VERIFY_LOOKS);
    int code = verdict(&v);
    tally_free(&v.found);
    objects_close(&v.objects, NULL, NULL);
    store_close(&store);
    return code;
}
