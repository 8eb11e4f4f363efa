/* SPDX-License-Identifier: Apache-2.0 */
/* A growable byte buffer that is given its maximum when it is made. Appending past the maximum (or without
   memory) sets a sticky failure: append many, check once with buf_status(). */
#ifndef MILLRACE_BASE_BUF_H
#define MILLRACE_BASE_BUF_H

#include "base/str.h"

#include <stdarg.h>

struct buf {
    char *data; /* always NUL-terminated behind len once non-NULL */
    size_t len;
    size_t cap;
    size_t max;
    enum err failed; /* ERR_OK, ERR_FULL or ERR_NOMEM; sticky until buf_reset */
};

#define BUF_INIT(maximum) ((struct buf){.max = (maximum)})

void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b);  /* releases memory; b may be used again */
void buf_reset(struct buf *b); /* empties, keeps memory, clears the failure */

void buf_append(struct buf *b, const void *data, size_t len);
void buf_append_str(struct buf *b, struct str s);
void buf_append_cstr(struct buf *b, const char *s);
void buf_append_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);

/* Room for `len` more bytes at b->data + b->len, or NULL (failure is set). Commit with b->len += used. */
char *buf_reserve(struct buf *b, size_t len);
/* Drop the first `len` bytes. */
void buf_consume(struct buf *b, size_t len);

enum err buf_status(const struct buf *b);
struct str buf_str(const struct buf *b);
const char *buf_cstr(struct buf *b); /* "" when empty or failed */

void buf_cleanup(struct buf *b);
#define auto_buf __attribute__((cleanup(buf_cleanup))) struct buf

#endif
