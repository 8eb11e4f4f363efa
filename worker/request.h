/* SPDX-License-Identifier: Apache-2.0 */
/* The canonical request of a run, as the api wrote it:
     {"lang", "code", "args": [...], "stdin", "stdin_encoding": "base64"?, "expected_output": text?, "compare": "lines" | "tokens" | "exact"?, "env": {...}, "stdin_open",
   "retry", "state": "new" | "session"?, "if_state_version": n?, "files": [...], "workspace": true?, "limits": {canonical names of limits.def}}
   Checked again here: what comes out of a store is input.
 */
#ifndef MILLRACE_WORKER_REQUEST_H
#define MILLRACE_WORKER_REQUEST_H

#include "base/buf.h"
#include "worker/judge.h"
#include "json/json.h"

struct run_limits { /* one field for each row of limits.def, in canonical units */
#define X(symbol, field, canonical, fallback, min, max, scale, unit, setting, help) uint64_t canonical;
#include "schema/limits.def"
#undef X
};

/* What the run has to do with its session's state. */
enum run_state_use {
    RUN_STATE_NONE,
    RUN_STATE_NEW,     /* a fresh session: there is nothing to restore */
    RUN_STATE_SESSION, /* restored before, saved after */
};

struct run_request {
    json_t *root; /* owns what the views point at */
    struct str lang, code;
    struct buf stdin_bytes;
    const json_t *args; /* array of strings or NULL */
    const json_t *env;  /* object of strings or NULL */
    const json_t
        *files; /* references to input files {"id", "session", "name"}, or NULL; run_files.h reads them */
    struct run_limits limits;
    bool stdin_open;
    bool retry;
    bool at_end; /* its submitter reads nothing before the end */
    enum run_state_use state;
    int64_t if_state_version; /* -1: any */
    bool tools;               /* the program may call tools */
    bool judged;              /* something is expected of its output: */
    struct str expected;
    enum judge_compare compare;
    bool workspace; /* its session's files are its /mnt/data, before and after */
};

/* ERR_INVALID with the field in `info`; then *ret_request is untouched. */
MUST_CHECK enum err run_request_parse(struct str text, struct run_request *ret_request, struct errinfo *info);
void run_request_free(struct run_request *request); /* may be called twice */

#endif
