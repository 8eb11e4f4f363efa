/* SPDX-License-Identifier: Apache-2.0 */
#include "api/file_text.h"

#include "base/utf8.h"
#include "json/json.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

enum { NAME_MAX_BYTES = 255, DEPTH_MAX = 10 };

/* ---- names ---- */

static bool has_control(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] < 0x20 || name.p[i] == 0x7f)
            return true;
    return false;
}

static const char *fault_of(struct str name)
{
    if (name.n == 0)
        return "must not be empty";
    if (name.n > NAME_MAX_BYTES)
        return "must not be longer than 255 bytes";
    if (!utf8_valid(name))
        return "must be UTF-8";
    if (has_control(name) || memchr(name.p, '\\', name.n))
        return "contains invalid path characters";
    if (name.p[0] == '/')
        return "must be a relative path";
    if (name.p[name.n - 1] == '/')
        return "must be canonical and file-like";
    struct str rest = name;
    for (int depth = 1; rest.p; depth++) {
        struct str part = str_split(&rest, '/');
        if (part.n == 0 || str_eq(part, STR(".")) || str_eq(part, STR("..")))
            return "must not contain empty, current, or parent path segments";
        if (depth > DEPTH_MAX)
            return "exceeds maximum nesting depth of 10";
    }
    return NULL;
}

enum err file_name_check(struct str name, struct errinfo *info)
{
    const char *fault = fault_of(name);
    return fault ? errinfo_set(info, ERR_INVALID, 0, "%s", fault) : ERR_OK;
}

static struct str extension(struct str name)
{
    for (size_t i = name.n; i > 0 && name.p[i - 1] != '/'; i--)
        if (name.p[i - 1] == '.')
            return i > 1 && name.p[i - 2] != '/' ? (struct str){name.p + i, name.n - i} : (struct str){0};
    return (struct str){0};
}

