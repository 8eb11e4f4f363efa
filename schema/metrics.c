/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/metrics.h"

#include "schema/languages.h"
#include "schema/reasons.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef MILLRACE_VERSION
#define MILLRACE_VERSION "unknown"
#endif

enum kind { COUNTER, GAUGE, HISTOGRAM };
enum set { NONE, LANG, REASON, ROUTE, CLASS, STATUS, PRIORITY, REFUSAL, VERSION, STATE, MOVED };

static const struct row {
    const char *name, *help;
    enum kind kind;
    unsigned programs;
    enum set sets[2];
} rows[] = {
#define A METRICS_API
#define W METRICS_WORKER
#define V METRICS_ARCHIVER
#define X(symbol, name_, type_, programs_, first_, second_, help_)                                           \
    [METRIC_##symbol] = {.name = (name_),                                                                    \
                         .help = (help_),                                                                    \
                         .kind = type_,                                                                      \
                         .programs = (programs_),                                                            \
                         .sets = {first_, second_}},
#include "schema/metrics.def"
#undef X
#undef A
#undef W
#undef V
};

/* Upper bounds in nanoseconds: 0.5 ms to 60 s. */
static const int64_t buckets[] = {500000,     1000000,    2000000,     4000000,     8000000,    16000000,
                                  32000000,   64000000,   128000000,   256000000,   512000000,  1000000000,
                                  2000000000, 5000000000, 10000000000, 30000000000, 60000000000};
enum { BUCKETS = sizeof buckets / sizeof buckets[0], ROUTES_MAX = 64 };

struct series {
    uint64_t value; /* of a histogram: the count */
    bool touched;
    int64_t sum_ns;
    uint64_t *hits; /* BUCKETS of them, histograms only */
};

struct metrics {
    enum metric_program program;
    const char *const *routes;
    unsigned route_count;
    struct series *series[METRIC_COUNT]; /* NULL: not of this program */
};

static const char *const classes[] = {"1xx", "2xx", "3xx", "4xx", "5xx"};
static const char *const statuses[] = {"completed", "timed_out", "failed", "cancelled", "dead"};
static const char *const priorities[] = {"interactive", "normal", "batch"};
static const char *const refusals[] = {"invalid", "full", "store"};
static const char *const states[] = {"starting", "idle", "claimed", "running", "doomed"};
static const char *const moved[] = {"log", "state", "session"};
static const char *const versions[] = {MILLRACE_VERSION};

static const struct fixed_set {
    const char *label;
    const char *const *values; /* NULL: comes from a table */
    unsigned count;
} sets[] = {
    [NONE] = {.label = NULL, .count = 1},
    [LANG] = {.label = "lang", .count = LANG_COUNT + 1},
    [REASON] = {.label = "reason", .count = REASON_COUNT},
    [ROUTE] = {.label = "route"},
    [CLASS] = {.label = "class", .values = classes, .count = 5},
    [STATUS] = {.label = "status", .values = statuses, .count = 5},
    [PRIORITY] = {.label = "priority", .values = priorities, .count = 3},
    [REFUSAL] = {.label = "why", .values = refusals, .count = 3},
    [VERSION] = {.label = "version", .values = versions, .count = 1},
    [STATE] = {.label = "state", .values = states, .count = 5},
    [MOVED] = {.label = "what", .values = moved, .count = 3},
};

static unsigned set_count(const struct metrics *m, enum set set)
{
    return set == ROUTE ? m->route_count + 1 : sets[set].count;
}

static const char *set_value(const struct metrics *m, enum set set, unsigned place)
{
    if (sets[set].values != NULL)
        return sets[set].values[place];
    if (set == REASON)
        return reason_row((enum reason)place)->name;
    if (set == LANG && place < LANG_COUNT)
        return language_row((enum language)place)->id;
    if (set == ROUTE && place < m->route_count)
        return m->routes[place];
    return "other";
}

static unsigned series_count(const struct metrics *m, const struct row *row)
{
    return set_count(m, row->sets[0]) * set_count(m, row->sets[1]);
}

static enum err make_series(struct metrics *m, enum metric metric)
{
    const struct row *row = &rows[metric];
    unsigned count = series_count(m, row);
    m->series[metric] = calloc(count, sizeof(struct series));
    if (m->series[metric] == NULL)
        return ERR_NOMEM;
    for (unsigned i = 0; row->kind == HISTOGRAM && i < count; i++) {
        m->series[metric][i].hits = calloc(BUCKETS, sizeof(uint64_t));
        if (m->series[metric][i].hits == NULL)
            return ERR_NOMEM;
    }
    return ERR_OK;
}

enum err metrics_open(enum metric_program program, const char *const *routes, struct metrics **ret_metrics)
{
    struct metrics *m = calloc(1, sizeof *m);
    if (m == NULL)
        return ERR_NOMEM;
    m->program = program;
    m->routes = routes;
    while (routes != NULL && routes[m->route_count] != NULL && m->route_count < ROUTES_MAX)
        m->route_count++;
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        enum err e = (rows[i].programs & program) != 0 ? make_series(m, (enum metric)i) : ERR_OK;
        if (e != ERR_OK) {
            metrics_close(m);
            return e;
        }
    }
    metrics_set(m, METRIC_BUILD, 0, 1);
    *ret_metrics = m;
    return ERR_OK;
}

