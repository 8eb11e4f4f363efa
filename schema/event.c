/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/event.h"

#include "base/base64.h"
#include "base/utf8.h"
#include "json/json.h"

#include <string.h>

static const struct {
    const char *name;
    unsigned flags;
} event_table[EV_COUNT] = {
#define X(symbol, text, flag_bits, doc) [EV_##symbol] = {.name = (text), .flags = (flag_bits)},
#include "schema/event.def"
#undef X
};

const char *event_type_name(enum event_type type)
{
    return event_table[type].name;
}

enum err event_type_parse(struct str name, enum event_type *ret_type)
{
    for (enum event_type t = 0; t < EV_COUNT; t++) {
        if (str_eq(name, str_of(event_table[t].name))) {
            *ret_type = t;
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

bool event_is_terminal(enum event_type type)
{
    return event_table[type].flags & EVF_TERMINAL;
}

bool event_is_client(enum event_type type)
{
    return event_table[type].flags & EVF_CLIENT;
}

/* ---- stream ids ------------------------------------------------------------------------------------------------ */

/* Redis reads ids as plain decimals; we take no sign, no leading zero and nothing behind. */
static enum err parse_part(struct str s, uint64_t *ret_value)
{
    if (s.n == 0 || s.n > 20 || (s.n > 1 && s.p[0] == '0'))
        return ERR_INVALID;
    return str_to_u64(s, ret_value) == ERR_OK ? ERR_OK : ERR_INVALID;
}

enum err event_id_parse(struct str text, uint64_t *ret_ms, uint64_t *ret_n)
{
    struct str rest = text;
    uint64_t ms, n = 0;
    struct str first = str_split(&rest, '-');
    if (parse_part(first, &ms) != ERR_OK || (rest.p && parse_part(rest, &n) != ERR_OK))
        return ERR_INVALID;
    *ret_ms = ms;
    *ret_n = n;
    return ERR_OK;
}

int event_id_compare(const char *a, const char *b)
{
    uint64_t am = 0, an = 0, bm = 0, bn = 0;
    if (event_id_parse(str_of(a), &am, &an) != ERR_OK)
        am = an = 0;
    if (event_id_parse(str_of(b), &bm, &bn) != ERR_OK)
        bm = bn = 0;
    if (am != bm)
        return am < bm ? -1 : 1;
    return (an > bn) - (an < bn);
}

/* ---- decoding -------------------------------------------------------------------------------------------------- */

/* The fields of an entry, by the letter of their name. */
struct entry_fields {
    struct str of[26];
};

static void collect(const struct str *fields, size_t pairs, struct entry_fields *ret_found)
{
    *ret_found = (struct entry_fields){0};
    for (size_t i = 0; i < pairs; i++) {
        struct str name = fields[2 * i];
        if (name.n == 1 && name.p[0] >= 'a' && name.p[0] <= 'z')
            ret_found->of[name.p[0] - 'a'] = fields[2 * i + 1];
    }
}

static bool read_number(const struct entry_fields *f, char name, uint64_t max, uint64_t *ret_value)
{
    struct str s = f->of[name - 'a'];
    return s.p && str_to_u64(s, ret_value) == ERR_OK && *ret_value <= max;
}

static bool json_object_or_empty(struct str d)
{
    return d.n == 0 || (d.n >= 2 && d.p[0] == '{' && d.p[d.n - 1] == '}' && utf8_valid(d));
}

enum err event_decode(struct str stream_id, struct id job, const struct str *fields, size_t pairs,
                      struct event *ret_event)
{
    struct entry_fields f;
    uint64_t ms, n, version, attempt, seq, time_ms;
    collect(fields, pairs, &f);
    if (stream_id.n >= EVENT_ID_MAX || event_id_parse(stream_id, &ms, &n) != ERR_OK ||
        !read_number(&f, 'v', UINT32_MAX, &version))
        return ERR_PROTOCOL;
    if (version != EVENT_VERSION)
        return version > EVENT_VERSION ? ERR_UNSUPPORTED : ERR_PROTOCOL;
    struct event event = {.job = job, .data = f.of['d' - 'a'], .bytes = f.of['b' - 'a']};
    if (!f.of['t' - 'a'].p || !read_number(&f, 'a', UINT32_MAX, &attempt) ||
        !read_number(&f, 's', INT64_MAX, &seq) || seq == 0 || !read_number(&f, 'm', INT64_MAX, &time_ms) ||
        !json_object_or_empty(event.data))
        return ERR_PROTOCOL;
    if (event_type_parse(f.of['t' - 'a'], &event.type) != ERR_OK)
        return ERR_UNSUPPORTED;
    memcpy(event.id, stream_id.p, stream_id.n);
    event.attempt = (uint32_t)attempt;
    event.seq = seq;
    event.time_ms = (int64_t)time_ms;
    *ret_event = event;
    return ERR_OK;
}

/* ---- what clients see ------------------------------------------------------------------------------------------- */

static void write_bytes(struct buf *out, struct str bytes)
{
    buf_append_cstr(out, ",\"data\":");
    if (utf8_valid(bytes)) {
        json_write_string(out, bytes);
        return;
    }
    buf_append_char(out, '"');
    base64_encode(out, bytes);
    buf_append_cstr(out, "\",\"encoding\":\"base64\"");
}

/* White space of JSON, which is more than str_trim() takes. */
static struct str trim_json(struct str s)
{
    static const char space[] = " \t\r\n";
    while (s.n > 0 && memchr(space, s.p[0], sizeof space - 1) != NULL)
        s = (struct str){s.p + 1, s.n - 1};
    while (s.n > 0 && memchr(space, s.p[s.n - 1], sizeof space - 1) != NULL)
        s.n--;
    return s;
}

void event_write_json(const struct event *event, struct buf *out)
{
    buf_printf(out,
               "{\"id\":\"%s\",\"type\":\"%s\",\"job_id\":\"%s\",\"attempt\":%u,\"seq\":%llu,\"time\":%lld",
               event->id, event_type_name(event->type), event->job.text, event->attempt,
               (unsigned long long)event->seq, (long long)event->time_ms);
    struct str d = event->data;
    if (d.n > 2) { /* "{...}" without its braces */
        struct str inner = trim_json((struct str){d.p + 1, d.n - 2});
        if (inner.n) {
            buf_append_char(out, ',');
            buf_append_str(out, inner);
        }
    }
    if (event_table[event->type].flags & EVF_BYTES)
        write_bytes(out, event->bytes);
    buf_append_char(out, '}');
}
