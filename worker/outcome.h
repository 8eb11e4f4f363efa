/* SPDX-License-Identifier: Apache-2.0 */
/* How a run ended (DECISIONS 2), decided from facts alone: pure. */
#ifndef MILLRACE_WORKER_OUTCOME_H
#define MILLRACE_WORKER_OUTCOME_H

#include "base/buf.h"
#include "schema/event.h"
#include "schema/reasons.h"
#include "worker/backend.h"

struct outcome_facts {
    bool exited; /* exit is there */
    struct frame_exit exit;
    bool staged; /* stage is there: a compile step ended */
    struct frame_exit stage;
    bool used; /* usage is there */
    struct pod_usage usage;
    bool lost; /* the pod was, and why */
    enum reason lost_reason;
    enum pod_end killed; /* why the worker ended it, PE_OWN: it did not */
    const char *refused; /* why the program could not start, one line; else NULL */
    enum reason refused_reason;
    uint64_t bytes[POD_STREAMS];
    bool judged, right; /* something was expected of its output, and that came */
    const char *gaps;   /* JSON array: the defences that were missing where it ran, as accepted; NULL: none */
    int64_t wall_ns;    /* by the worker's clock, for a pod that told no EXIT */
};

struct outcome {
    enum event_type type;
    enum reason reason; /* failed */
    const char *limit;  /* timed_out */
    bool truncated;     /* output was cut at its limit */
};

struct outcome outcome_decide(const struct outcome_facts *facts);
/* The JSON objects of the terminal event and of `usage`. Failure is sticky in `out`. */
void outcome_write(const struct outcome_facts *facts, const struct outcome *outcome, struct buf *out);
void outcome_write_usage(const struct outcome_facts *facts, const struct outcome *outcome, struct buf *out);

/* "SIGKILL"; NULL for a number without a name. And back: "INT" or "SIGINT" -> 2; 0: no such. */
const char *signal_name(int number);
int signal_number(struct str name);

#endif
