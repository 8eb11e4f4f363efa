/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/imports.h"

#include <ctype.h>
#include <string.h>

static bool in_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static bool has_word(struct str line, struct str word)
{
    const char *end = line.p + line.n;
    for (const char *p = line.p; (p = memmem(p, (size_t)(end - p), word.p, word.n)) != NULL; p++) {
        bool begins = p == line.p || (!in_word(p[-1]) && p[-1] != '.');
        if (begins && (p + word.n == end || !in_word(p[word.n])))
            return true;
    }
    return false;
}

static bool names_one(struct str line, const char *names)
{
    for (struct str rest = str_of(names); rest.p != NULL;)
        if (has_word(line, str_split(&rest, '|')))
            return true;
    return false;
}

/* The line around `at`, cut on both sides at IMPORTS_LINE_MAX bytes. */
static struct str line_around(struct str text, const char *at)
{
    const char *begin = at, *end = text.p + text.n;
    while (begin > text.p && begin[-1] != '\n' && at - begin < IMPORTS_LINE_MAX)
        begin--;
    if (end - at > IMPORTS_LINE_MAX)
        end = at + IMPORTS_LINE_MAX;
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    return (struct str){.p = begin, .n = (size_t)((newline != NULL ? newline : end) - begin)};
}

bool imports_any(struct str code, const char *names)
{
    static const char word[] = "import";
    struct str text = {.p = code.p, .n = code.n < IMPORTS_SCAN_MAX ? code.n : IMPORTS_SCAN_MAX};
    if (text.n == 0) /* and then there may be no pointer to count from */
        return false;
    const char *end = text.p + text.n;
    for (const char *p = text.p;
         p < end && (p = memmem(p, (size_t)(end - p), word, sizeof word - 1)) != NULL;) {
        struct str line = line_around(text, p);
        if (names_one(line, names))
            return true;
        p = line.p + line.n > p ? line.p + line.n : p + 1;
    }
    return false;
}
