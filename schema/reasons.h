/* SPDX-License-Identifier: Apache-2.0 */
/* Why a run ended other than by itself, one row of reasons.def each. */
#ifndef MILLRACE_SCHEMA_REASONS_H
#define MILLRACE_SCHEMA_REASONS_H

#include "base/str.h"

enum reason {
#define X(symbol, name, retryable, text) REASON_##symbol,
#include "schema/reasons.def"
#undef X
    REASON_COUNT,
};

struct reason_row {
    const char *name;
    bool retryable;
    const char *text;
};

const struct reason_row *reason_row(enum reason reason);
MUST_CHECK enum err reason_parse(struct str name, enum reason *ret_reason); /* ERR_NOT_FOUND */

#endif
