/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/preflight.h"

#include <string.h>

static const struct preflight_row rows[] = {
#define P(NAME, name, weight, text, lost, fix) {#name, text, lost, fix, PREFLIGHT_##weight},
#include "worker/spawner/preflight.def"
#undef P
};
_Static_assert(PREFLIGHT_COUNT <= 64, "a bit each");

const struct preflight_row *preflight_row(enum preflight p)
{
    return &rows[p];
}

enum preflight preflight_named(struct str name)
{
    enum preflight p = 0;
    while (p < PREFLIGHT_COUNT && !str_eq(name, str_of(rows[p].name)))
        p++;
    return p;
}

uint64_t preflight_acceptable(const char *name)
{
    enum preflight p = preflight_named(str_of(name));
    return p < PREFLIGHT_COUNT && rows[p].weight == PREFLIGHT_REFUSED ? 1ULL << p : 0;
}

static uint64_t of_weight(enum preflight_weight weight)
{
    uint64_t bits = 0;
    for (int i = 0; i < PREFLIGHT_COUNT; i++)
        bits |= rows[i].weight == weight ? 1ULL << i : 0;
    return bits;
}

uint64_t preflight_gaps(uint64_t missing, uint64_t accepted)
{
    return missing & accepted & of_weight(PREFLIGHT_REFUSED);
}

bool preflight_passes(uint64_t missing, uint64_t accepted)
{
    return (missing & ~of_weight(PREFLIGHT_TOLD) & ~preflight_gaps(missing, accepted)) == 0;
}

void preflight_write_names(uint64_t bits, const char *quote, struct buf *out)
{
    const char *before = "";
    for (int i = 0; i < PREFLIGHT_COUNT; i++) {
        if ((bits & 1ULL << i) == 0)
            continue;
        buf_printf(out, "%s%s%s%s", before, quote, rows[i].name, quote);
        before = ",";
    }
}

/* Names and texts of our own: nothing in them needs an escape. */
void preflight_write_missing(uint64_t missing, uint64_t accepted, struct buf *out)
{
    const char *before = "";
    buf_append_char(out, '[');
    for (int i = 0; i < PREFLIGHT_COUNT; i++) {
        uint64_t bit = 1ULL << i;
        if ((missing & bit) == 0)
            continue;
        buf_printf(out, "%s{\"name\":\"%s\",\"what\":\"%s\",\"lost\":\"%s\",\"fix\":\"%s\",\"accepted\":%s}",
                   before, rows[i].name, rows[i].text, rows[i].lost, rows[i].fix,
                   preflight_gaps(bit, accepted) != 0 ? "true" : "false");
        before = ",";
    }
    buf_append_char(out, ']');
}

static void write_state(enum preflight p, bool missing, bool accepted, struct buf *out)
{
    static const char *const lacking[] = {[PREFLIGHT_FATAL] = "MISSING, and no pod is safe without it",
                                          [PREFLIGHT_REFUSED] = "MISSING; accept with --accept-missing=",
                                          [PREFLIGHT_TOLD] = "missing, told only"};
    enum preflight_weight weight = rows[p].weight;
    if (!missing || (accepted && weight == PREFLIGHT_REFUSED)) {
        buf_append_cstr(out, missing ? "missing, accepted" : "ok");
        return;
    }
    buf_append_cstr(out, lacking[weight]);
    buf_append_cstr(out, weight == PREFLIGHT_REFUSED ? rows[p].name : "");
}

void preflight_write_table(const struct preflight_facts *facts, uint64_t accepted, struct buf *out)
{
    buf_printf(out, "%-18s %s\n", "host", facts->host);
    for (enum preflight p = 0; p < PREFLIGHT_COUNT; p++) {
        bool missing = (facts->missing & 1ULL << p) != 0;
        buf_printf(out, "%-18s ", rows[p].name);
        write_state(p, missing, (accepted & 1ULL << p) != 0, out);
        buf_printf(out, "%s%s  (%s)\n", facts->found[p][0] != '\0' ? ": " : "", facts->found[p],
                   rows[p].text);
        if (missing)
            buf_printf(out, "%-18s lost: %s\n%-18s to mend it: %s\n", "", rows[p].lost, "", rows[p].fix);
    }
}

/* ---- judging what was read ---- */

bool preflight_core_is_file(const char *pattern)
{
    return pattern != NULL && *pattern != '\0' && *pattern != '|';
}

bool preflight_io_uring_is_off(const char *disabled, bool there)
{
    return !there || (disabled != NULL && (*disabled == '1' || *disabled == '2'));
}

/* "0.20 0.18 0.12 1/80 11206": running and all threads. */
bool preflight_free_pids(const char *loadavg, const char *pid_max, uint64_t *ret_free)
{
    struct str rest = str_of(loadavg), all = {0};
    uint64_t used = 0, max = 0;
    for (int i = 0; i < 4; i++)
        all = str_split(&rest, ' ');
    (void)str_split(&all, '/'); /* those that run */
    struct str number = str_of(pid_max);
    number = str_split(&number, '\n');
    if (str_to_u64(all, &used) != ERR_OK || str_to_u64(number, &max) != ERR_OK)
        return false;
    *ret_free = max > used ? max - used : 0;
    return true;
}

bool preflight_available_mib(const char *meminfo, uint64_t *ret_mib)
{
    uint64_t kib = 0;
    for (struct str rest = str_of(meminfo); rest.p != NULL;) {
        struct str line = str_split(&rest, '\n');
        if (!str_eq(str_split(&line, ':'), STR("MemAvailable")))
            continue;
        line = str_trim(line);
        if (str_to_u64(str_split(&line, ' '), &kib) != ERR_OK)
            return false;
        *ret_mib = kib >> 10;
        return true;
    }
    return false;
}