const char *file_type_of(struct str name)
{
    static const struct {
        const char *extension, *type;
    } rows[] = {
        {"txt", "text/plain"},
        {"log", "text/plain"},
        {"md", "text/markdown"},
        {"csv", "text/csv"},
        {"tsv", "text/tab-separated-values"},
        {"json", "application/json"},
        {"xml", "application/xml"},
        {"yaml", "application/yaml"},
        {"yml", "application/yaml"},
        {"html", "text/html"},
        {"htm", "text/html"},
        {"css", "text/css"},
        {"js", "text/javascript"},
        {"py", "text/x-python"},
        {"png", "image/png"},
        {"jpg", "image/jpeg"},
        {"jpeg", "image/jpeg"},
        {"gif", "image/gif"},
        {"webp", "image/webp"},
        {"svg", "image/svg+xml"},
        {"bmp", "image/bmp"},
        {"ico", "image/x-icon"},
        {"tif", "image/tiff"},
        {"tiff", "image/tiff"},
        {"avif", "image/avif"},
        {"pdf", "application/pdf"},
        {"zip", "application/zip"},
        {"gz", "application/gzip"},
        {"tar", "application/x-tar"},
        {"mp3", "audio/mpeg"},
        {"wav", "audio/wav"},
        {"mp4", "video/mp4"},
        {"rtf", "application/rtf"},
        {"parquet", "application/vnd.apache.parquet"},
        {"doc", "application/msword"},
        {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
        {"xls", "application/vnd.ms-excel"},
        {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
        {"ppt", "application/vnd.ms-powerpoint"},
        {"pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
    };
    struct str ext = extension(name);
    for (size_t i = 0; ext.n > 0 && i < sizeof rows / sizeof rows[0]; i++)
        if (str_eq_nocase(ext, str_of(rows[i].extension)))
            return rows[i].type;
    return "application/octet-stream";
}

/* type/subtype of token characters, with a parameter perhaps: nothing that could end a header. */
static bool is_type(struct str type)
{
    bool slash = false;
    for (size_t i = 0; i < type.n; i++) {
        unsigned char c = (unsigned char)type.p[i];
        if (c < 0x20 || c > 0x7e)
            return false;
        slash = slash || c == '/';
    }
    return slash && type.n <= 128;
}

struct str file_type(const struct session_file *file)
{
    return is_type(file->type) ? file->type : str_of(file_type_of(file->path));
}

/* ---- pieces of text ---- */

static void write_extension(struct buf *out, struct str name)
{
    struct str ext = extension(name);
    bool plain = ext.n > 0 && ext.n <= 16;
    for (size_t i = 0; i < ext.n; i++) {
        char c = ext.p[i];
        plain = plain && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'));
    }
    if (plain)
        buf_printf(out, "." STR_FMT, STR_ARG(ext));
}

void file_write_object(struct buf *out, struct id session, const struct session_file *file)
{
    buf_printf(out, "%s/%s", session.text, file->id.text);
    write_extension(out, file->path);
}

void file_write_time(struct buf *out, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char text[64];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &tm));
    buf_printf(out, "%s.%03dZ", text, (int)(ms % 1000));
}

/* RFC 8187's attr-char; the rest as %XX. */
static void write_escaped(struct buf *out, struct str name)
{
    static const char also[] = "!#$&+-.^_`|~";
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c != '\0' && strchr(also, c));
        if (plain)
            buf_append_char(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

void file_write_disposition(struct buf *out, struct str name)
{
    struct str rest = name, last = name;
    while (rest.p)
        last = str_split(&rest, '/');
    buf_append_cstr(out, "attachment; filename=\"");
    for (size_t i = 0; i < last.n; i++) {
        unsigned char c = (unsigned char)last.p[i];
        buf_append_char(out, c < 0x20 || c > 0x7e || c == '"' || c == '\\' ? '_' : (char)c);
    }
    buf_append_cstr(out, "\"; filename*=UTF-8''");
    write_escaped(out, name);
}

/* ---- elements ---- */

static void write_member(struct buf *out, const char *name, struct str value)
{
    buf_printf(out, ",\"%s\":", name);
    json_write_string(out, value);
}

static void write_facts(struct buf *out, const struct session_file *file)
{
    buf_printf(out, ",\"size\":%" PRIu64 ",\"lastModified\":\"", file->size);
    file_write_time(out, file->added_ms);
    buf_printf(out, "\",\"etag\":\"" STR_FMT "\"", STR_ARG(file->hash));
}

static void write_places(struct buf *out, struct id session)
{
    write_member(out, "storage_session_id", str_of(session.text));
    write_member(out, "session_id", str_of(session.text));
}

static void write_object_name(struct buf *out, struct id session, const struct session_file *file)
{
    buf_append_cstr(out, "{\"name\":\"");
    file_write_object(out, session, file);
    buf_append_char(out, '"');
}

static void write_simple(struct buf *out, struct id session, const struct session_file *file)
{
    buf_append_char(out, '"');
    file_write_object(out, session, file);
    buf_append_char(out, '"');
}

static void write_summary(struct buf *out, struct id session, const struct session_file *file)
{
    write_object_name(out, session, file);
    write_member(out, "fileId", str_of(file->id.text));
    write_facts(out, file);
    buf_append_char(out, '}');
}

static void write_full(struct buf *out, struct id session, const struct session_file *file)
{
    write_object_name(out, session, file);
    write_member(out, "id", str_of(file->id.text));
    write_member(out, "fileId", str_of(file->id.text));
    write_places(out, session);
    write_facts(out, file);
    buf_append_cstr(out, ",\"metadata\":{\"content-type\":");
    json_write_string(out, file_type(file));
    write_member(out, "original-filename", file->path);
    buf_append_cstr(out, "},\"versionId\":null");
    write_member(out, "contentType", file_type(file));
    buf_append_char(out, '}');
}

static void write_normalized(struct buf *out, struct id session, const struct session_file *file)
{
    buf_printf(out, "{\"id\":\"%s\"", file->id.text);
    write_member(out, "name", file->path);
    write_places(out, session);
    write_facts(out, file);
    write_member(out, "contentType", file_type(file));
    if (file->read_only)
        buf_append_cstr(out, ",\"read_only\":true");
    buf_append_char(out, '}');
}

static void write_object(struct buf *out, struct id session, const struct session_file *file)
{
    write_object_name(out, session, file);
    write_member(out, "originalFilename", file->path);
    write_facts(out, file);
    write_member(out, "contentType", file_type(file));
    buf_printf(out, ",\"readOnly\":%s}", file->read_only ? "true" : "false");
}

static const struct {
    const char *name;
    void (*write)(struct buf *out, struct id session, const struct session_file *file);
} details[] = {
    [FILE_SIMPLE] = {"simple", write_simple}, [FILE_SUMMARY] = {"summary", write_summary},
    [FILE_FULL] = {"full", write_full},       [FILE_NORMALIZED] = {"normalized", write_normalized},
    [FILE_OBJECT] = {"", write_object},
};

enum file_detail file_detail_parse(struct str text)
{
    for (enum file_detail i = FILE_SIMPLE; i < FILE_OBJECT; i++)
        if (str_eq(text, str_of(details[i].name)))
            return i;
    return FILE_SIMPLE;
}

void file_write(struct buf *out, struct id session, const struct session_file *file, enum file_detail detail)
{
    details[detail].write(out, session, file);
}

/* ---- ranges ---- */

enum err file_range_parse(struct str header, uint64_t size, uint64_t *ret_from, uint64_t *ret_length)
{
    struct str prefix = STR("bytes="), rest = header;
    uint64_t first = 0, last = 0;
    if (!str_starts(header, prefix) || memchr(header.p, ',', header.n))
        return ERR_NOT_FOUND;
    rest.p += prefix.n;
    rest.n -= prefix.n;
    struct str to = str_trim(rest), from = str_split(&to, '-');
    if (!to.p)
        return ERR_NOT_FOUND;
    bool has_first = from.n > 0, has_last = to.n > 0;
    if ((!has_first && !has_last) || (has_first && str_to_u64(from, &first) != ERR_OK) ||
        (has_last && str_to_u64(to, &last) != ERR_OK) || (has_first && has_last && last < first))
        return ERR_NOT_FOUND; /* not a range: as if it were not there */
    if (!has_first) {
        first = last < size ? size - last : 0;
        has_last = last > 0 && size > 0;
        last = size - (has_last ? 1 : 0);
        if (!has_last)
            return ERR_RANGE;
    }
    if (first >= size)
        return ERR_RANGE;
    if (!has_last || last >= size)
        last = size - 1;
    *ret_from = first;
    *ret_length = last - first + 1;
    return ERR_OK;
}
