/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/file_refused.h"

static const struct {
    const char *name, *text;
} rows[FILE_REFUSED_COUNT] = {
#define X(symbol, n, t) [FILE_REFUSED_##symbol] = {.name = (n), .text = (t)},
#include "worker/file_refused.def"
#undef X
};

const char *file_refused_name(enum file_refused why)
{
    return rows[why].name;
}

const char *file_refused_text(enum file_refused why)
{
    return rows[why].text;
}