void metrics_close(struct metrics *m)
{
    for (unsigned i = 0; m != NULL && i < METRIC_COUNT; i++) {
        unsigned count = m->series[i] != NULL && rows[i].kind == HISTOGRAM ? series_count(m, &rows[i]) : 0;
        for (unsigned j = 0; j < count; j++)
            free(m->series[i][j].hits);
        free(m->series[i]);
    }
    free(m);
}

/* NULL when this program does not have the metric: then nothing is counted. */
static struct series *find(const struct metrics *m, enum metric metric, unsigned first, unsigned second)
{
    assert((unsigned)metric < METRIC_COUNT);
    if (m == NULL || m->series[metric] == NULL)
        return NULL;
    unsigned firsts = set_count(m, rows[metric].sets[0]), seconds = set_count(m, rows[metric].sets[1]);
    unsigned a = first < firsts ? first : firsts - 1, b = second < seconds ? second : seconds - 1;
    return &m->series[metric][a * seconds + b];
}

void metrics_add(struct metrics *m, enum metric metric, unsigned first, unsigned second, uint64_t by)
{
    struct series *s = find(m, metric, first, second);
    if (s == NULL)
        return;
    assert(rows[metric].kind == COUNTER);
    s->value += by;
    s->touched = true;
}

void metrics_set(struct metrics *m, enum metric metric, unsigned first, int64_t value)
{
    struct series *s = find(m, metric, first, 0);
    if (s == NULL)
        return;
    assert(rows[metric].kind != HISTOGRAM);
    s->value = (uint64_t)value;
    s->touched = true;
}

void metrics_observe_ns(struct metrics *m, enum metric metric, unsigned first, int64_t ns)
{
    struct series *s = find(m, metric, first, 0);
    if (s == NULL)
        return;
    assert(rows[metric].kind == HISTOGRAM);
    s->value++;
    s->sum_ns += ns;
    s->touched = true;
    for (unsigned i = 0; i < BUCKETS; i++)
        if (ns <= buckets[i]) {
            s->hits[i]++;
            return;
        }
}

uint64_t metrics_get(const struct metrics *m, enum metric metric, unsigned first, unsigned second)
{
    const struct series *s = find(m, metric, first, second);
    return s != NULL ? s->value : 0;
}

/* ---- text ---- */

static const char *const kind_names[] = {[COUNTER] = "counter", [GAUGE] = "gauge", [HISTOGRAM] = "histogram"};

static void write_labels(const struct metrics *m, const struct row *row, unsigned place, const char *le,
                         struct buf *out)
{
    unsigned seconds = set_count(m, row->sets[1]);
    const unsigned places[2] = {place / seconds, place % seconds};
    const char *between = "{";
    for (unsigned i = 0; i < 2; i++) {
        if (row->sets[i] == NONE)
            continue;
        buf_printf(out, "%s%s=\"%s\"", between, sets[row->sets[i]].label,
                   set_value(m, row->sets[i], places[i]));
        between = ",";
    }
    if (le != NULL) {
        buf_printf(out, "%sle=\"%s\"", between, le);
        between = ",";
    }
    buf_append_cstr(out, between[0] == ',' ? "} " : " ");
}

static void write_histogram(const struct metrics *m, const struct row *row, unsigned place,
                            const struct series *s, struct buf *out)
{
    uint64_t below = 0;
    for (unsigned i = 0; i <= BUCKETS; i++) {
        char le[32] = "+Inf";
        if (i < BUCKETS)
            snprintf(le, sizeof le, "%.10g", (double)buckets[i] / 1e9);
        below = i < BUCKETS ? below + s->hits[i] : s->value;
        buf_printf(out, "%s_bucket", row->name);
        write_labels(m, row, place, le, out);
        buf_printf(out, "%" PRIu64 "\n", below);
    }
    buf_printf(out, "%s_sum", row->name);
    write_labels(m, row, place, NULL, out);
    buf_printf(out, "%.9f\n%s_count", (double)s->sum_ns / 1e9, row->name);
    write_labels(m, row, place, NULL, out);
    buf_printf(out, "%" PRIu64 "\n", s->value);
}

static void write_value(const struct metrics *m, const struct row *row, unsigned place,
                        const struct series *s, struct buf *out)
{
    buf_append_cstr(out, row->name);
    write_labels(m, row, place, NULL, out);
    if (row->kind == GAUGE)
        buf_printf(out, "%" PRId64 "\n", (int64_t)s->value);
    else
        buf_printf(out, "%" PRIu64 "\n", s->value);
}

void metrics_write(const struct metrics *m, struct buf *out)
{
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        const struct row *row = &rows[i];
        if (m->series[i] == NULL)
            continue;
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name,
                   kind_names[row->kind]);
        unsigned count = series_count(m, row);
        for (unsigned j = 0; j < count; j++) {
            const struct series *s = &m->series[i][j];
            if (count > 1 && !s->touched)
                continue;
            (row->kind == HISTOGRAM ? write_histogram : write_value)(m, row, j, s, out);
        }
    }
}

struct metric_row metric_row(enum metric metric)
{
    const struct row *row = &rows[metric];
    return (struct metric_row){.name = row->name,
                               .type = kind_names[row->kind],
                               .help = row->help,
                               .programs = row->programs,
                               .labels = {sets[row->sets[0]].label, sets[row->sets[1]].label}};
}
