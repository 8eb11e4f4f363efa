/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a run as clients expect them (CONTRACT 2.1.3 and 7). */
#include "api/view.h"
#include "json/json.h"

#include <string.h>

static void write_member(struct buf *out, const char *name, const json_t *value)
{
    if (!json_is_string(value))
        return;
    buf_printf(out, ",\"%s\":", name);
    json_write_string(out, (struct str){json_string_value(value), json_string_length(value)});
}

/* Both names of the session: clients of all generations read one of them. */
static void write_place(struct buf *out, const json_t *file)
{
    write_member(out, "session_id", json_object_get(file, "session_id"));
    write_member(out, "storage_session_id", json_object_get(file, "session_id"));
}

static void write_file(struct buf *out, const json_t *file)
{
    const json_t *from = json_object_get(file, "modified_from"), *size = json_object_get(file, "size");
    buf_append_cstr(out, "{\"id\":");
    json_write_string(out, str_of(json_string_value(json_object_get(file, "file_id"))));
    write_member(out, "name", json_object_get(file, "path"));
    write_place(out, file);
    if (json_is_integer(size))
        buf_printf(out, ",\"size\":%" JSON_INTEGER_FORMAT, json_integer_value(size));
    if (json_is_true(json_object_get(file, "inherited"))) /* never false: clients test for its being there */
        buf_append_cstr(out, ",\"inherited\":true");
    if (json_is_object(from) && json_is_string(json_object_get(from, "id"))) {
        buf_append_cstr(out, ",\"modified_from\":{\"id\":");
        json_write_string(out, str_of(json_string_value(json_object_get(from, "id"))));
        write_member(out, "storage_session_id", json_object_get(from, "session_id"));
        buf_append_char(out, '}');
    }
    buf_append_char(out, '}');
}

static void write_refused(struct buf *out, const json_t *file)
{
    const json_t *count = json_object_get(file, "count"), *path = json_object_get(file, "path");
    buf_append_cstr(out, "{\"name\":");
    if (json_is_string(path))
        json_write_string(out, (struct str){json_string_value(path), json_string_length(path)});
    else
        buf_append_cstr(out, "null");
    write_member(out, "reason", json_object_get(file, "refused"));
    if (json_is_integer(count))
        buf_printf(out, ",\"count\":%" JSON_INTEGER_FORMAT, json_integer_value(count));
    buf_append_char(out, '}');
}

static void write_name(struct buf *out, const json_t *file)
{
    const json_t *path = json_object_get(file, "path");
    json_write_string(out, (struct str){json_string_value(path), json_string_length(path)});
}

/* Those of `files` that have the member (and are not told otherwise), as a list called `name`. */
static void write_list(struct buf *out, const json_t *files, const char *name, const char *member,
                       void (*write)(struct buf *out, const json_t *file), bool always)
{
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(files); i++) {
        const json_t *file = json_array_get(files, i);
        if (!json_object_get(file, member))
            continue;
        if (count++ == 0)
            buf_printf(out, ",\"%s\":[", name);
        else
            buf_append_char(out, ',');
        write(out, file);
    }
    if (count > 0)
        buf_append_char(out, ']');
    else if (always)
        buf_printf(out, ",\"%s\":[]", name);
}

void view_write_files(const struct view *v, struct buf *out)
{
    if (v->files.len == 0) {
        buf_append_cstr(out, ",\"files\":[]");
        return;
    }
    auto_json files = NULL;
    auto_buf text = BUF_INIT(v->files.len + 2);
    buf_append_char(&text, '[');
    buf_append_str(&text, buf_str(&v->files));
    buf_append_char(&text, ']');
    if (json_parse(buf_str(&text), &files, NULL) != ERR_OK)
        files = NULL; /* what a damaged log says of files is not told */
    write_list(out, files, "files", "file_id", write_file, true);
    write_list(out, files, "refused_files", "refused", write_refused, false);
    write_list(out, files, "deleted_files", "deleted", write_name, false);
}
