/* SPDX-License-Identifier: Apache-2.0 */
/* What a host gives and what it lacks, by rows of preflight.def: pure. preflight_look.h finds it out. */
#ifndef MILLRACE_WORKER_SPAWNER_PREFLIGHT_H
#define MILLRACE_WORKER_SPAWNER_PREFLIGHT_H

#include "base/buf.h"

enum preflight {
#define P(NAME, name, weight, text, lost, fix) PREFLIGHT_##NAME,
#include "worker/spawner/preflight.def"
#undef P
    PREFLIGHT_COUNT
};

enum preflight_weight { PREFLIGHT_FATAL, PREFLIGHT_REFUSED, PREFLIGHT_TOLD };

struct preflight_row {
    const char *name, *text, *lost, *fix;
    enum preflight_weight weight;
};

enum { PREFLIGHT_FACT_MAX = 48 };

struct preflight_facts {
    uint64_t missing;                                /* bits of enum preflight */
    char host[128];                                  /* "Linux 6.1.0, cgroup v1 memory pids cpu" */
    char found[PREFLIGHT_COUNT][PREFLIGHT_FACT_MAX]; /* what was read: "ABI 4", "0"; or "" */
};

const struct preflight_row *preflight_row(enum preflight p);
/* PREFLIGHT_COUNT: there is none of this name. */
enum preflight preflight_named(struct str name);
/* Bit of `name`; 0 for an unknown name or a row that cannot be accepted. */
uint64_t preflight_acceptable(const char *name);
/* Of what is missing, that which somebody accepted: the gaps of every run here. */
uint64_t preflight_gaps(uint64_t missing, uint64_t accepted);
/* May pods be made? */
bool preflight_passes(uint64_t missing, uint64_t accepted);
/* landlock,swap_limit: each name in `quote`. Failure is sticky in `out`. */
void preflight_write_names(uint64_t bits, const char *quote, struct buf *out);
/* [{"name", "what", "lost", "fix", "accepted"}] of what is missing. */
void preflight_write_missing(uint64_t missing, uint64_t accepted, struct buf *out);
/* The table, one line each, and below a row that is missing what is lost and how to mend it. */
void preflight_write_table(const struct preflight_facts *facts, uint64_t accepted, struct buf *out);

/* ---- judging what was read ---- */

bool preflight_core_is_file(const char *pattern);
/* kernel.io_uring_disabled as it was read, NULL: there is no such file; `there`: the kernel has the call. */
bool preflight_io_uring_is_off(const char *disabled, bool there);
/* /proc/loadavg and kernel.pid_max. False: not to be read from these. */
MUST_CHECK bool preflight_free_pids(const char *loadavg, const char *pid_max, uint64_t *ret_free);
/* MemAvailable of /proc/meminfo, in MiB. */
MUST_CHECK bool preflight_available_mib(const char *meminfo, uint64_t *ret_mib);

#endif
