/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef MILLRACE_BASE_UTF8_H
#define MILLRACE_BASE_UTF8_H

#include "base/buf.h"

enum utf8_kind {
    UTF8_GOOD,  /* a whole character */
    UTF8_BAD,   /* bytes that can begin no character (the maximal subpart that one U+FFFD stands for) */
    UTF8_SHORT, /* the beginning of a character, cut by the end of the input */
};

/* Looks at the first character of `s` (s.n > 0). Returns how many bytes it covers (1 to 4, never 0). */
size_t utf8_next(struct str s, enum utf8_kind *ret_kind);

bool utf8_valid(struct str s);

/* How many of the first bytes of `s` can be passed on without cutting a character: s.n less the 0 to 3 bytes
   of a character that the end of `s` cut. Bytes that are not UTF-8 count as passed on. */
size_t utf8_complete(struct str s);

/* What one chunk left for the next. {0} at the start of a stream. */
struct utf8_carry {
    char bytes[3];
    unsigned char n;
};

/* Appends to `out` what was carried and then `chunk`, less a character cut by its end, which is carried.
   Bytes come out exactly as they went in, only later. At the end of the stream append carry->bytes (carry->n
   of them), which are then not UTF-8. Failure is sticky in `out`, as always. */
void utf8_join(struct utf8_carry *carry, struct str chunk, struct buf *out);

/* Appends `s` with U+FFFD for each maximal part that is not UTF-8 (as browsers do). */
void utf8_sanitize(struct buf *out, struct str s);

#endif
