/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store/xml.h"

#include "base/utf8.h"

#include <string.h>

void xml_init(struct xml *x, struct str document)
{
    *x = (struct xml){.rest = document};
    buf_init(&x->text, XML_TEXT_MAX);
}

void xml_free(struct xml *x)
{
    buf_free(&x->text);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip(struct xml *x, size_t n)
{
    x->rest = (struct str){.p = x->rest.p + n, .n = x->rest.n - n};
}

static void skip_space(struct xml *x)
{
    while (x->rest.n && is_space(x->rest.p[0]))
        skip(x, 1);
}

static bool take(struct xml *x, struct str what)
{
    bool there = str_starts(x->rest, what);
    if (there)
        skip(x, what.n);
    return there;
}

static bool name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == ':';
}

static struct str take_name(struct xml *x)
{
    size_t n = 0;
    while (n < x->rest.n && n <= XML_NAME_MAX && name_byte(x->rest.p[n]))
        n++;
    struct str name = {.p = x->rest.p, .n = n > XML_NAME_MAX ? 0 : n};
    skip(x, name.n);
    return name;
}

/* name="value" or name='value', passed over. */
static bool skip_attribute(struct xml *x)
{
    if (take_name(x).n == 0)
        return false;
    skip_space(x);
    if (!take(x, STR("=")))
        return false;
    skip_space(x);
    char quote = x->rest.n ? x->rest.p[0] : '\0';
    if (quote != '"' && quote != '\'')
        return false;
    skip(x, 1);
    const char *end = memchr(x->rest.p, quote, x->rest.n);
    if (!end || memchr(x->rest.p, '<', (size_t)(end - x->rest.p)))
        return false;
    skip(x, (size_t)(end - x->rest.p) + 1);
    return true;
}

static bool skip_attributes(struct xml *x)
{
    for (;;) {
        bool space = x->rest.n && is_space(x->rest.p[0]);
        skip_space(x);
        if (x->rest.n == 0)
            return false;
        char c = x->rest.p[0];
        if (c == '>' || c == '/' || c == '?')
            return true;
        if (!space || !skip_attribute(x))
            return false;
    }
}

/* ---- text ---- */

static void append_codepoint(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_append_char(out, (char)c);
        return;
    }
    char bytes[4];
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6)
        bytes[i] = (char)(0x80 | (c & 0x3f));
    bytes[0] = (char)((n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | c);
    buf_append(out, bytes, n);
}

static bool char_allowed(uint32_t c)
{
    return (c >= 0x20 && c < 0xd800) || c == '\t' || c == '\n' || c == '\r' ||
           (c >= 0xe000 && c <= 0x10ffff && (c & 0xfffe) != 0xfffe);
}

/* `digits` is what stands between "&#" and ";". */
static bool append_reference(struct buf *out, struct str digits)
{
    bool hex = digits.n && digits.p[0] == 'x';
    uint32_t c = 0;
    size_t from = hex ? 1 : 0;
    if (digits.n == from || digits.n > 8)
        return false;
    for (size_t i = from; i < digits.n; i++) {
        char d = digits.p[i];
        int v = d >= '0' && d <= '9'          ? d - '0'
                : hex && d >= 'a' && d <= 'f' ? d - 'a' + 10
                : hex && d >= 'A' && d <= 'F' ? d - 'A' + 10
                                              : -1;
        if (v < 0 || c > 0x10ffff)
            return false;
        c = c * (hex ? 16 : 10) + (uint32_t)v;
    }
    if (!char_allowed(c))
        return false;
    append_codepoint(out, c);
    return true;
}

static bool take_entity(struct xml *x)
{
    static const struct {
        const char *name;
        char c;
    } rows[] = {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};
    size_t near = x->rest.n < 12 ? x->rest.n : 12;
    const char *end = memchr(x->rest.p, ';', near);
    if (!end)
        return false;
    struct str name = {.p = x->rest.p + 1, .n = (size_t)(end - x->rest.p) - 1};
    skip(x, name.n + 2);
    if (name.n && name.p[0] == '#')
        return append_reference(&x->text, (struct str){.p = name.p + 1, .n = name.n - 1});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (str_eq(name, str_of(rows[i].name))) {
            buf_append_char(&x->text, rows[i].c);
            return true;
        }
    }
    return false;
}

