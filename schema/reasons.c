/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/reasons.h"

#include <assert.h>

static const struct reason_row rows[] = {
#define X(symbol, name_, retryable_, text_)                                                                  \
    [REASON_##symbol] = {.name = (name_), .retryable = (retryable_), .text = (text_)},
#include "schema/reasons.def"
#undef X
};

const struct reason_row *reason_row(enum reason reason)
{
    assert((unsigned)reason < REASON_COUNT);
    return &rows[reason];
}

enum err reason_parse(struct str name, enum reason *ret_reason)
{
    for (unsigned i = 0; i < REASON_COUNT; i++)
        if (str_eq(name, str_of(rows[i].name))) {
            *ret_reason = (enum reason)i;
            return ERR_OK;
        }
    return ERR_NOT_FOUND;
}
