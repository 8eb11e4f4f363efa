/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http/chunked.h"

enum state {
    CH_SIZE,       /* hex digits */
    CH_EXTENSION,  /* after ';' up to CR */
    CH_SIZE_LF,    /* LF of the size line */
    CH_DATA,       /* `left` bytes */
    CH_DATA_CR,    /* CRLF behind the data */
    CH_DATA_LF,    /* */
    CH_TRAILER,    /* first byte of a trailer line, or CR of the last empty one */
    CH_TRAILER_IN, /* inside a trailer line */
    CH_TRAILER_LF, /* LF of a trailer line */
    CH_END_LF,     /* LF of the empty line */
    CH_DONE,
};

/* Bytes that may stand in an extension or a trailer: no control but TAB. */
static bool text_byte(char c)
{
    unsigned char u = (unsigned char)c;
    return u == '\t' || (u >= 0x20 && u != 0x7f);
}

/* Next state, or -1. */
static int size_byte(struct chunked *c, char b)
{
    int v = hex_value(b);
    if (v >= 0) {
        if (c->digits == 16 || c->left >> 59)
            return -1;
        c->digits++;
        c->left = c->left << 4 | (unsigned)v;
        return CH_SIZE;
    }
    if (c->digits == 0)
        return -1;
    return b == ';' ? CH_EXTENSION : b == '\r' ? CH_SIZE_LF : -1;
}

static int after_size_line(struct chunked *c, char b)
{
    c->digits = 0;
    return b != '\n' ? -1 : c->left == 0 ? CH_TRAILER : CH_DATA;
}

static int framing_byte(struct chunked *c, char b)
{
    switch ((enum state)c->state) {
    case CH_SIZE:
        return size_byte(c, b);
    case CH_EXTENSION:
        return b == '\r' ? CH_SIZE_LF : text_byte(b) ? CH_EXTENSION : -1;
    case CH_SIZE_LF:
        return after_size_line(c, b);
    case CH_DATA_CR:
        return b == '\r' ? CH_DATA_LF : -1;
    case CH_DATA_LF:
        return b == '\n' ? CH_SIZE : -1;
    case CH_TRAILER:
        return b == '\r' ? CH_END_LF : text_byte(b) && b != ' ' && b != '\t' ? CH_TRAILER_IN : -1;
    case CH_TRAILER_IN:
        return b == '\r' ? CH_TRAILER_LF : text_byte(b) ? CH_TRAILER_IN : -1;
    case CH_TRAILER_LF:
        return b == '\n' ? CH_TRAILER : -1;
    case CH_END_LF:
        return b == '\n' ? CH_DONE : -1;
    case CH_DATA:
    case CH_DONE:
        break;
    }
    return -1;
}

static size_t take_data(struct chunked *c, struct str in, struct buf *out)
{
    size_t n = in.n < c->left ? in.n : (size_t)c->left;
    buf_append(out, in.p, n);
    c->left -= n;
    c->payload += n;
    if (c->left == 0)
        c->state = CH_DATA_CR;
    return n;
}

enum err chunked_decode(struct chunked *c, struct str in, struct buf *out, size_t *ret_used)
{
    size_t at = 0;
    enum err e = ERR_OK;
    while (e == ERR_OK && c->state != CH_DONE) {
        if (at == in.n) {
            e = ERR_AGAIN;
        } else if (c->state == CH_DATA) {
            at += take_data(c, (struct str){in.p + at, in.n - at}, out);
            e = buf_status(out);
        } else {
            int next = framing_byte(c, in.p[at++]);
            if (next < 0 || ++c->overhead > CHUNKED_OVERHEAD + c->payload / 8)
                e = ERR_PROTOCOL;
            else
                c->state = (unsigned char)next;
        }
    }
    *ret_used = at;
    return e;
}

bool chunked_exceeds(const struct chunked *c, uint64_t max)
{
    return c->payload + (c->state == CH_DATA ? c->left : 0) > max;
}
