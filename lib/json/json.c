/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json.h"

#include <string.h>

enum err json_parse(struct str text, json_t **ret_value, struct errinfo *info)
{
    json_error_t why;
    json_t *value = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (value == NULL)
        return errinfo_set(info, ERR_INVALID, 0, "not valid JSON at line %d column %d: %s", why.line, why.column,
                           why.text);
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

void json_write_string(struct buf *out, struct str s)
{
    buf_append_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\') {
            char pair[2] = {'\\', (char)c};
            buf_append(out, pair, 2);
        } else if (c < 0x20) {
            buf_printf(out, "\\u%04x", c);
        } else {
            buf_append_char(out, (char)c);
        }
    }
    buf_append_char(out, '"');
}

void json_cleanup(json_t **value)
{
    json_decref(*value);
}
