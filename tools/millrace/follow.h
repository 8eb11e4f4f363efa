/* SPDX-License-Identifier: Apache-2.0 */
/* Follows the events of a job to its end: over the WebSocket, again and again from the last event seen when the API
   goes away (first by long-poll, which also tells what of our input arrived). Each event is told once, in order. */
#ifndef MILLRACE_TOOLS_FOLLOW_H
#define MILLRACE_TOOLS_FOLLOW_H

#include "tools/millrace/client.h"

struct follow;

struct follow_options {
    const char *job;
    const char *after; /* event id, or NULL: from the beginning */
    /* false: stop now, nothing more is told but on_end. */
    bool (*on_event)(void *arg, const json_t *event);
    void (*on_ready)(void *arg); /* connected (again) and caught up: messages may be sent */
    void (*on_drain)(void *arg);
    /* Once. ERR_OK: on_event ended it, or the log has ended. Else `why` was printed. */
    void (*on_end)(void *arg, enum err e);
    void *arg;
};

MUST_CHECK enum err follow_open(struct client *c, const struct follow_options *options,
                                struct follow **ret_follow);
/* False when not connected or when there is no room: wait for on_ready or on_drain. A message is kept only when true
   or when connected. */
bool follow_ready(const struct follow *f);
bool follow_send(struct follow *f, struct str message);
/* Ends the job: also where its input is held back, and a message would wait behind it. To be asked again at on_ready. */
void follow_cancel(struct follow *f);
void follow_pause(struct follow *f);
void follow_resume(struct follow *f);
void follow_close(struct follow *f); /* no callback after it returns; not inside a callback */

#endif
