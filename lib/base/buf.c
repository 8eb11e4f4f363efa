/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t max)
{
    *b = BUF_INIT(max);
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = BUF_INIT(b->max);
}

void buf_cleanup(struct buf *b)
{
    buf_free(b);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = ERR_OK;
    if (b->data != NULL)
        b->data[0] = '\0';
}

char *buf_reserve(struct buf *b, size_t len)
{
    if (b->failed != ERR_OK)
        return NULL;
    size_t wanted;
    if (__builtin_add_overflow(b->len, len, &wanted) || wanted > b->max) {
        b->failed = ERR_FULL;
        return NULL;
    }
    if (wanted + 1 > b->cap) {
        size_t cap = b->cap < 64 ? 64 : b->cap;
        while (cap < wanted + 1)
            cap *= 2;
        if (cap > b->max + 1)
            cap = b->max + 1;
        char *grown = realloc(b->data, cap);
        if (grown == NULL) {
            b->failed = ERR_NOMEM;
            return NULL;
        }
        b->data = grown;
        b->cap = cap;
    }
    return b->data + b->len;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
    char *room = buf_reserve(b, len);
    if (room == NULL)
        return;
    if (len > 0)
        memcpy(room, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_append_str(struct buf *b, struct str s)
{
    buf_append(b, s.p, s.n);
}

void buf_append_cstr(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_append_char(struct buf *b, char c)
{
    buf_append(b, &c, 1);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0) {
        b->failed = ERR_INVALID;
        return;
    }
    char *room = buf_reserve(b, (size_t)n);
    if (room == NULL)
        return;
    vsnprintf(room, (size_t)n + 1, fmt, ap);
    b->len += (size_t)n;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_consume(struct buf *b, size_t len)
{
    if (len >= b->len) {
        b->len = 0;
    } else {
        memmove(b->data, b->data + len, b->len - len);
        b->len -= len;
    }
    if (b->data != NULL)
        b->data[b->len] = '\0';
}

enum err buf_status(const struct buf *b)
{
    return b->failed;
}

struct str buf_str(const struct buf *b)
{
    return (struct str){.p = b->data, .n = b->len};
}

const char *buf_cstr(struct buf *b)
{
    return b->failed == ERR_OK && b->data != NULL ? b->data : "";
}
