/* SPDX-License-Identifier: Apache-2.0 */
/* The limits that a request may ask for, one row of limits.def each. Always finite. */
#ifndef MILLRACE_SCHEMA_LIMITS_H
#define MILLRACE_SCHEMA_LIMITS_H

#include "schema/config.h"
#include "schema/languages.h"

enum limit {
#define X(symbol, field, canonical, fallback, min, max, scale, unit, setting, help) LIMIT_##symbol,
#include "schema/limits.def"
#undef X
    LIMIT_COUNT,
};

struct limit_row {
    const char *field;     /* of the request */
    const char *canonical; /* in the canonical request */
    int64_t fallback, min, max, scale;
    const char *unit, *help;
    size_t setting_offset; /* of an int64_t in struct config */
    const char *setting;   /* name of that field */
};

/* The fields of all rows, and the contract's `timeout`; ends with NULL. For json_parse_clamped(). */
extern const char *const limit_fields[];

/* By configuration: what a request gets and may ask for at most, in canonical units. */
struct limit_bounds {
    int64_t fallback[LIMIT_COUNT], max[LIMIT_COUNT];
};

const struct limit_row *limit_row(enum limit limit);
void limits_configure(const struct config *config, struct limit_bounds *ret_bounds);
/* The same for one language: languages.def moves wall and CPU time, and memory. */
void limits_of_language(const struct limit_bounds *bounds, enum language lang,
                        struct limit_bounds *ret_bounds);
/* Bounds of the field's own unit. */
int64_t limit_min(enum limit limit);
int64_t limit_max(const struct limit_bounds *bounds, enum limit limit);
/* A value in the field's unit to the canonical one. ERR_RANGE with a sentence that has the range. */
MUST_CHECK enum err limit_check(const struct limit_bounds *bounds, enum limit limit, int64_t value,
                                int64_t *ret_canonical, struct errinfo *info);
/* Into the range, for fields that a contract says are clamped; in and out in the field's unit. */
int64_t limit_clamp(const struct limit_bounds *bounds, enum limit limit, int64_t value);

#endif
