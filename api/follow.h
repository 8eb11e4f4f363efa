/* SPDX-License-Identifier: Apache-2.0 */
/* How the three ways to read events begin: which job, after which event. */
#ifndef MILLRACE_API_FOLLOW_H
#define MILLRACE_API_FOLLOW_H

#include "api/app.h"
#include "api/sse_text.h"

enum {
    FOLLOW_WAIT_MAX_S = 60,
    FOLLOW_PAGE_EVENTS = 1000,
    FOLLOW_PAGE_BYTES = 1024 * 1024,
    FOLLOW_HEARTBEAT_MS = 15000
};

/* What ends when the process leaves. */
struct follower {
    struct list node;
    void (*leave)(struct follower *f);
};

/* An event id to read on after, "" = from the start. False: the client was told 400. */
bool follow_after(struct call *c, const char *name, struct str text, char ret_after[EVENT_ID_MAX]);

void follow_poll(struct call *c, struct id job, const char *after);
void follow_sse(struct call *c, struct id job, const char *after);

#endif
