/* SPDX-License-Identifier: Apache-2.0 */
/* JSON bodies. One so large that the loop would stand still while it is parsed is parsed in libuv's pool, before its handler
   is called; so are no more than two at a time, the others wait their turn. */
#ifndef MILLRACE_API_BODY_H
#define MILLRACE_API_BODY_H

#include "api/app.h"
#include "json/json.h"

enum { BODY_LARGE = 256 * 1024, BODY_PARSERS = 2 };

/* Calls `next`, at once where the body is small or no JSON. */
void body_ready(struct call *c, call_handler next);
/* The body as JSON, once; as json_parse(). */
MUST_CHECK enum err body_json(struct call *c, json_t **ret_root, struct errinfo *info);
/* With the call: its client is gone, or was answered. */
void body_forget(struct call *c);

#endif
