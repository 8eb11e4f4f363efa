/* SPDX-License-Identifier: Apache-2.0 */
/* An event: an immutable fact about a job, one entry of the job's log. Entry fields on the stream:
     v  version of the record (1)      t  type by name        a  attempt        s  sequence within the job (1, 2, ...)
     m  time, ms since 1970            d  JSON object text with the fields of this type ("" = none)
     b  raw bytes (output and input only)
   The stream id of the entry is the resume offset that clients hand back. */
#ifndef MILLRACE_SCHEMA_EVENT_H
#define MILLRACE_SCHEMA_EVENT_H

#include "base/buf.h"
#include "base/id.h"

/* Rows: X(SYMBOL, "name", flags, "documentation"); flags: T terminal. New rows at the end. See event.def. */
enum event_type {
#define X(symbol, name, flags, doc) EV_##symbol,
#include "schema/event.def"
#undef X
    EV_COUNT,
};

enum event_flags { EVF_NONE = 0, EVF_TERMINAL = 1, EVF_BYTES = 2, EVF_CLIENT = 4 };

enum { EVENT_VERSION = 1, EVENT_ID_MAX = 42 };

struct event {
    char id[EVENT_ID_MAX]; /* "ms-n" of the stream entry; "" when not stored yet */
    enum event_type type;
    struct id job;
    uint32_t attempt; /* 0 before the first claim */
    uint64_t seq;
    int64_t time_ms;
    struct str data;  /* JSON object text, borrowed */
    struct str bytes; /* borrowed */
};

/* What a worker or client adds: type, data and bytes of an event that the script completes. */
struct event_draft {
    enum event_type type;
    struct str data;  /* JSON object text or empty */
    struct str bytes; /* output, input */
};

const char *event_type_name(enum event_type type);
MUST_CHECK enum err event_type_parse(struct str name, enum event_type *ret_type); /* ERR_NOT_FOUND */
bool event_is_terminal(enum event_type type);
bool event_is_client(enum event_type type); /* clients send it to a running program */

/* One stream entry: `fields` are name, value, name, value ... (2 * pairs). Views stay borrowed.
   ERR_PROTOCOL: a field that the type needs is missing or bad. Unknown fields are ignored; an unknown type
   gives ERR_UNSUPPORTED (a newer build wrote it: skip it). */
MUST_CHECK enum err event_decode(struct str stream_id, struct id job, const struct str *fields, size_t pairs,
                                 struct event *ret_event);

/* The object clients see: {id, type, job_id, attempt, seq, time, ...fields of the type}; `output` and `input`
   have `data` as text, or base64 with "encoding":"base64" where the bytes are not UTF-8. */
void event_write_json(const struct event *event, struct buf *out);

/* Stream ids compare as (ms, n). Strict syntax: "0", "ms", "ms-n". ERR_INVALID. */
MUST_CHECK enum err event_id_parse(struct str text, uint64_t *ret_ms, uint64_t *ret_n);
int event_id_compare(const char *a, const char *b);

#endif
