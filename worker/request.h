/* SPDX-License-Identifier: Apache-2.0 */
/* The canonical request of a run, as the api wrote it:
     {"lang", "code", "args": [...], "stdin", "stdin_encoding": "base64"?, "env": {...}, "stdin_open", "retry",
      "limits": {"wall_ms","cpu_ms","memory_bytes","pids","nofile","output_bytes","fsize_bytes"}}
   Checked again here: what comes out of a store is input. */
#ifndef MILLRACE_WORKER_REQUEST_H
#define MILLRACE_WORKER_REQUEST_H

#include "base/buf.h"
#include "json/json.h"

/* Rows: X(field, "name", unit default when absent). The defaults are DECISIONS 2's. */
#define REQUEST_LIMITS(X)                                                                                    \
    X(wall_ms, 30000)                                                                                        \
    X(cpu_ms, 30000)                                                                                         \
    X(memory_bytes, 512ULL << 20)                                                                            \
    X(pids, 512)                                                                                             \
    X(nofile, 1024)                                                                                          \
    X(output_bytes, 16ULL << 20)                                                                             \
    X(fsize_bytes, 10ULL << 20)

struct run_limits {
#define X(field, fallback) uint64_t field;
    REQUEST_LIMITS(X)
#undef X
};

struct run_request {
    json_t *root;       /* owns what the views point at */
    struct str lang, code;
    struct buf stdin_bytes;
    const json_t *args; /* array of strings or NULL */
    const json_t *env;  /* object of strings or NULL */
    struct run_limits limits;
    bool stdin_open;
    bool retry;
};

/* ERR_INVALID with the field in `info`; then *ret_request is untouched. */
MUST_CHECK enum err run_request_parse(struct str text, struct run_request *ret_request, struct errinfo *info);
void run_request_free(struct run_request *request); /* may be called twice */

#endif
