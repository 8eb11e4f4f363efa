/* SPDX-License-Identifier: Apache-2.0 */
/* Typed members of an object that a client sent. Every refusal is a sentence "field: what is wrong and what
   to send", so that the text before the first ": " is the field. An absent member and null are the same: an
   error when it is required, else the output stays as it was. ERR_INVALID: wrong type or form; ERR_RANGE: a
   number out of its range; ERR_FULL: too large. */
#ifndef MILLRACE_JSON_FIELDS_H
#define MILLRACE_JSON_FIELDS_H

#include "json/json.h"

enum json_need { JSON_OPTIONAL, JSON_REQUIRED };

/* "a string", "a list", ...; for sentences. */
const char *json_type_text(const json_t *value);

/* ERR_INVALID unless `value` is an object: "the body: must be an object, not a list". */
MUST_CHECK enum err json_expect_object(const json_t *value, const char *name, struct errinfo *info);

/* The view lives as long as the object. NUL characters are allowed here (code, data). */
MUST_CHECK enum err json_field_string(const json_t *object, const char *name, enum json_need need,
                                      size_t max_bytes, struct str *ret_text, struct errinfo *info);
/* As above, refusing NUL and other control characters: ids, names, keys. */
MUST_CHECK enum err json_field_name(const json_t *object, const char *name, enum json_need need,
                                    size_t max_bytes, struct str *ret_text, struct errinfo *info);
/* An integer as JSON writes it: 1.0 and "1" are refused. `unit` ("ms", "MiB", "") is for the sentence. */
MUST_CHECK enum err json_field_int(const json_t *object, const char *name, enum json_need need, int64_t min,
                                   int64_t max, const char *unit, int64_t *ret_value, struct errinfo *info);
MUST_CHECK enum err json_field_bool(const json_t *object, const char *name, enum json_need need,
                                    bool *ret_value, struct errinfo *info);
/* One of the choices "a|b|c"; *ret_choice is its place. */
MUST_CHECK enum err json_field_choice(const json_t *object, const char *name, enum json_need need,
                                      const char *choices, int *ret_choice, struct errinfo *info);
/* A list of strings without NUL, borrowed. */
MUST_CHECK enum err json_field_strings(const json_t *object, const char *name, enum json_need need,
                                       size_t max_items, size_t max_bytes, const json_t **ret_list,
                                       struct errinfo *info);
/* An object, borrowed. */
MUST_CHECK enum err json_field_object(const json_t *object, const char *name, enum json_need need,
                                      const json_t **ret_object, struct errinfo *info);
/* Refuses a member that `known` (ends with NULL) lacks, naming the nearest known one. */
MUST_CHECK enum err json_fields_known(const json_t *object, const char *const *known, struct errinfo *info);

#endif
