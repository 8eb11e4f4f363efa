/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events as text. Pure. */
#ifndef MILLRACE_API_SSE_TEXT_H
#define MILLRACE_API_SSE_TEXT_H

#include "schema/event.h"

/* "id: ...\ndata: ...\n\n" */
void sse_write(const struct event *event, struct buf *out);
/* Whether Accept has text/event-stream. */
bool sse_wanted(struct str accept);

#endif
