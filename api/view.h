/* SPDX-License-Identifier: Apache-2.0 */
/* What a reader knows of a job: the fold of its events. Pure; time comes from the events. `retried` resets
   it, so that it holds the last attempt only. */
#ifndef MILLRACE_API_VIEW_H
#define MILLRACE_API_VIEW_H

#include "schema/event.h"
#include "schema/reasons.h"

enum view_status {
    VIEW_QUEUED,
    VIEW_RUNNING,
    VIEW_COMPLETED,
    VIEW_FAILED,
    VIEW_TIMED_OUT,
    VIEW_CANCELLED,
    VIEW_DEAD,
};

struct view {
    enum view_status status;
    struct id job, session;
    uint32_t attempt;
    struct buf output[2]; /* stdout, stderr: the exact bytes */
    bool cut;             /* more output came than the view may hold */
    struct buf usage;     /* JSON object text of the last `usage` */
    struct buf started;   /* JSON object text of `started` */
    struct buf end;       /* JSON object text of the terminal event */
    struct buf files;     /* of every event `file`, with commas between */
    bool state_saved;
    struct buf state; /* JSON object text of `state_saved` or `state_kept` */
    int64_t created_ms, claimed_ms, ended_ms;
    char last_id[EVENT_ID_MAX];
};

/* `max_output`: bytes of each stream that are kept. */
void view_init(struct view *v, struct id job, struct id session, size_t max_output);
void view_free(struct view *v);
void view_apply(struct view *v, const struct event *event);
const char *view_status_name(enum view_status status);

/* view_files.c: `files`, and where there are any `refused_files` and `deleted_files`. */
void view_write_files(const struct view *v, struct buf *out);

/* The body of /exec and `result` of a job (DECISIONS 2, CONTRACT 2.1.3), without a line end:
   session_id, storage_session_id, stdout, stderr, files, exit_code, signal, timed_out, status (null | TO | SG | OL), job_status,
   reason, limit, stage, message, verdict?, oom, truncated, code, wall_time, job_id, attempt, usage, has_state, state_version?,
   state_size?, state_hash?, state_warnings?, stdout_base64?,
   stderr_base64?, runtime_session_id?, runtime_status?, refused_files?, deleted_files?. Where we ended the program, stderr ends with a line "[sandbox] <message>": it is what
   models are shown. */
void view_write_result(const struct view *v, struct buf *out);
/* The last answer of a programmatic run (CONTRACT 4.2): status `completed` or `error`, with the text that clients know. */
void view_write_programmatic(const struct view *v, struct buf *out);

/* What came so far, while it waits for its tools: `partial_stdout` and `partial_stderr`, each where there is any. */
void view_write_partial(const struct view *v, struct buf *out);

/* The run was not started because its session's state has another version than the request wants: this one. */
bool view_state_conflict(const struct view *v, uint64_t *ret_version);

#endif
