/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { VALUE_MAX = 2048, RECORD_MAX = 131072 };

static struct {
    const char *program;
    enum log_level least;
    bool as_text;
} sink = {.program = "millrace", .least = LOG_INFO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_open(const char *program, enum log_level least, bool as_text)
{
    sink.program = program;
    sink.least = least;
    sink.as_text = as_text;
}

/* Bytes that a terminal or a reader of lines could obey: C0 and C1 controls, DEL, U+2028 and U+2029 (line
   ends to some readers). The escapes of JSON also make a text record one line. */
static bool is_harmful(struct str c)
{
    const unsigned char *p = (const unsigned char *)c.p;
    if (c.n == 1)
        return p[0] < 0x20 || p[0] == 0x7f;
    if (c.n == 2)
        return p[0] == 0xc2 && p[1] < 0xa0;
    return c.n == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9);
}

static unsigned code_point(struct str c)
{
    const unsigned char *p = (const unsigned char *)c.p;
    if (c.n == 1)
        return p[0];
    return c.n == 2 ? (p[0] & 0x1fU) << 6 | (p[1] & 0x3fU)
                    : (p[0] & 0x0fU) << 12 | (p[1] & 0x3fU) << 6 | (p[2] & 0x3fU);
}

static void append_character(struct buf *out, struct str c, enum utf8_kind kind)
{
    if (kind != UTF8_GOOD)
        buf_append_cstr(out, "\xef\xbf\xbd");
    else if (c.p[0] == '"' || c.p[0] == '\\')
        buf_printf(out, "\\%c", c.p[0]);
    else if (is_harmful(c))
        buf_printf(out, "\\u%04x", code_point(c));
    else
        buf_append_str(out, c);
}

static void append_escaped(struct buf *out, const char *text)
{
    struct str s = {.p = text, .n = strnlen(text, VALUE_MAX + 1)};
    bool cut = s.n > VALUE_MAX;
    if (cut)
        s.n = utf8_complete((struct str){.p = text, .n = VALUE_MAX});
    while (s.n > 0) {
        enum utf8_kind kind;
        size_t n = utf8_next(s, &kind);
        append_character(out, (struct str){.p = s.p, .n = n}, kind);
        s = (struct str){.p = s.p + n, .n = s.n - n};
    }
    if (cut)
        buf_append_cstr(out, "...");
}

static void append_time(struct buf *out, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char text[32];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_printf(out, "%s.%03dZ", text, (int)(ms % 1000));
}

static void record_json(struct buf *out, enum log_level level, const char *message,
                        const struct log_field *fields)
{
    buf_append_cstr(out, "{\"time\":\"");
    append_time(out, clock_wall_ms());
    buf_printf(out, "\",\"level\":\"%s\",\"program\":\"%s\",\"message\":\"", level_names[level],
               sink.program);
    append_escaped(out, message);
    buf_append_char(out, '"');
    for (const struct log_field *f = fields; f->key != NULL; f++) {
        buf_printf(out, ",\"%s\":", f->key);
        if (f->text == NULL) {
            buf_printf(out, "%" PRId64, f->number);
            continue;
        }
        buf_append_char(out, '"');
        append_escaped(out, f->text);
        buf_append_char(out, '"');
    }
    buf_append_cstr(out, "}\n");
}

static void record_text(struct buf *out, enum log_level level, const char *message,
                        const struct log_field *fields)
{
    append_time(out, clock_wall_ms());
    buf_printf(out, " %-5s %s: ", level_names[level], sink.program);
    append_escaped(out, message);
    for (const struct log_field *f = fields; f->key != NULL; f++) {
        if (f->text == NULL) {
            buf_printf(out, " %s=%" PRId64, f->key, f->number);
            continue;
        }
        buf_printf(out, " %s=", f->key);
        append_escaped(out, f->text);
    }
    buf_append_char(out, '\n');
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
    if (level < sink.least)
        return;
    auto_buf out = BUF_INIT(RECORD_MAX);
    (sink.as_text ? record_text : record_json)(&out, level, message, fields);
    if (buf_status(&out) == ERR_OK) {
        ssize_t written = write(STDERR_FILENO, out.data, out.len);
        (void)written; /* nowhere to report that the log cannot be written */
    }
}

uint64_t log_cause_of(const struct log_field *fields)
{
    static const char *const telling[] = {"why", "cause", "what", "kind", "reply", "says", "status"};
    uint64_t hash = STR_HASH;
    for (const struct log_field *f = fields; f->key != NULL; f++) {
        for (size_t i = 0; i < sizeof telling / sizeof telling[0]; i++) {
            if (strcmp(f->key, telling[i]) != 0)
                continue;
            hash = str_hash(hash, str_of(f->key));
            hash = f->text != NULL ? str_hash(hash, str_of(f->text))
                                   : str_hash(hash, (struct str){(const char *)&f->number, sizeof f->number});
        }
    }
    return hash;
}

bool log_limit_pass(struct log_limit *limit, uint64_t cause, uint32_t *ret_held)
{
    int64_t now = clock_mono_ns();
    struct log_cause *row = &limit->row[0];
    for (size_t i = 0; i < LOG_CAUSES_MAX; i++) {
        struct log_cause *r = &limit->row[i];
        if (r->last_ns != 0 && r->cause == cause) {
            row = r;
            break;
        }
        if (r->last_ns < row->last_ns)
            row = r; /* the one that was told longest ago makes room */
    }
    if (row->last_ns != 0 && now - row->last_ns < 1000000000) {
        row->held++;
        return false;
    }
    *ret_held = row->held;
    *row = (struct log_cause){.cause = cause, .last_ns = now};
    return true;
}
