/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json.h"

#include "json/scan.h"

#include <string.h>

void json_start(void)
{
    json_object_seed(0);
}

enum err json_parse(struct str text, json_t **ret_value, struct errinfo *info)
{
    return json_parse_clamped(text, NULL, ret_value, info);
}

enum err json_parse_clamped(struct str text, const char *const *members, json_t **ret_value,
                            struct errinfo *info)
{
    auto_buf copy = BUF_INIT(text.n);
    enum err e = json_scan(text, JSON_MAX_DEPTH, members, &copy, info);
    if (e != ERR_OK)
        return e;
    if (copy.len > 0)
        text = buf_str(&copy);
    if (text.n == 0)
        return errinfo_set(info, ERR_INVALID, 0, "not valid JSON: the text is empty");
    json_error_t why;
    json_t *value =
        json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (value == NULL && json_error_code(&why) == json_error_out_of_memory)
        return errinfo_set(info, ERR_NOMEM, 0, "out of memory");
    if (value == NULL)
        return errinfo_set(info, ERR_INVALID, 0, "not valid JSON at line %d column %d: %s", why.line,
                           why.column, why.text);
    *ret_value = value;
    return ERR_OK;
}

static int append_chunk(const char *data, size_t len, void *out)
{
    buf_append(out, data, len);
    return buf_status(out) == ERR_OK ? 0 : -1;
}

enum err json_write(const json_t *value, struct buf *out)
{
    if (json_dump_callback(value, append_chunk, out, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
        return buf_status(out) != ERR_OK ? buf_status(out) : ERR_NOMEM;
    return ERR_OK;
}

static bool needs_escape(char c)
{
    return (unsigned char)c < 0x20 || c == '"' || c == '\\';
}

static void append_escape(struct buf *out, char c)
{
    static const char plain[] = "\"\\\n\t\r\b\f", letters[] = "\"\\ntrbf";
    const char *known = memchr(plain, c, sizeof plain - 1);
    if (known != NULL) {
        const char pair[2] = {'\\', letters[known - plain]};
        buf_append(out, pair, 2);
    } else {
        buf_printf(out, "\\u%04x", (unsigned)c);
    }
}

void json_write_string(struct buf *out, struct str s)
{
    buf_append_char(out, '"');
    size_t plain = 0; /* where the run of characters that need no escape began */
    for (size_t i = 0; i < s.n; i++) {
        if (!needs_escape(s.p[i]))
            continue;
        buf_append(out, s.p + plain, i - plain);
        append_escape(out, s.p[i]);
        plain = i + 1;
    }
    if (plain < s.n) /* an empty view may be NULL */
        buf_append(out, s.p + plain, s.n - plain);
    buf_append_char(out, '"');
}

void json_cleanup(json_t **value)
{
    json_decref(*value);
}
