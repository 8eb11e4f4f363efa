/* SPDX-License-Identifier: Apache-2.0 */
/* The body of POST /exec and POST /v1/jobs becomes the canonical request that workers run
   (schema/PROTOCOL.md). Pure. Fields: lang, code, args, stdin, stdin_encoding ("base64"), expected_output, compare, env, the fields of
   limits.def, timeout, priority, retry, state, if_state_version, detach, interactive, session_id, files. Others are ignored: clients send
   what their models make up (CONTRACT 2.1.1). */
#ifndef MILLRACE_API_EXEC_REQUEST_H
#define MILLRACE_API_EXEC_REQUEST_H

#include "api/fault.h"
#include "base/id.h"
#include "queue/queue.h"
#include "schema/languages.h"
#include "schema/limits.h"
#include "json/json.h"

/* Of one request, so that one process image and one event stay small. */
enum {
    EXEC_ARGS_MAX = 1024,
    EXEC_ARG_BYTES = 128 * 1024 - 1, /* the kernel's MAX_ARG_STRLEN */
    EXEC_ARGS_BYTES = 1024 * 1024,   /* all of args and env together */
    EXEC_ENV_MAX = 256,
    EXEC_STDIN_BYTES = 16 * 1024 * 1024,
    EXEC_EXPECTED_BYTES = 16 * 1024 * 1024,
    EXEC_HINT_MAX = 128,
    EXEC_FILES_MAX = 256, /* references to input files */
    EXEC_FILES_BYTES = 1024 * 1024,
    EXEC_COST_MS = 100, /* what a run is taken to cost before it is known */
};

struct exec_rules {
    struct limit_bounds bounds;
    size_t max_code;
    bool state;                 /* Python programs of a session keep their variables */
    const char *const *refused; /* by language: why none of it is taken, or NULL; NULL: all are taken */
    bool tools;                 /* the program may call tools */
    bool stateful;              /* runtime_session_hint names a workspace; else it is ignored */
    bool sync;                  /* /exec: args of any scalars, session_id advisory, priority interactive */
};

struct exec_request {
    struct buf canonical; /* JSON text */
    enum language lang;
    struct id session; /* "" : a fresh one */
    enum queue_priority priority;
    bool retry, detach, stdin_open;
    bool state;                   /* the run uses its session's state */
    char hint[EXEC_HINT_MAX + 1]; /* of the workspace that it uses; "": none */
    int64_t if_state_version;     /* -1: any */
    int64_t queue_ms;             /* the longest wait for a worker */
};

/* ERR_INVALID: `fault` says why; *ret_request is untouched. `size`: bytes of the text that `root` was. */
MUST_CHECK enum err exec_request_read(json_t *root, size_t size, const struct exec_rules *rules,
                                      struct exec_request *ret_request, struct api_fault *fault);
/* The same of a text. */
MUST_CHECK enum err exec_request_parse(struct str body, const struct exec_rules *rules,
                                       struct exec_request *ret_request, struct api_fault *fault);
void exec_request_free(struct exec_request *request);

/* Idempotency-Key: 1 to 255 visible ASCII characters. */
bool idempotency_key_valid(struct str key);

#endif
