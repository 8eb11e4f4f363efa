/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store/s3_answer.h"

#include "io/store/object_store.h"
#include "io/store/xml.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static bool is(struct str name, const char *text)
{
    return str_eq(name, str_of(text));
}

static enum err keep(const struct xml *x, char *out, size_t size)
{
    if (x->text.len >= size || memchr(x->text.len ? x->text.data : "", '\0', x->text.len))
        return ERR_PROTOCOL;
    memcpy(out, x->text.len ? x->text.data : "", x->text.len);
    out[x->text.len] = '\0';
    return ERR_OK;
}

enum err s3_read_value(struct str body, const char *root, const char *name, char *ret_text, size_t size)
{
    struct xml x;
    enum err e = ERR_OK;
    enum xml_event event;
    unsigned found = 0;
    xml_init(&x, body);
    while (!e && (event = xml_next(&x)) != XML_END) {
        if (event == XML_BAD || (event == XML_OPEN && x.depth == 1 && !is(xml_name(&x, event), root)))
            e = ERR_PROTOCOL;
        else if (event == XML_CLOSE && x.depth == 1 && is(xml_name(&x, event), name))
            e = found++ ? ERR_PROTOCOL : keep(&x, ret_text, size);
    }
    xml_free(&x);
    return e ? e : found == 1 ? ERR_OK : ERR_PROTOCOL;
}

/* Of a text for people the beginning is enough, without control characters. */
static void keep_line(const struct xml *x, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < x->text.len && n + 1 < size; i++)
        out[n++] = (unsigned char)x->text.data[i] < 0x20 ? ' ' : x->text.data[i];
    out[n] = '\0';
}

bool s3_read_error(struct str body, struct s3_error *ret_error)
{
    struct xml x;
    enum xml_event event;
    bool good = true;
    *ret_error = (struct s3_error){.code = ""};
    xml_init(&x, body);
    while (good && (event = xml_next(&x)) != XML_END) {
        good = event != XML_BAD && !(event == XML_OPEN && x.depth == 1 && !is(xml_name(&x, event), "Error"));
        if (event == XML_CLOSE && x.depth == 1 && is(xml_name(&x, event), "Code"))
            keep_line(&x, ret_error->code, sizeof ret_error->code);
        if (event == XML_CLOSE && x.depth == 1 && is(xml_name(&x, event), "Message"))
            keep_line(&x, ret_error->message, sizeof ret_error->message);
    }
    xml_free(&x);
    return good && ret_error->code[0] != '\0';
}

/* ---- times ---- */

static bool digits(struct str s, size_t at, size_t n, int *ret)
{
    int value = 0;
    if (at + n > s.n)
        return false;
    for (size_t i = at; i < at + n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        value = value * 10 + (s.p[i] - '0');
    }
    *ret = value;
    return true;
}

static enum err to_wall(struct tm *tm, int milliseconds, int64_t *ret_wall_ms)
{
    if (tm->tm_mon < 0 || tm->tm_mon > 11 || tm->tm_mday < 1 || tm->tm_mday > 31 || tm->tm_hour > 23 ||
        tm->tm_min > 59 || tm->tm_sec > 60)
        return ERR_PROTOCOL;
    *ret_wall_ms = (int64_t)timegm(tm) * 1000 + milliseconds;
    return ERR_OK;
}

enum err s3_read_time(struct str s, int64_t *ret_wall_ms)
{
    struct tm tm = {0};
    int milliseconds = 0;
    bool good = digits(s, 0, 4, &tm.tm_year) && digits(s, 5, 2, &tm.tm_mon) && digits(s, 8, 2, &tm.tm_mday) &&
                digits(s, 11, 2, &tm.tm_hour) && digits(s, 14, 2, &tm.tm_min) && digits(s, 17, 2, &tm.tm_sec);
    if (!good || s.p[s.n - 1] != 'Z')
        return ERR_PROTOCOL;
    if (s.n >= 24 && s.p[19] == '.' && !digits(s, 20, 3, &milliseconds))
        return ERR_PROTOCOL;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return to_wall(&tm, milliseconds, ret_wall_ms);
}

