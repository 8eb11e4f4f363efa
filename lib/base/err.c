/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *err_text(enum err e)
{
    static const char *const texts[] = {
#define X(name, text) [ERR_##name] = (text),
        ERR_TABLE(X)
#undef X
    };
    return (unsigned)e < ERR_COUNT ? texts[e] : "unknown error";
}

/* The text was cut at a byte, and may quote what a client sent: it is shown, so it must be UTF-8. */
static void make_utf8(char *text)
{
    struct str s = str_of(text);
    text[utf8_complete(s)] = '\0';
    for (s = str_of(text); s.n > 0;) {
        enum utf8_kind kind;
        size_t n = utf8_next(s, &kind);
        if (kind != UTF8_GOOD)
            memset(text + (s.p - text), '?', n);
        s = (struct str){.p = s.p + n, .n = s.n - n};
    }
}

enum err errinfo_set(struct errinfo *info, enum err code, int sys, const char *fmt, ...)
{
    if (info == NULL)
        return code;
    info->code = code;
    info->sys = sys;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(info->text, sizeof info->text, fmt, ap);
    va_end(ap);
    if (sys != 0 && n >= 0 && (size_t)n < sizeof info->text) {
        char why[96];
        snprintf(info->text + n, sizeof info->text - (size_t)n, ": %s", strerror_r(sys, why, sizeof why));
    }
    make_utf8(info->text);
    return code;
}

enum err errinfo_wrap(struct errinfo *info, const char *fmt, ...)
{
    if (info == NULL)
        return ERR_SYSTEM;
    char inner[sizeof info->text];
    memcpy(inner, info->text, sizeof inner);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(info->text, sizeof info->text, fmt, ap);
    va_end(ap);
    size_t room = n >= 0 && (size_t)n < sizeof info->text ? sizeof info->text - (size_t)n : 0;
    if (room > 3)
        snprintf(info->text + n, room, ": %.*s", (int)(room - 3), inner);
    make_utf8(info->text);
    return info->code;
}