/* Up to the next '<'. */
static bool take_text(struct xml *x)
{
    while (x->rest.n && x->rest.p[0] != '<') {
        size_t n = 0;
        while (n < x->rest.n && x->rest.p[n] != '<' && x->rest.p[n] != '&') {
            unsigned char c = (unsigned char)x->rest.p[n];
            if (c < 0x20 && !is_space((char)c))
                return false;
            n++;
        }
        buf_append(&x->text, x->rest.p, n);
        skip(x, n);
        if (x->rest.n && x->rest.p[0] == '&' && !take_entity(x))
            return false;
    }
    return !buf_status(&x->text);
}

static bool text_is_space(const struct xml *x)
{
    for (size_t i = 0; i < x->text.len; i++)
        if (!is_space(x->text.data[i]))
            return false;
    return true;
}

/* ---- elements ---- */

static enum xml_event bad(struct xml *x)
{
    x->rest = (struct str){.p = "!", .n = 1}; /* what is refused stays refused */
    x->started = true;
    x->depth = 0;
    return XML_BAD;
}

static bool begin(struct xml *x)
{
    x->started = true;
    take(x, STR("\xef\xbb\xbf"));
    if (take(x, STR("<?xml"))) {
        struct str head = x->rest;
        if (!skip_attributes(x) || !take(x, STR("?>")))
            return false;
        head.n -= x->rest.n;
        for (size_t i = 0; i + 9 <= head.n; i++) {
            struct str at = {.p = head.p + i, .n = head.n - i};
            if (!str_starts(at, STR("encoding")))
                continue;
            const char *u = memchr(at.p, 'U', at.n), *l = memchr(at.p, 'u', at.n);
            u = u ? u : l;
            if (!u || !str_eq_nocase((struct str){.p = u, .n = 5}, STR("UTF-8")))
                return false;
        }
    }
    skip_space(x);
    return x->rest.n > 0;
}

static enum xml_event open_element(struct xml *x)
{
    if (!text_is_space(x) || x->depth == XML_DEPTH_MAX)
        return bad(x);
    struct str name = take_name(x);
    if (name.n == 0 || !skip_attributes(x))
        return bad(x);
    x->closing = take(x, STR("/"));
    if (!take(x, STR(">")))
        return bad(x);
    x->names[x->depth++] = name;
    x->leaf = true;
    buf_reset(&x->text);
    return XML_OPEN;
}

static enum xml_event close_element(struct xml *x)
{
    x->closing = false;
    x->depth--;
    if ((!x->leaf && !text_is_space(x)) || !utf8_valid(buf_str(&x->text)))
        return bad(x);
    if (!x->leaf)
        buf_reset(&x->text);
    x->leaf = false;
    return XML_CLOSE;
}

static enum xml_event end(struct xml *x)
{
    skip_space(x);
    return x->rest.n == 0 ? XML_END : bad(x);
}

enum xml_event xml_next(struct xml *x)
{
    if (!x->started && !begin(x))
        return bad(x);
    if (x->closing)
        return close_element(x);
    if (x->depth == 0 && x->names[0].p)
        return end(x);
    if (!x->leaf)
        buf_reset(&x->text);
    if (x->depth > 0 && !take_text(x))
        return bad(x);
    if (take(x, STR("</"))) {
        struct str name = take_name(x);
        skip_space(x);
        if (x->depth == 0 || !str_eq(name, x->names[x->depth - 1]) || !take(x, STR(">")))
            return bad(x);
        return close_element(x);
    }
    return take(x, STR("<")) ? open_element(x) : bad(x);
}

struct str xml_name(const struct xml *x, enum xml_event event)
{
    return x->names[event == XML_OPEN ? x->depth - 1 : x->depth];
}
