/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http/multipart_head.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

enum { VALUE_MAX = 3 * MULTIPART_FILENAME_MAX + 32 };

static bool is_token_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static struct str skip_space(struct str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = (struct str){.p = s.p + 1, .n = s.n - 1};
    return s;
}

static struct str take_token(struct str *rest)
{
    size_t n = 0;
    while (n < rest->n && is_token_byte(rest->p[n]))
        n++;
    struct str token = {.p = rest->p, .n = n};
    *rest = (struct str){.p = rest->p + n, .n = rest->n - n};
    return token;
}

/* ---- parameters: ; key=token ; key="quoted" ---- */

/* `rest` begins with the quote. A backslash counts before '"' and '\\' only: names come with others. */
static bool take_quoted(struct str *rest, struct buf *out)
{
    for (size_t i = 1; i < rest->n; i++) {
        char c = rest->p[i];
        if (c == '"') {
            *rest = (struct str){.p = rest->p + i + 1, .n = rest->n - i - 1};
            return true;
        }
        if (c == '\\' && i + 1 < rest->n && (rest->p[i + 1] == '"' || rest->p[i + 1] == '\\'))
            c = rest->p[++i];
        buf_append_char(out, c);
    }
    return false;
}

/* The next parameter. *ret_key.n is 0 at the end. False: malformed. */
static bool take_parameter(struct str *rest, struct str *ret_key, struct buf *value)
{
    buf_reset(value);
    *ret_key = (struct str){.p = rest->p, .n = 0};
    *rest = skip_space(*rest);
    if (rest->n == 0)
        return true;
    if (rest->p[0] != ';')
        return false;
    *rest = skip_space((struct str){.p = rest->p + 1, .n = rest->n - 1});
    if (rest->n == 0)
        return true; /* a last ';' */
    *ret_key = take_token(rest);
    if (ret_key->n == 0 || rest->n == 0 || rest->p[0] != '=')
        return false;
    *rest = (struct str){.p = rest->p + 1, .n = rest->n - 1};
    if (rest->n && rest->p[0] == '"')
        return take_quoted(rest, value) && !buf_status(value);
    struct str token = take_token(rest);
    buf_append_str(value, token);
    return token.n > 0 && !buf_status(value);
}

/* ---- names ---- */

static bool copy_text(struct str text, char *out, size_t size)
{
    if (text.n >= size || !utf8_valid(text))
        return false;
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f)
            return false;
    if (text.n)
        memcpy(out, text.p, text.n);
    out[text.n] = '\0';
    return true;
}

static bool append_latin1(struct buf *out, unsigned char c)
{
    if (c >= 0x80) {
        buf_append_char(out, (char)(0xc0 | c >> 6));
        buf_append_char(out, (char)(0x80 | (c & 0x3f)));
    } else {
        buf_append_char(out, (char)c);
    }
    return true;
}

/* RFC 8187: charset'language'percent-encoded. */
static bool decode_extended(struct str value, struct buf *out)
{
    struct str text = value, charset = str_split(&text, '\'');
    if (!text.p)
        return false;
    str_split(&text, '\''); /* the language */
    bool latin1 = str_eq_nocase(charset, STR("iso-8859-1"));
    if (!text.p || !(latin1 || str_eq_nocase(charset, STR("utf-8"))))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        int c = (unsigned char)text.p[i];
        if (c == '%') {
            int high = i + 2 < text.n ? hex_value(text.p[i + 1]) : -1,
                low = high < 0 ? -1 : hex_value(text.p[i + 2]);
            if (low < 0)
                return false;
            c = high << 4 | low;
            i += 2;
        } else if (!is_token_byte(text.p[i])) {
            return false;
        }
        if (latin1)
            append_latin1(out, (unsigned char)c);
        else
            buf_append_char(out, (char)c);
    }
    return !buf_status(out);
}

/* ---- Content-Disposition ---- */

struct disposition {
    struct multipart_part *part;
    bool seen, name, filename, extended;
};

static const char *take_extended(struct disposition *d, struct str value)
{
    auto_buf text = BUF_INIT(VALUE_MAX);
    if (d->extended)
        return "two file names";
    d->extended = d->part->has_filename = true;
    return decode_extended(value, &text) &&
                   copy_text(buf_str(&text), d->part->filename, sizeof d->part->filename)
               ? NULL
               : "filename* must be UTF-8''..., percent-encoded, without control characters";
}

static const char *take_filename(struct disposition *d, struct str value)
{
    char text[MULTIPART_FILENAME_MAX + 1];
    if (d->filename)
        return "two file names";
    d->filename = d->part->has_filename = true;
    if (!copy_text(value, text, sizeof text))
        return "the file name must be UTF-8, at most 1024 bytes, without control characters";
    if (!d->extended)
        memcpy(d->part->filename, text, sizeof text);
    return NULL;
}

static const char *take_name(struct disposition *d, struct str value)
{
    if (d->name)
        return "two names";
    d->name = true;
    return value.n > 0 && copy_text(value, d->part->name, sizeof d->part->name)
               ? NULL
               : "its name must be UTF-8, 1 to 128 bytes, without control characters";
}

