/* SPDX-License-Identifier: Apache-2.0 */
/* Which route of routes.def a request is for. Pure. */
#ifndef MILLRACE_API_ROUTER_H
#define MILLRACE_API_ROUTER_H

#include "base/buf.h"

/* What handles a route; several routes may share one. New rows at the end. */
/* clang-format off */
#define HANDLER_TABLE(X) \
    X(exec) X(job_submit) X(job_list) X(job_get) X(job_cancel) X(job_events) X(job_stream) X(languages) \
    X(upload) X(upload_batch) X(download) X(file_head) X(file_list) X(file_delete) \
    X(health) X(ready) X(metrics) X(openapi) X(state_get) X(state_put) X(state_delete) X(state_info) \
    X(session_end) X(session_versions) X(session_rewind) X(session_fork) X(programmatic) \
    X(programmatic_cancel) X(health_kubernetes)
/* clang-format on */
enum route_handler {
#define X(name) HANDLER_##name,
    HANDLER_TABLE(X)
#undef X
        HANDLERS,
};

struct route {
    const char *method, *pattern;
    enum route_handler handler;
    bool open; /* no key is asked for */
    const char *doc;
};

/* `param`: what `{...}` of the pattern matched, a view of `path`. NULL when no route has this method and
   path; then `allow` (may be NULL) gets the methods that the path takes, "GET, HEAD", or stays empty for an
   unknown path. */
const struct route *route_find(struct str method, struct str path, struct str *ret_param, struct buf *allow);

#endif
