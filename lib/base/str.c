/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <string.h>
#include <strings.h>

struct str str_of(const char *cstr)
{
    return (struct str){.p = cstr, .n = cstr != NULL ? strlen(cstr) : 0};
}

int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

const char *text_or_null(const char *text)
{
    return text && text[0] ? text : NULL;
}

bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_eq_nocase(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct str str_trim(struct str s)
{
    while (s.n > 0 && is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

struct str str_split(struct str *rest, char sep)
{
    struct str all = *rest;
    const char *at = all.n > 0 ? memchr(all.p, sep, all.n) : NULL;
    if (at == NULL) {
        *rest = (struct str){.p = NULL, .n = 0};
        return all;
    }
    size_t head = (size_t)(at - all.p);
    *rest = (struct str){.p = at + 1, .n = all.n - head - 1};
    return (struct str){.p = all.p, .n = head};
}

enum err str_to_u64(struct str s, uint64_t *ret_value)
{
    if (s.n == 0)
        return ERR_INVALID;
    uint64_t value = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return ERR_INVALID;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.p[i] - '0'), &value))
            return ERR_RANGE;
    }
    *ret_value = value;
    return ERR_OK;
}

enum err str_to_i64(struct str s, int64_t *ret_value)
{
    bool negative = s.n > 0 && s.p[0] == '-';
    uint64_t magnitude;
    enum err e = str_to_u64(negative ? (struct str){.p = s.p + 1, .n = s.n - 1} : s, &magnitude);
    if (e != ERR_OK)
        return e;
    if (magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return ERR_RANGE;
    *ret_value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return ERR_OK;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;
    return least < c ? least : c;
}

unsigned str_distance(struct str a, struct str b)
{
    enum { LIMIT = 64 };
    if (a.n > LIMIT || b.n > LIMIT)
        return LIMIT + 1;
    unsigned row[LIMIT + 1];
    for (unsigned j = 0; j <= b.n; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            unsigned above = row[j];
            row[j] = min3(row[j - 1] + 1, above + 1, diagonal + (a.p[i - 1] != b.p[j - 1]));
            diagonal = above;
        }
    }
    return row[b.n];
}

uint64_t str_hash(uint64_t hash, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        hash = (hash ^ (unsigned char)s.p[i]) * UINT64_C(0x100000001b3);
    return hash;
}
