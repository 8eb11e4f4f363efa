/* SPDX-License-Identifier: Apache-2.0 */
/* Counters, gauges and histograms of a program, one row of metrics.def each, and their Prometheus text. Not
   shared between threads. A label outside its set counts as the last one ("other"). */
#ifndef MILLRACE_SCHEMA_METRICS_H
#define MILLRACE_SCHEMA_METRICS_H

#include "base/buf.h"

enum metric {
#define X(symbol, name, type, programs, first, second, help) METRIC_##symbol,
#include "schema/metrics.def"
#undef X
    METRIC_COUNT,
};

enum metric_program { METRICS_API = 1, METRICS_WORKER = 2, METRICS_ARCHIVER = 4 };

/* Values of the label sets. LANG: enum language, then "other". REASON: enum reason. ROUTE: names given to
   metrics_open(), then "other". */
enum metric_class { METRIC_1XX, METRIC_2XX, METRIC_3XX, METRIC_4XX, METRIC_5XX };
enum metric_status { METRIC_COMPLETED, METRIC_TIMED_OUT, METRIC_FAILED, METRIC_CANCELLED, METRIC_DEAD };
enum metric_refusal { METRIC_REFUSED_INVALID, METRIC_REFUSED_FULL, METRIC_REFUSED_STORE };
enum metric_moved { METRIC_MOVED_LOG, METRIC_MOVED_STATE, METRIC_MOVED_SESSION };
/* PRIORITY: interactive, normal, batch, as enum queue_priority. */

struct metrics;

/* `routes` (ends with NULL; may be NULL) must outlive it. ERR_NOMEM. */
MUST_CHECK enum err metrics_open(enum metric_program program, const char *const *routes,
                                 struct metrics **ret_metrics);
void metrics_close(struct metrics *m); /* NULL is fine */

/* `first` and `second` are places in the row's label sets, 0 where it has none. */
void metrics_add(struct metrics *m, enum metric metric, unsigned first, unsigned second,
                 uint64_t by); /* counters */
void metrics_set(struct metrics *m, enum metric metric, unsigned first,
                 int64_t value); /* gauges; counters kept elsewhere */
void metrics_observe_ns(struct metrics *m, enum metric metric, unsigned first, int64_t ns); /* histograms */
uint64_t metrics_get(const struct metrics *m, enum metric metric, unsigned first,
                     unsigned second); /* count of a histogram */

/* Text exposition format 0.0.4. Series that were never touched are left out when they have labels. */
void metrics_write(const struct metrics *m, struct buf *out);
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct metric_row {
    const char *name, *type, *help;
    unsigned programs;
    const char *labels[2]; /* NULL where it has none */
};
/* For the documentation. */
struct metric_row metric_row(enum metric metric);

#endif
