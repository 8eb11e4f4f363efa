/* SPDX-License-Identifier: Apache-2.0 */
#include "json/raw.h"

#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct str *s)
{
    while (s->n > 0 && is_space(s->p[0])) {
        s->p++;
        s->n--;
    }
}

static void advance(struct str *s, size_t n)
{
    if (n > s->n)
        n = s->n;
    s->p += n;
    s->n -= n;
}

/* From the opening quote to behind the closing one. */
static size_t string_length(struct str s)
{
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] == '\\')
            i++;
        else if (s.p[i] == '"')
            return i + 1;
    }
    return s.n;
}

static size_t container_length(struct str s)
{
    size_t depth = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '"')
            i += string_length((struct str){s.p + i, s.n - i}) - 1;
        else if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            return i + 1;
    }
    return s.n;
}

static size_t scalar_length(struct str s)
{
    size_t i = 0;
    while (i < s.n && !is_space(s.p[i]) && strchr(",]}", s.p[i]) == NULL)
        i++;
    return i;
}

static struct str take_value(struct str *rest)
{
    struct str value = *rest;
    if (rest->n == 0)
        return value;
    value.n = rest->p[0] == '"'                        ? string_length(*rest)
              : rest->p[0] == '{' || rest->p[0] == '[' ? container_length(*rest)
                                                       : scalar_length(*rest);
    advance(rest, value.n);
    return value;
}

/* Stands behind the opening bracket or the last item; false at the closing bracket. */
static bool to_next(struct str *rest)
{
    skip_space(rest);
    if (rest->n > 0 && strchr("[{,", rest->p[0]) != NULL) {
        advance(rest, 1);
        skip_space(rest);
    }
    return rest->n > 0 && rest->p[0] != ']' && rest->p[0] != '}';
}

bool json_raw_next(struct str *rest, struct str *ret_item)
{
    if (!to_next(rest))
        return false;
    *ret_item = take_value(rest);
    return ret_item->n > 0;
}

struct str json_raw_member(struct str object, const char *name)
{
    struct str rest = object;
    skip_space(&rest);
    if (rest.n == 0 || rest.p[0] != '{')
        return (struct str){NULL, 0};
    while (to_next(&rest)) {
        struct str key = take_value(&rest);
        skip_space(&rest);
        advance(&rest, 1); /* the colon */
        skip_space(&rest);
        struct str value = take_value(&rest);
        if (key.n == 0 || value.n == 0)
            break;
        if (key.n == strlen(name) + 2 && memcmp(key.p + 1, name, key.n - 2) == 0)
            return value;
    }
    return (struct str){NULL, 0};
}
