/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a job as pure functions: what each command does (decide), and what each event means (apply). The store's
   scripts decide; this is their model, and both read job_machine.def. No clock, no input or output, no allocation. */
#ifndef MILLRACE_SCHEMA_JOB_MACHINE_H
#define MILLRACE_SCHEMA_JOB_MACHINE_H

#include "schema/event.h"

enum job_state { JOB_none, JOB_queued, JOB_running, JOB_terminal, JOB_STATES };

#define JOB_COMMANDS(X)                                                                                      \
    X(submit)                                                                                                \
    X(claim)                                                                                                 \
    X(append) X(finish) X(heartbeat) X(send) X(cancel) X(requeue) X(reap) X(give) X(expire) X(overdue)
enum job_command {
#define X(name) JOB_CMD_##name,
    JOB_COMMANDS(X)
#undef X
        JOB_COMMAND_COUNT,
};

/* The first four are answers; the others say what follows when their guard holds. */
#define JOB_ACTIONS(X)                                                                                       \
    X(missing)                                                                                               \
    X(fenced)                                                                                                \
    X(conflict)                                                                                              \
    X(dup)                                                                                                   \
    X(accept)                                                                                                \
    X(start)                                                                                                 \
    X(again)                                                                                                 \
    X(step)                                                                                                  \
    X(over)                                                                                                  \
    X(beat)                                                                                                  \
    X(input)                                                                                                 \
    X(end)                                                                                                   \
    X(request)                                                                                               \
    X(hand)                                                                                                  \
    X(take)                                                                                                  \
    X(back)                                                                                                  \
    X(delete)                                                                                                \
    X(lapse)
enum job_action {
#define X(name) JOB_DO_##name,
    JOB_ACTIONS(X)
#undef X
};

enum job_answer { JOB_OK, JOB_DUP, JOB_FENCED, JOB_CONFLICT, JOB_MISSING, JOB_FULL };

enum {
    JOB_INBOX_MAX = 65536,
    JOB_INBOX_RESERVE = 4096,
    JOB_EVENTS_MAX = 16,
    JOB_ENTRY_MAX = EVENT_ID_MAX,
    JOB_WORKER_MAX = 32
};

/* The projection, as far as transitions depend on it. */
struct job {
    enum job_state state;
    enum event_type end; /* of a terminal job */
    uint32_t attempt, released, fails;
    uint64_t seq, n, hb, ins, inbox;
    bool retry, cancel;
    char entry[JOB_ENTRY_MAX], worker[JOB_WORKER_MAX];
};

struct job_input {
    enum job_command command;
    uint32_t attempt;
    uint64_t n, hb, read, size; /* read: client events read by the owner; size: of a client event */
    const char *entry, *worker;
    const enum event_type *drafts; /* append, finish; the client event of send */
    size_t count;
    uint32_t max_attempts;
    bool retry, counts, released; /* submit; requeue */
    bool pending, due, repeated;  /* facts of the lane, the clock, the sender's count */
};

struct job_decision {
    enum job_answer answer;
    size_t count;
    enum event_type events[JOB_EVENTS_MAX];
};

enum job_action job_action(enum job_state state, enum job_command command);
void job_decide(const struct job *job, const struct job_input *in, struct job_decision *ret_decision);

/* Folds one event: its type is all that these fields need. */
void job_apply(struct job *job, enum event_type type);
/* What a command that was answered `ok` changes besides its events: leases, counters, the inbox. */
void job_note(struct job *job, const struct job_input *in);

#endif