enum err s3_read_http_time(struct str s, int64_t *ret_wall_ms)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm = {.tm_mon = -1};
    bool good = s.n == 29 && digits(s, 5, 2, &tm.tm_mday) && digits(s, 12, 4, &tm.tm_year) &&
                digits(s, 17, 2, &tm.tm_hour) && digits(s, 20, 2, &tm.tm_min) && digits(s, 23, 2, &tm.tm_sec);
    for (int i = 0; good && i < 12; i++)
        if (!memcmp(months + (ptrdiff_t)3 * i, s.p + 8, 3))
            tm.tm_mon = i;
    if (!good)
        return ERR_PROTOCOL;
    tm.tm_year -= 1900;
    return to_wall(&tm, 0, ret_wall_ms);
}

/* ---- lists ---- */

struct list_reading {
    char key[OBJECT_KEY_MAX + 1], upload_id[S3_UPLOAD_ID_MAX + 1], truncated[8];
    struct s3_listed listed;
    bool has_key, has_size, has_time;
};

static enum err read_field(struct list_reading *r, const struct xml *x, struct str name)
{
    if (is(name, "Key")) {
        r->has_key = true;
        /* A key that is too long is none of ours: it is passed over as one that cannot be. */
        if (keep(x, r->key, sizeof r->key))
            r->key[0] = '\0';
        return ERR_OK;
    }
    if (is(name, "UploadId"))
        return keep(x, r->upload_id, sizeof r->upload_id);
    if (is(name, "Size")) {
        r->has_size = true;
        return str_to_u64(buf_str(&x->text), &r->listed.size) ? ERR_PROTOCOL : ERR_OK;
    }
    if (is(name, "LastModified") || is(name, "Initiated")) {
        r->has_time = true;
        return s3_read_time(buf_str(&x->text), &r->listed.time_ms);
    }
    return ERR_OK;
}

static enum err end_entry(struct list_reading *r, bool upload,
                          enum err (*entry)(void *arg, const struct s3_listed *listed), void *arg)
{
    if (!r->has_key || !r->has_time || (upload ? r->upload_id[0] == '\0' : !r->has_size))
        return ERR_PROTOCOL;
    r->listed.key = r->key;
    r->listed.upload_id = r->upload_id;
    enum err e = object_key_valid(str_of(r->key)) ? entry(arg, &r->listed) : ERR_OK;
    char truncated[8];
    memcpy(truncated, r->truncated, sizeof truncated);
    *r = (struct list_reading){.has_key = false};
    memcpy(r->truncated, truncated, sizeof truncated);
    return e;
}

static enum err list_event(struct list_reading *r, const struct xml *x, enum xml_event event,
                           enum err (*entry)(void *arg, const struct s3_listed *listed), void *arg)
{
    struct str name = xml_name(x, event);
    if (event == XML_OPEN)
        return x->depth == 1 && !is(name, "ListBucketResult") && !is(name, "ListMultipartUploadsResult")
                   ? ERR_PROTOCOL
                   : ERR_OK;
    if (x->depth == 1 && is(name, "IsTruncated"))
        return keep(x, r->truncated, sizeof r->truncated);
    if (x->depth == 1 && (is(name, "Contents") || is(name, "Upload")))
        return end_entry(r, is(name, "Upload"), entry, arg);
    bool inside = x->depth == 2 && (is(x->names[1], "Contents") || is(x->names[1], "Upload"));
    return inside ? read_field(r, x, name) : ERR_OK;
}

enum err s3_read_list(struct str body, bool *ret_truncated,
                      enum err (*entry)(void *arg, const struct s3_listed *listed), void *arg)
{
    struct list_reading r = {.has_key = false};
    struct xml x;
    enum err e = ERR_OK;
    enum xml_event event;
    xml_init(&x, body);
    while (!e && (event = xml_next(&x)) != XML_END)
        e = event == XML_BAD ? ERR_PROTOCOL : list_event(&r, &x, event, entry, arg);
    xml_free(&x);
    bool truncated = !strcmp(r.truncated, "true");
    if (!e && !truncated && strcmp(r.truncated, "false"))
        e = ERR_PROTOCOL;
    if (!e)
        *ret_truncated = truncated;
    return e;
}
