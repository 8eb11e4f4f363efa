/* SPDX-License-Identifier: Apache-2.0 */
/* The record of a file: JSON both in the log and in the table. */
#include "queue/session.h"

#include "base/arena.h"
#include "base/buf.h"
#include "json/json.h"

static void member(struct buf *out, const char *name, struct str value)
{
    if (value.n == 0)
        return;
    buf_printf(out, ",\"%s\":", name);
    json_write_string(out, value);
}

void session_file_write(const struct session_file *file, struct buf *out)
{
    buf_append_cstr(out, "{\"path\":");
    json_write_string(out, file->path);
    buf_printf(out, ",\"id\":\"%s\",\"size\":%llu", file->id.text, (unsigned long long)file->size);
    member(out, "hash", file->hash);
    member(out, "source", file->source);
    member(out, "type", file->type);
    member(out, "job", file->job);
    if (file->job.n)
        buf_printf(out, ",\"attempt\":%u", file->attempt);
    member(out, "from_id", file->from_id);
    member(out, "from_session", file->from_session);
    member(out, "origin", file->origin);
    member(out, "link", file->link);
    if (file->folder)
        buf_append_cstr(out, ",\"folder\":true");
    if (file->mode)
        buf_printf(out, ",\"mode\":%u", file->mode);
    if (file->written_ms > 0)
        buf_printf(out, ",\"written\":%lld", (long long)file->written_ms);
    if (file->read_only)
        buf_append_cstr(out, ",\"read_only\":true");
    buf_append_char(out, '}');
}

static struct str text_of(const json_t *record, const char *name, struct arena *texts)
{
    const json_t *value = json_object_get(record, name);
    if (!json_is_string(value))
        return (struct str){0};
    return arena_str(texts, (struct str){json_string_value(value), json_string_length(value)});
}

static int64_t number_of(const json_t *record, const char *name)
{
    return json_integer_value(json_object_get(record, name));
}

enum err session_file_read(struct str id, struct str record, struct arena *texts,
                           struct session_file *ret_file)
{
    auto_json d = NULL;
    struct session_file file = {0};
    enum err e = json_parse(record, &d, NULL);
    if (e == ERR_OK)
        e = id_parse(id, &file.id);
    if (e != ERR_OK)
        return e;
    file.path = text_of(d, "path", texts);
    file.hash = text_of(d, "hash", texts);
    file.source = text_of(d, "source", texts);
    file.type = text_of(d, "type", texts);
    file.job = text_of(d, "job", texts);
    file.from_id = text_of(d, "from_id", texts);
    file.from_session = text_of(d, "from_session", texts);
    file.size = (uint64_t)number_of(d, "size");
    file.attempt = (uint32_t)number_of(d, "attempt");
    file.added_ms = number_of(d, "ms");
    file.origin = text_of(d, "origin", texts);
    file.gone = text_of(d, "gone", texts);
    file.link = text_of(d, "link", texts);
    file.folder = json_is_true(json_object_get(d, "folder"));
    file.mode = (unsigned)number_of(d, "mode") & 0777;
    file.written_ms = number_of(d, "written");
    file.read_only = json_is_true(json_object_get(d, "read_only"));
    if (arena_status(texts) != ERR_OK)
        return arena_status(texts);
    bool object = !file.folder && file.link.n == 0;
    if (file.path.n == 0 || file.hash.n != (object ? FILE_HASH_LEN : 0))
        return ERR_INVALID;
    *ret_file = file;
    return ERR_OK;
}

/* What is not a letter, digit, `-` or `_` of a tenant's name is escaped, so that no name makes a path. */
static void escape(struct buf *out, struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '_';
        if (plain)
            buf_append_char(out, c);
        else
            buf_printf(out, ".%02x", (unsigned char)c);
    }
}

enum err session_object_name(struct str tenant, struct id session, const struct session_file *file,
                             struct buf *out)
{
    escape(out, tenant);
    buf_printf(out, "/%s/" STR_FMT "-%s", session.text, STR_ARG(file->hash), file->id.text);
    return buf_status(out);
}
