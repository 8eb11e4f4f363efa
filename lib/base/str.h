/* SPDX-License-Identifier: Apache-2.0 */
/* A view of bytes somebody else owns: pointer and length, not NUL-terminated, may hold NUL. */
#ifndef MILLRACE_BASE_STR_H
#define MILLRACE_BASE_STR_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){.p = (literal), .n = sizeof(literal) - 1})
#define STR_FMT      "%.*s"
#define STR_ARG(s)   (int)((s).n > INT32_MAX ? INT32_MAX : (s).n), (s).p

struct str str_of(const char *cstr);        /* NULL gives the empty view */
const char *text_or_null(const char *text); /* an empty text says nothing: NULL */
bool str_eq(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b); /* ASCII only */
bool str_starts(struct str s, struct str prefix);
struct str str_trim(struct str s); /* spaces and tabs at both ends */

/* Split `*rest` at the first `sep`: returns the part before it, `*rest` becomes what follows.
   When there is no `sep`, returns all and `*rest` becomes {NULL, 0}. Iterate while rest.p != NULL. */
struct str str_split(struct str *rest, char sep);

/* Strict decimal: optional '-', digits, nothing else. ERR_INVALID or ERR_RANGE. */
MUST_CHECK enum err str_to_i64(struct str s, int64_t *ret_value);
MUST_CHECK enum err str_to_u64(struct str s, uint64_t *ret_value);

int hex_value(char c); /* of a digit of either case; -1: it is none */

/* Levenshtein distance, bounded to 64 bytes each; for "did you mean". */
unsigned str_distance(struct str a, struct str b);

/* FNV-1a, 64 bits: partitions, names and keys that are kept are made of it, so it never changes. `hash` is STR_HASH, or what the text
   before this one came to. */
#define STR_HASH UINT64_C(0xcbf29ce484222325)
uint64_t str_hash(uint64_t hash, struct str s);

#endif
