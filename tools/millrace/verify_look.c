/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/verify_look.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { DIFFERENCE_MAX = 1024 };

const char *verify_key(const struct verify *v, unsigned slot, const char *fmt, ...)
{
    static char keys[4][VERIFY_KEY_MAX];
    char *key = keys[slot & 3];
    size_t n = (size_t)snprintf(key, VERIFY_KEY_MAX, "%s", v->base);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(key + n, VERIFY_KEY_MAX - n, fmt, ap);
    va_end(ap);
    return key;
}

void verify_differs(struct verify *v, const char *key, const char *fmt, ...)
{
    char line[DIFFERENCE_MAX];
    size_t n = (size_t)snprintf(line, sizeof line, "%.*s: ", VERIFY_KEY_MAX, key);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line + n, sizeof line - n, fmt, ap);
    va_end(ap);
    for (char *p = line; *p; p++)
        *p = *p == '\n' || *p == '\r' || *p == 27 ? '?' : *p; /* it came out of a store */
    if (tally_get(&v->found, line) == v->look)                /* once a look, and not anew in a later one */
        tally_add(&v->found, line, 1);
}
