/* SPDX-License-Identifier: Apache-2.0 */
/* The tool calls of a program that may make them (`"tools": true` in its request). A message of the program is
     {"calls": [{"id": N, "name": "...", "input": {...}}, ...], "more": true?}
   and each result goes back over the same connection as {"id": N, "result": ...} or {"id": N, "error": "..."}. Calls that come close together
   (`more`: others may follow) are told in one append, the last with `waits`. While a call waits for its result, the program's
   wall clock stands still, for TOOLS_PAUSE_MS at most.

   Clients abandon such programs without a word, so those of a tenant that wait in pods of a worker are bounded: the oldest is parked. Its pod is
   destroyed; when its results have come it is handed back and replayed. What may not run again ends as tools_timeout.

   A later attempt gets the results that the log has again: a call that was answered before (the same name and input) is answered at
   once, and is no event. Recorded results that nobody asks for by the time that a new call would be told: it went another way. */
#ifndef MILLRACE_WORKER_JOBRUN_TOOLS_H
#define MILLRACE_WORKER_JOBRUN_TOOLS_H

#include "queue/queue.h"
#include "worker/backend.h"

enum {
    TOOLS_CALLS_MAX = 1000,             /* of one run */
    TOOLS_BYTES_MAX = 32 * 1024 * 1024, /* of their names and inputs together */
    TOOLS_DRAFTS_MAX = 32,              /* told with one append */
    TOOLS_QUIET_MS = 40,                /* where more may come */
    TOOLS_GATHER_MAX_MS = 250,
};

struct run_tools;
struct jobrun;

MUST_CHECK enum err run_tools_open(uint64_t last_input, struct run_tools **ret_tools);
void run_tools_free(struct run_tools *t);
bool run_tools_waiting(const struct run_tools *t); /* the program waits for a client */
/* When calls are to be told: -1: there are none, else in so many ns. */
int64_t run_tools_due_ns(const struct run_tools *t, int64_t now_ns);

/* What happens to the job. */
void jobrun_on_tool_call(struct jobrun *run, struct str payload);
void jobrun_on_tool_result(struct jobrun *run, const struct event *event);
/* Puts the events of calls that are due behind the drafts that are there. */
void jobrun_tools_drafts(struct jobrun *run);
/* Recorded results that no call fits, though new ones wait to be told: ends the run. True: it does. */
bool jobrun_tools_diverged(struct jobrun *run);

#endif
