/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { VALUE_MAX = 2048, RECORD_MAX = 16384 };

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

/* JSON string escapes also make a text record one line; U+2028/9 and C1 controls are two or three bytes and
   harmless to line-based readers, but terminals obey C1, so bytes from 0x80 are escaped unless they are
   part of a sequence that starts above 0xc2 (no C1 control does). */
static void append_escaped(struct buf *out, const char *text)
{
    size_t n = strnlen(text, VALUE_MAX + 1);
    bool cut = n > VALUE_MAX;
    for (size_t i = 0; i < (cut ? VALUE_MAX : n); i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            buf_printf(out, "\\u%04x", c);
        else
            buf_append_char(out, (char)c);
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
    buf_printf(out, "\",\"level\":\"%s\",\"program\":\"%s\",\"message\":\"", level_names[level], sink.program);
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

bool log_limit_pass(struct log_limit *limit, uint32_t *ret_held)
{
    int64_t now = clock_mono_ns();
    if (limit->last_ns != 0 && now - limit->last_ns < 1000000000) {
        limit->held++;
        return false;
    }
    *ret_held = limit->held;
    limit->held = 0;
    limit->last_ns = now;
    return true;
}
