/* SPDX-License-Identifier: Apache-2.0 */
#include "base/dotenv.h"

#include "base/utf8.h"

#include <string.h>

enum { TEXT_MAX = 65536 };

static bool is_name_char(char c, bool first)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || (!first && c >= '0' && c <= '9');
}

static bool name_valid(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!is_name_char(name.p[i], i == 0))
            return false;
    return name.n > 0;
}

static struct str rest_of(struct str s, size_t used)
{
    return (struct str){.p = s.p + used, .n = s.n - used};
}

/* What may follow a closed quote: nothing, or a comment. */
static bool is_end(struct str s)
{
    s = str_trim(s);
    return s.n == 0 || s.p[0] == '#';
}

static const char *read_single(struct str s, struct buf *value)
{
    const char *close = memchr(s.p, '\'', s.n);
    if (close == NULL)
        return "the quote is not closed on its line";
    size_t n = (size_t)(close - s.p);
    buf_append(value, s.p, n);
    return is_end(rest_of(s, n + 1)) ? NULL : "there is text behind the closing quote";
}

static const char *read_double(struct str s, struct buf *value)
{
    static const char escapes[] = "nrt\\\"$", meant[] = "\n\r\t\\\"$";
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            return is_end(rest_of(s, i + 1)) ? NULL : "there is text behind the closing quote";
        if (s.p[i] != '\\') {
            buf_append_char(value, s.p[i]);
            continue;
        }
        const char *known = ++i < s.n ? memchr(escapes, s.p[i], sizeof escapes - 1) : NULL;
        if (known == NULL)
            return "unknown escape; use \\n \\r \\t \\\\ \\\" \\$, or single quotes";
        buf_append_char(value, meant[known - escapes]);
    }
    return "the quote is not closed on its line";
}

static const char *read_plain(struct str s, struct buf *value)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '#' && (i == 0 || s.p[i - 1] == ' ' || s.p[i - 1] == '\t'))
            s.n = i;
    buf_append_str(value, str_trim(s));
    return NULL;
}

/* Returns NULL or what is wrong with the line. */
static const char *read_line(struct str line, struct str *ret_name, struct buf *value)
{
    if (str_starts(line, STR("export ")))
        line = str_trim(rest_of(line, 7));
    struct str rest = line;
    struct str name = str_trim(str_split(&rest, '='));
    if (rest.p == NULL)
        return "no '='; a line is NAME=value";
    if (!name_valid(name))
        return "the name must be of A-Z a-z 0-9 _ and not begin with a digit";
    *ret_name = name;
    struct str s = str_trim(rest);
    const char *wrong = s.n > 0 && s.p[0] == '\''  ? read_single(rest_of(s, 1), value)
                        : s.n > 0 && s.p[0] == '"' ? read_double(rest_of(s, 1), value)
                                                   : read_plain(s, value);
    return wrong != NULL ? wrong : buf_status(value) != ERR_OK ? "out of memory" : NULL;
}

/* A file has at most TEXT_MAX bytes and is read once, so looking back is good enough. */
static bool named_before(struct str text, const char *until, struct str name)
{
    for (struct str rest = {.p = text.p, .n = (size_t)(until - text.p)}; rest.p != NULL;) {
        struct str line = str_trim(str_split(&rest, '\n'));
        if (str_starts(line, STR("export ")))
            line = str_trim(rest_of(line, 7));
        if (str_eq(str_trim(str_split(&line, '=')), name))
            return true;
    }
    return false;
}

static enum err check_text(struct str text, struct errinfo *info)
{
    if (text.n > TEXT_MAX)
        return errinfo_set(info, ERR_INVALID, 0, "longer than %d bytes", TEXT_MAX);
    if (!utf8_valid(text))
        return errinfo_set(info, ERR_INVALID, 0, "not UTF-8");
    if (text.n > 0 && memchr(text.p, '\0', text.n) != NULL)
        return errinfo_set(info, ERR_INVALID, 0, "holds a NUL byte");
    return ERR_OK;
}

enum err dotenv_parse(struct str text, dotenv_cb cb, void *arg, struct errinfo *info)
{
    enum err e = check_text(text, info);
    if (e != ERR_OK)
        return e;
    if (str_starts(text, STR("\xef\xbb\xbf")))
        text = rest_of(text, 3);
    unsigned number = 0;
    for (struct str rest = text; rest.p != NULL;) {
        struct str line = str_split(&rest, '\n');
        number++;
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        const char *start = line.p;
        line = str_trim(line);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        auto_buf value = BUF_INIT(TEXT_MAX);
        struct str name = {0};
        const char *wrong = read_line(line, &name, &value);
        if (wrong == NULL && named_before(text, start, name))
            wrong = "this name was given before";
        if (wrong != NULL)
            return errinfo_set(info, ERR_INVALID, 0, "line %u: %s", number, wrong);
        cb(arg, number, name, buf_str(&value));
    }
    return ERR_OK;
}
