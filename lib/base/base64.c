/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buf *out, struct str bytes)
{
    char *room = buf_reserve(out, BASE64_LEN(bytes.n));
    if (room == NULL)
        return;
    const unsigned char *p = (const unsigned char *)bytes.p;
    size_t i = 0;
    for (; i < bytes.n; i += 3) {
        size_t left = bytes.n - i;
        uint32_t group =
            (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);
        *room++ = alphabet[group >> 18];
        *room++ = alphabet[group >> 12 & 63];
        *room++ = left > 1 ? alphabet[group >> 6 & 63] : '=';
        *room++ = left > 2 ? alphabet[group & 63] : '=';
    }
    *room = '\0';
    out->len += BASE64_LEN(bytes.n);
}

/* 0..63, or -1. `last`: the characters of 62 and 63. */
static int value_of(unsigned char c, const char last[2])
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == (unsigned char)last[0] ? 62 : c == (unsigned char)last[1] ? 63 : -1;
}

/* One group of four; the last `pad` of them count as zero. Returns false when a character or a left-over bit is
   wrong. */
static bool decode_group(const char *four, unsigned pad, const char last[2], char *ret_bytes)
{
    uint32_t group = 0;
    for (unsigned i = 0; i < 4; i++) {
        int value = i < 4 - pad ? value_of((unsigned char)four[i], last) : 0;
        if (value < 0)
            return false;
        group = group << 6 | (uint32_t)value;
    }
    if ((pad == 1 && (group & 0xff) != 0) || (pad == 2 && (group & 0xffff) != 0))
        return false;
    for (unsigned i = 0; i < 3 - pad; i++)
        ret_bytes[i] = (char)(group >> (16 - 8 * i) & 0xff);
    return true;
}

/* `text` has four characters for every group, but for the last one, which has 4 - pad at least. */
static enum err decode(struct buf *out, struct str text, unsigned pad, const char last[2])
{
    size_t len = (text.n + 3) / 4 * 3 - pad;
    char *room = buf_reserve(out, len);
    if (room == NULL)
        return buf_status(out);
    enum err result = ERR_OK;
    for (size_t i = 0; i < text.n && result == ERR_OK; i += 4, room += 3)
        if (!decode_group(text.p + i, i + 4 >= text.n ? pad : 0, last, room))
            result = ERR_INVALID;
    if (result == ERR_OK)
        out->len += len;
    out->data[out->len] = '\0';
    return result;
}

enum err base64_decode(struct buf *out, struct str text)
{
    if (text.n % 4 != 0)
        return ERR_INVALID;
    if (text.n == 0)
        return buf_status(out);
    unsigned pad = text.p[text.n - 1] != '=' ? 0 : text.p[text.n - 2] != '=' ? 1 : 2;
    return decode(out, text, pad, "+/");
}

enum err base64url_decode(struct buf *out, struct str text)
{
    if (text.n % 4 == 1)
        return ERR_INVALID;
    if (text.n == 0)
        return buf_status(out);
    return decode(out, text, (unsigned)(4 - text.n % 4) % 4, "-_");
}
