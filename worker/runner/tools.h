/* SPDX-License-Identifier: Apache-2.0 */
/* Tool calls of a program: a listening socket in the pod, whose messages go to the worker as they are, and back. A message is
   {u32 length, JSON}. Each connection is the program's own, one that it may use as it likes: what it says there is asked for, never
   believed. While the worker says that calls wait for their results, the wall clock stands still. */
#ifndef MILLRACE_WORKER_RUNNER_TOOLS_H
#define MILLRACE_WORKER_RUNNER_TOOLS_H

#include "worker/runner/channel.h"

#include <poll.h>

enum { TOOLS_CONNECTIONS_MAX = 64, TOOLS_MESSAGE_MAX = 1024 * 1024, TOOLS_POLLS = TOOLS_CONNECTIONS_MAX + 1 };

struct tools;

/* NULL: the socket could not be made. */
struct tools *tools_open(void);
/* Fills at most TOOLS_POLLS; returns how many. `idle`: the channel takes a message. */
unsigned tools_polls(const struct tools *t, struct pollfd *ret_polls);
void tools_polled(struct tools *t, const struct pollfd *polls, unsigned count);
/* Hands at most one piece of a message to the idle channel. ERR_AGAIN: there is none; ERR_CLOSED: the worker is gone. */
MUST_CHECK enum err tools_pump(struct tools *t, struct channel *channel, int64_t now_ns);
/* FRAME_TOOL_RESULT. Returns by how much the wall clock stood still, when it goes on by this; ERR_PROTOCOL. */
MUST_CHECK enum err tools_result(struct tools *t, struct str payload, int64_t now_ns, int64_t *ret_stood_ns);
bool tools_waiting(const struct tools *t);  /* the wall clock stands still */
bool tools_has_room(const struct tools *t); /* for more results */

#endif
