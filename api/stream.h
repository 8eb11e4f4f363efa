/* SPDX-License-Identifier: Apache-2.0 */
/* What a client may say on a job's WebSocket. Pure. */
#ifndef MILLRACE_API_STREAM_H
#define MILLRACE_API_STREAM_H

#include "api/fault.h"
#include "schema/event.h"

struct stream_message {
    enum event_type type; /* EV_INPUT, EV_EOF, EV_SIGNAL, EV_CANCEL_REQUESTED */
    struct buf bytes;     /* input */
    struct buf data;      /* JSON object text of the event */
};

/* {"type":"stdin","data":...,"encoding":"base64"?} {"type":"eof"} {"type":"signal","signal":"INT"}
   {"type":"cancel"}. ERR_INVALID: `fault` says why. */
MUST_CHECK enum err stream_message_parse(struct str text, struct stream_message *ret_message,
                                         struct api_fault *fault);
void stream_message_free(struct stream_message *m);

#endif
