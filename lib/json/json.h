/* SPDX-License-Identifier: Apache-2.0 */
/* jansson behind a pre-scan (DECISIONS 9): depth at most 64, at most 262,144 values, numbers within 64
   bits and finite, duplicate keys refused, NUL allowed in values only, lone surrogates and bad UTF-8 refused. The only way text becomes
   JSON. */
#ifndef MILLRACE_JSON_JSON_H
#define MILLRACE_JSON_JSON_H

#include "base/buf.h"

#include <jansson.h>

enum { JSON_MAX_DEPTH = 64 };

/* Seeds the hash of objects. Call once at start, before any thread and any seccomp filter. */
void json_start(void);

/* Parse one complete document (surrounding white space allowed, nothing else). The result is owned by the
   caller (json_decref). ERR_INVALID with a sentence and position in `info`; ERR_RANGE: a number; ERR_NOMEM. */
MUST_CHECK enum err json_parse(struct str text, json_t **ret_value, struct errinfo *info);
/* The same, but numbers of these members of the root (ends with NULL) are never too large: they become the nearest within 64 bits, or
   of 1e308, so that who reads the member can say its own range, or bring it into that. */
MUST_CHECK enum err json_parse_clamped(struct str text, const char *const *members, json_t **ret_value,
                                       struct errinfo *info);

/* Compact text of `value` into `out`. ERR_FULL when it does not fit. */
MUST_CHECK enum err json_write(const json_t *value, struct buf *out);

/* `"..."` with escapes; `s` must be UTF-8 (the caller's duty: see base/utf8.h). */
void json_write_string(struct buf *out, struct str s);

void json_cleanup(json_t **value);
#define auto_json __attribute__((cleanup(json_cleanup), unused)) json_t *

#endif
