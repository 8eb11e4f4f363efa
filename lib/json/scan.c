/* SPDX-License-Identifier: Apache-2.0 */
#include "json/scan.h"

#include "base/utf8.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct scan {
    struct str text;
    size_t at;
    unsigned depth, max_depth, values;
    struct str key; /* raw text of the last key */
    const char *const *clamped;
    struct buf *copy;
    struct errinfo *info;
};

static enum err refuse(const struct scan *s, enum err code, size_t at, const char *what)
{
    return errinfo_set(s->info, code, 0, "not acceptable JSON at byte %zu: %s", at, what);
}

static bool more(const struct scan *s)
{
    return s->at < s->text.n;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Four digits at `at`, or -1. */
static int hex4(const struct scan *s, size_t at)
{
    int value = 0;
    if (s->text.n < 4 || at > s->text.n - 4)
        return -1;
    for (size_t i = 0; i < 4; i++) {
        int digit = hex_value(s->text.p[at + i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* At the 'u' of an escape. Leaves s->at behind its digits (and behind the pair's second half). */
static enum err scan_unicode_escape(struct scan *s, bool *ret_nul)
{
    size_t start = s->at - 1;
    int unit = hex4(s, s->at + 1);
    if (unit < 0)
        return refuse(s, ERR_INVALID, start, "\\u needs four hexadecimal digits");
    s->at += 5;
    *ret_nul = unit == 0;
    if (unit >= 0xdc00 && unit <= 0xdfff)
        return refuse(s, ERR_INVALID, start, "half of a surrogate pair alone");
    if (unit < 0xd800 || unit > 0xdbff)
        return ERR_OK;
    bool escape = s->text.n - s->at >= 6 && s->text.p[s->at] == '\\' && s->text.p[s->at + 1] == 'u';
    int second = escape ? hex4(s, s->at + 2) : -1;
    if (second < 0xdc00 || second > 0xdfff)
        return refuse(s, ERR_INVALID, start, "half of a surrogate pair alone");
    s->at += 6;
    return ERR_OK;
}

static bool is_key(const struct scan *s)
{
    size_t at = s->at;
    while (at < s->text.n && is_space(s->text.p[at]))
        at++;
    return at < s->text.n && s->text.p[at] == ':';
}

/* At the opening quote. */
static enum err scan_string(struct scan *s)
{
    size_t start = s->at++;
    bool any_nul = false;
    while (more(s) && s->text.p[s->at] != '"') {
        if (s->text.p[s->at] != '\\') {
            s->at++;
            continue;
        }
        s->at++;
        if (!more(s))
            break;
        if (s->text.p[s->at] != 'u') {
            s->at++;
            continue;
        }
        bool nul = false;
        enum err e = scan_unicode_escape(s, &nul);
        if (e != ERR_OK)
            return e;
        any_nul = any_nul || nul;
    }
    if (!more(s))
        return refuse(s, ERR_INVALID, start, "the string is not closed");
    s->at++;
    if (!is_key(s))
        return ERR_OK;
    if (any_nul)
        return refuse(s, ERR_INVALID, start, "a key must not hold a NUL character");
    s->key = (struct str){.p = s->text.p + start + 1, .n = s->at - start - 2};
    return ERR_OK;
}

static bool is_number_char(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

static enum err refuse_number(const struct scan *s, size_t start)
{
    int key = (int)(s->key.n > 60 ? 60 : s->key.n);
    return errinfo_set(s->info, ERR_RANGE, 0,
                       "%.*s%sthe number at byte %zu is out of range (64-bit integer or finite)", key,
                       s->key.p, key > 0 ? ": " : "", start);
}

static bool is_clamped(const struct scan *s)
{
    for (const char *const *name = s->clamped; s->depth == 1 && name != NULL && *name != NULL; name++)
        if (str_eq(s->key, str_of(*name)))
            return true;
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* As JSON has it, for a number that jansson will not see: strtod() takes leading zeros and bare points too. */
static bool is_well_formed(const char *number)
{
    const char *first = number + (number[0] == '-'), *point = strchr(number, '.');
    char *end;
    (void)strtod(number, &end); /* its form, not its value */
    return *end == '\0' && is_digit(first[0]) && !(first[0] == '0' && is_digit(first[1])) &&
           (point == NULL || is_digit(point[1]));
}

/* The nearest that is not; none of the four is longer than a number that is. */
static enum err out_of_range(struct scan *s, size_t start, const char *number, bool real)
{
    bool negative = number[0] == '-';
    const char *nearest = real       ? negative ? "-1e308" : "1e308"
                          : negative ? "-9223372036854775808"
                                     : "9223372036854775807";
    if (!is_clamped(s) || !is_well_formed(number))
        return refuse_number(s, start);
    if (s->copy->len == 0)
        buf_append_str(s->copy, s->text);
    if (buf_status(s->copy) != ERR_OK)
        return errinfo_set(s->info, ERR_NOMEM, 0, "out of memory");
    memset(s->copy->data + start, ' ', s->at - start);
    memcpy(s->copy->data + start, nearest, strlen(nearest));
    return ERR_OK;
}

/* At a digit or '-'. Its form is jansson's business, its range ours. */
static enum err scan_number(struct scan *s)
{
    char copy[JSON_NUMBER_MAX + 1];
    size_t start = s->at;
    bool real = false;
    while (more(s) && is_number_char(s->text.p[s->at])) {
        char c = s->text.p[s->at++];
        real = real || c == '.' || c == 'e' || c == 'E';
    }
    struct str number = {.p = s->text.p + start, .n = s->at - start};
    if (number.n > JSON_NUMBER_MAX)
        return refuse_number(s, start);
    memcpy(copy, number.p, number.n);
    copy[number.n] = '\0';
    int64_t integer;
    bool outside = real ? isinf(strtod(copy, NULL)) : str_to_i64(number, &integer) == ERR_RANGE;
    return outside ? out_of_range(s, start, copy, real) : ERR_OK;
}

static enum err scan_token(struct scan *s)
{
    char c = s->text.p[s->at];
    if (c == '"')
        return scan_string(s);
    if (c == '-' || (c >= '0' && c <= '9'))
        return scan_number(s);
    bool opens = c == '{' || c == '[';
    if ((opens || c == ',') && ++s->values >= JSON_VALUES_MAX)
        return refuse(s, ERR_INVALID, s->at, "too many values");
    if (opens && ++s->depth > s->max_depth)
        return refuse(s, ERR_INVALID, s->at, "nested too deep");
    if ((c == '}' || c == ']') && s->depth > 0)
        s->depth--;
    s->at++;
    return ERR_OK;
}

enum err json_scan(struct str text, unsigned max_depth, const char *const *clamped, struct buf *copy,
                   struct errinfo *info)
{
    struct scan s = {.text = text, .max_depth = max_depth, .clamped = clamped, .copy = copy, .info = info};
    if (!utf8_valid(text))
        return errinfo_set(info, ERR_INVALID, 0, "not acceptable JSON: the text is not UTF-8");
    if (text.n > 0 &&
        memchr(text.p, '\0', text.n) != NULL) /* jansson takes one behind the value for the end */
        return errinfo_set(info, ERR_INVALID, 0, "not acceptable JSON: a NUL byte; write \\u0000");
    while (more(&s)) {
        enum err e = scan_token(&s);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}
