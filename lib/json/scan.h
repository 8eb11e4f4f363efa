/* SPDX-License-Identifier: Apache-2.0 */
/* What jansson does not bound or does not tell apart, checked before it sees a byte: UTF-8, depth, the range
   of numbers, lone surrogates, NUL in keys. Not the grammar, which stays jansson's. Pure, one pass, no
   recursion. */
#ifndef MILLRACE_JSON_SCAN_H
#define MILLRACE_JSON_SCAN_H

#include "base/buf.h"

enum {
    JSON_NUMBER_MAX = 400,        /* characters of a number; a double needs 17 significant ones */
    JSON_VALUES_MAX = 256 * 1024, /* values of a text: `[],[],...` takes 40 times its size in memory */
};

/* ERR_INVALID, or ERR_RANGE for a number outside 64 bits or the finite doubles. The sentence names the place,
   and the key where there is one. Numbers of the root's members `clamped` (NULL: of none) are brought into that range instead:
   then `copy`, empty before, is the text with those numbers. */
MUST_CHECK enum err json_scan(struct str text, unsigned max_depth, const char *const *clamped,
                              struct buf *copy, struct errinfo *info);

#endif
