/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <string.h>

/* By first byte: how long the character is and what its second byte may be (Unicode table 3-7). */
static const struct lead {
    unsigned char first, last, length, second_min, second_max;
} leads[] = {
    {.first = 0x00, .last = 0x7f, .length = 1, .second_min = 0x00, .second_max = 0x00},
    {.first = 0xc2, .last = 0xdf, .length = 2, .second_min = 0x80, .second_max = 0xbf},
    {.first = 0xe0, .last = 0xe0, .length = 3, .second_min = 0xa0, .second_max = 0xbf},
    {.first = 0xe1, .last = 0xec, .length = 3, .second_min = 0x80, .second_max = 0xbf},
    {.first = 0xed, .last = 0xed, .length = 3, .second_min = 0x80, .second_max = 0x9f},
    {.first = 0xee, .last = 0xef, .length = 3, .second_min = 0x80, .second_max = 0xbf},
    {.first = 0xf0, .last = 0xf0, .length = 4, .second_min = 0x90, .second_max = 0xbf},
    {.first = 0xf1, .last = 0xf3, .length = 4, .second_min = 0x80, .second_max = 0xbf},
    {.first = 0xf4, .last = 0xf4, .length = 4, .second_min = 0x80, .second_max = 0x8f},
};

static const struct lead *lead_of(unsigned char byte)
{
    for (size_t i = 0; i < sizeof leads / sizeof leads[0]; i++)
        if (byte >= leads[i].first && byte <= leads[i].last)
            return &leads[i];
    return NULL;
}

size_t utf8_next(struct str s, enum utf8_kind *ret_kind)
{
    const unsigned char *p = (const unsigned char *)s.p;
    const struct lead *lead = lead_of(p[0]);
    *ret_kind = UTF8_BAD;
    if (lead == NULL)
        return 1;
    for (size_t i = 1; i < lead->length; i++) {
        if (i == s.n) {
            *ret_kind = UTF8_SHORT;
            return i;
        }
        unsigned least = i == 1 ? lead->second_min : 0x80;
        unsigned most = i == 1 ? lead->second_max : 0xbf;
        if (p[i] < least || p[i] > most)
            return i;
    }
    *ret_kind = UTF8_GOOD;
    return lead->length;
}

/* Length of the run of ASCII at the start, eight bytes at a time: nearly all output is such a run. */
static size_t ascii_run(struct str s)
{
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        uint64_t word;
        memcpy(&word, s.p + i, 8);
        if ((word & 0x8080808080808080U) != 0)
            break;
    }
    while (i < s.n && (unsigned char)s.p[i] < 0x80)
        i++;
    return i;
}

static struct str rest_of(struct str s, size_t used)
{
    if (used == 0) /* an empty view may be NULL */
        return s;
    return (struct str){.p = s.p + used, .n = s.n - used};
}

bool utf8_valid(struct str s)
{
    for (s = rest_of(s, ascii_run(s)); s.n > 0; s = rest_of(s, ascii_run(s))) {
        enum utf8_kind kind;
        size_t n = utf8_next(s, &kind);
        if (kind != UTF8_GOOD)
            return false;
        s = rest_of(s, n);
    }
    return true;
}

/* A cut character begins within the last three bytes, so only they are looked at. */
size_t utf8_complete(struct str s)
{
    for (size_t back = 1; back <= 3 && back <= s.n; back++) {
        unsigned char byte = (unsigned char)s.p[s.n - back];
        if (byte < 0x80)
            return s.n;
        if (byte < 0xc0)
            continue;
        enum utf8_kind kind;
        size_t n = utf8_next(rest_of(s, s.n - back), &kind);
        return kind == UTF8_SHORT && n == back ? s.n - back : s.n;
    }
    return s.n;
}

static void take_carry(struct utf8_carry *carry, struct buf *out)
{
    buf_append(out, carry->bytes, carry->n);
    carry->n = 0;
}

void utf8_join(struct utf8_carry *carry, struct str chunk, struct buf *out)
{
    size_t before = out->len;
    unsigned carried = carry->n;
    take_carry(carry, out);
    buf_append_str(out, chunk);
    if (buf_status(out) != ERR_OK)
        return;
    size_t whole = utf8_complete((struct str){.p = out->data + before, .n = carried + chunk.n});
    carry->n = (unsigned char)(carried + chunk.n - whole);
    memcpy(carry->bytes, out->data + before + whole, carry->n);
    out->len -= carry->n;
    out->data[out->len] = '\0';
}

void utf8_sanitize(struct buf *out, struct str s)
{
    while (s.n > 0) {
        size_t plain = ascii_run(s);
        buf_append(out, s.p, plain);
        s = rest_of(s, plain);
        if (s.n == 0)
            return;
        enum utf8_kind kind;
        size_t n = utf8_next(s, &kind);
        if (kind == UTF8_GOOD)
            buf_append(out, s.p, n);
        else
            buf_append_cstr(out, "\xef\xbf\xbd");
        s = rest_of(s, n);
    }
}
