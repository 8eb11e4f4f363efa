/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/errors.h"

#include "json/json.h"

#include <assert.h>
#include <string.h>

static const struct client_error_row rows[] = {
#define X(symbol, status_, type_, text_, fix_)                                                               \
    [CE_##symbol] = {.status = (status_), .type = (type_), .text = (text_), .fix = (fix_)},
#include "schema/errors.def"
#undef X
};

const struct client_error_row *client_error_row(enum client_error error)
{
    assert((unsigned)error < CE_COUNT);
    return &rows[error];
}

/* The name before ": ", or nothing when the sentence does not begin with a name. */
static struct str field_of(struct str detail)
{
    const char *colon = detail.n > 0 ? memmem(detail.p, detail.n, ": ", 2) : NULL;
    size_t n = colon != NULL ? (size_t)(colon - detail.p) : 0;
    if (n == 0 || memchr(detail.p, ' ', n) != NULL)
        return (struct str){.p = detail.p, .n = 0};
    return (struct str){.p = detail.p, .n = n};
}

static void write_detail(const struct client_error_row *row, struct str detail, struct buf *out)
{
    struct str field = field_of(detail);
    struct str message = detail;
    if (field.n > 0)
        message = (struct str){.p = detail.p + field.n + 2, .n = detail.n - field.n - 2};
    buf_append_cstr(out, "[{\"field\":");
    if (field.n > 0)
        json_write_string(out, field);
    else
        buf_append_cstr(out, "null");
    buf_append_cstr(out, ",\"message\":");
    json_write_string(out, message);
    buf_append_cstr(out, ",\"code\":");
    json_write_string(out, str_of(row->type));
    buf_append_cstr(out, "}]");
}

/* Clients compare `error` with it: the sentence for people is `message`. */
static bool is_word(const struct client_error_row *row)
{
    return row->status == 429 || strcmp(row->text, row->type) == 0;
}

static const char *error_text(const struct client_error_row *row, const char *detail)
{
    return is_word(row) || detail == NULL || detail[0] == '\0' ? row->text : detail;
}

void client_error_write(enum client_error error, const char *detail, const char *request_id,
                        int retry_after_s, struct buf *out)
{
    const struct client_error_row *row = client_error_row(error);
    const char *fix = row->fix;
    bool precise = detail != NULL && detail[0] != '\0';
    buf_append_cstr(out, "{\"error\":");
    json_write_string(out, str_of(error_text(row, detail)));
    if (is_word(row)) {
        buf_append_cstr(out, ",\"message\":");
        json_write_string(out, str_of(precise ? detail : fix));
    }
    buf_append_cstr(out, ",\"error_type\":");
    json_write_string(out, str_of(row->type));
    buf_append_cstr(out, ",\"details\":");
    write_detail(row, str_of(precise ? detail : fix), out);
    buf_append_cstr(out, ",\"request_id\":");
    json_write_string(out, str_of(request_id));
    if (retry_after_s > 0)
        buf_printf(out, ",\"retry_after_seconds\":%d", retry_after_s);
    buf_append_cstr(out, "}\n");
}
