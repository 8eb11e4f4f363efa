/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/java_names.h"

#include <stdio.h>
#include <string.h>

struct scan {
    struct str rest;
    struct str package; /* "a.b", as written */
    struct str current, public_class, with_main;
    unsigned depth; /* of braces */
    bool is_public, after_void;
};

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || (c & 0x80) != 0;
}

static void skip(struct scan *s, size_t n)
{
    n = n < s->rest.n ? n : s->rest.n;
    s->rest = (struct str){s->rest.p + n, s->rest.n - n};
}

/* Behind the next `end`, or all; with `escapes` a backslash takes the next character with it. */
static void skip_past(struct scan *s, struct str end, bool escapes)
{
    while (s->rest.n > 0 && !str_starts(s->rest, end))
        skip(s, escapes && s->rest.p[0] == '\\' ? 2 : 1);
    skip(s, end.n);
}

/* Comments and literals. */
static bool skip_opaque(struct scan *s)
{
    static const struct {
        struct str begin, end;
        bool escapes;
    } rows[] = {
        {STR("//"), STR("\n"), false}, {STR("/*"), STR("*/"), false}, {STR("\"\"\""), STR("\"\"\""), true},
        {STR("\""), STR("\""), true},  {STR("'"), STR("'"), true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!str_starts(s->rest, rows[i].begin))
            continue;
        skip(s, rows[i].begin.n);
        skip_past(s, rows[i].end, rows[i].escapes);
        return true;
    }
    return false;
}

static void skip_blanks(struct scan *s)
{
    while (s->rest.n > 0 && (strchr(" \t\r\n\f", s->rest.p[0]) != NULL || str_starts(s->rest, STR("//")) ||
                             str_starts(s->rest, STR("/*"))))
        if (!skip_opaque(s))
            skip(s, 1);
}

static struct str take_name(struct scan *s)
{
    struct str name = {s->rest.p, 0};
    while (name.n < s->rest.n && is_name(s->rest.p[name.n]))
        name.n++;
    skip(s, name.n);
    return name;
}

static void take_package(struct scan *s)
{
    skip_blanks(s);
    s->package = (struct str){s->rest.p, 0};
    while (s->package.n < s->rest.n && (is_name(s->rest.p[s->package.n]) || s->rest.p[s->package.n] == '.'))
        s->package.n++;
}

static void take_type(struct scan *s)
{
    skip_blanks(s);
    struct str name = take_name(s);
    if (name.n == 0)
        return;
    s->current = name;
    if (s->is_public && s->public_class.n == 0)
        s->public_class = name;
}

static bool one_of(struct str name, const char *words)
{
    for (struct str rest = str_of(words); rest.n > 0;)
        if (str_eq(str_split(&rest, ' '), name))
            return true;
    return false;
}

static void take_word(struct scan *s)
{
    struct str name = take_name(s);
    bool void_before = s->after_void;
    s->after_void = str_eq(name, STR("void"));
    if (s->depth == 0 && str_eq(name, STR("package")))
        take_package(s);
    else if (s->depth == 0 && str_eq(name, STR("public")))
        s->is_public = true;
    else if (s->depth == 0 && one_of(name, "class interface enum record"))
        take_type(s);
    else if (s->depth == 1 && void_before && str_eq(name, STR("main")) &&
             (s->with_main.n == 0 || str_eq(s->current, s->public_class)))
        s->with_main = s->current;
}

static void take_mark(struct scan *s)
{
    char c = s->rest.p[0];
    if (c == '{')
        s->depth++;
    else if (c == '}' && s->depth > 0)
        s->depth--;
    if (s->depth == 0 && (c == ';' || c == '}'))
        s->is_public = false;
    if (strchr(" \t\r\n", c) == NULL)
        s->after_void = false;
    skip(s, 1);
}

static struct str either(struct str a, struct str b)
{
    return a.n > 0 && a.n < JAVA_NAME_MAX ? a : b;
}

void java_names_find(struct str code, struct java_names *ret_names)
{
    struct scan s = {.rest = code};
    while (s.rest.n > 0) {
        if (is_name(s.rest.p[0]))
            take_word(&s);
        else if (!skip_opaque(&s))
            take_mark(&s);
    }
    struct str file = either(s.public_class, either(s.with_main, STR("Main")));
    struct str main_class = either(s.with_main, file);
    bool packaged = s.package.n > 0 && s.package.n < JAVA_NAME_MAX;
    snprintf(ret_names->file_class, sizeof ret_names->file_class, STR_FMT, STR_ARG(file));
    snprintf(ret_names->main_class, sizeof ret_names->main_class, STR_FMT "%s" STR_FMT,
             STR_ARG(packaged ? s.package : STR("")), packaged ? "." : "", STR_ARG(main_class));
}