static const char *read_disposition(struct disposition *d, struct str value)
{
    static const struct {
        const char *key;
        const char *(*take)(struct disposition *d, struct str value);
    } rows[] = {{"name", take_name}, {"filename", take_filename}, {"filename*", take_extended}};
    if (d->seen)
        return "two Content-Disposition lines";
    d->seen = true;
    struct str rest = value, key;
    if (!str_eq_nocase(take_token(&rest), STR("form-data")))
        return "its Content-Disposition must be form-data";
    auto_buf text = BUF_INIT(VALUE_MAX);
    do {
        if (!take_parameter(&rest, &key, &text))
            return "malformed Content-Disposition";
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            const char *why =
                str_eq_nocase(key, str_of(rows[i].key)) ? rows[i].take(d, buf_str(&text)) : NULL;
            if (why)
                return why;
        }
    } while (key.n > 0);
    return NULL;
}

/* ---- lines ---- */

static const char *read_encoding(struct disposition *d, struct str value)
{
    (void)d;
    bool plain = str_eq_nocase(value, STR("binary")) || str_eq_nocase(value, STR("8bit")) ||
                 str_eq_nocase(value, STR("7bit"));
    return plain ? NULL : "a Content-Transfer-Encoding is not supported; send the bytes as they are";
}

static const char *read_type(struct disposition *d, struct str value)
{
    if (d->part->type[0] != '\0')
        return "two Content-Type lines";
    return copy_text(value, d->part->type, sizeof d->part->type) ? NULL
                                                                 : "its Content-Type is too long or no text";
}

static bool value_valid(struct str value)
{
    for (size_t i = 0; i < value.n; i++)
        if (((unsigned char)value.p[i] < 0x20 && value.p[i] != '\t') || value.p[i] == 0x7f)
            return false;
    return true;
}

static const char *read_line(struct disposition *d, struct str line)
{
    static const struct {
        const char *name;
        const char *(*read)(struct disposition *d, struct str value);
    } rows[] = {{"content-disposition", read_disposition},
                {"content-transfer-encoding", read_encoding},
                {"content-type", read_type}};
    struct str rest = line, name = take_token(&rest);
    if (name.n == 0 || rest.n == 0 || rest.p[0] != ':')
        return "a header line without a name and a colon";
    struct str value = str_trim((struct str){.p = rest.p + 1, .n = rest.n - 1});
    if (!value_valid(value))
        return "control characters in its header";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_eq_nocase(name, str_of(rows[i].name)))
            return rows[i].read(d, value);
    return NULL;
}

bool multipart_head_read(struct str head, struct multipart_part *part, const char **ret_why)
{
    struct disposition d = {.part = part};
    const char *why = NULL;
    struct str rest = head;
    for (unsigned lines = 0; !why && rest.n > 2; lines++) {
        struct str line = str_split(&rest, '\n');
        if (line.n == 0 || line.p[line.n - 1] != '\r')
            why = "a header line does not end with CRLF";
        else if (lines == MULTIPART_LINES_MAX)
            why = "too many header lines";
        else
            why = read_line(&d, (struct str){.p = line.p, .n = line.n - 1});
    }
    if (!why && !d.name)
        why = "no Content-Disposition with a name";
    *ret_why = why;
    return why == NULL;
}

/* ---- the boundary ---- */

static bool boundary_valid(struct str s)
{
    if (s.n == 0 || s.n > MULTIPART_BOUNDARY_MAX || s.p[s.n - 1] == ' ')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    (c != '\0' && strchr("'()+_,-./:=? ", c));
        if (!good)
            return false;
    }
    return true;
}

enum err multipart_boundary(struct str content_type, char ret_boundary[MULTIPART_BOUNDARY_MAX + 1])
{
    struct str rest = skip_space(content_type), key, boundary = {0};
    struct str type = take_token(&rest);
    bool slash = rest.n && rest.p[0] == '/';
    if (slash)
        rest = (struct str){.p = rest.p + 1, .n = rest.n - 1};
    struct str subtype = take_token(&rest);
    if (!slash || !str_eq_nocase(type, STR("multipart")) || !str_eq_nocase(subtype, STR("form-data")))
        return ERR_UNSUPPORTED;
    auto_buf text = BUF_INIT(256);
    char found[MULTIPART_BOUNDARY_MAX + 1];
    do {
        if (!take_parameter(&rest, &key, &text))
            return ERR_INVALID;
        if (!str_eq_nocase(key, STR("boundary")))
            continue;
        if (boundary.n || !boundary_valid(buf_str(&text)))
            return ERR_INVALID;
        boundary = (struct str){.p = found, .n = text.len};
        memcpy(found, text.data, text.len);
    } while (key.n > 0);
    if (!boundary.n)
        return ERR_INVALID;
    memcpy(ret_boundary, found, boundary.n);
    ret_boundary[boundary.n] = '\0';
    return ERR_OK;
}
