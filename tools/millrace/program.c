/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/program.h"

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/utf8.h"
#include "schema/event.h"
#include "schema/languages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CODE_MAX = 64 << 20 };

enum err program_read(const char *path, struct buf *out, struct errinfo *info)
{
    bool standard = !strcmp(path, "-");
    auto_fd opened = standard ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (!standard && opened < 0)
        return errinfo_set(info, ERR_NOT_FOUND, errno, "cannot open %.200s", path);
    for (;;) {
        char *room = buf_reserve(out, 65536);
        if (!room)
            return errinfo_set(info, ERR_FULL, 0, "%.200s is too large for a program", path);
        ssize_t n = read(standard ? STDIN_FILENO : opened, room, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errinfo_set(info, ERR_IO, errno, "cannot read %.200s", path);
        if (n == 0)
            return ERR_OK;
        out->len += (size_t)n;
    }
}

/* "#!/usr/bin/env python3" names a language as well as a file's end does. */
static enum err language_of_first_line(struct str code, enum language *ret_lang)
{
    struct str rest = code, line = str_split(&rest, '\n');
    if (!str_starts(line, STR("#!")))
        return ERR_NOT_FOUND;
    struct str word = {0}, words = line;
    while (words.p) {
        struct str next = str_split(&words, ' ');
        if (next.n && next.p[0] != '-')
            word = next;
    }
    while (word.n && memchr(word.p, '/', word.n))
        str_split(&word, '/');
    return language_parse(word, ret_lang, NULL);
}

static enum err find_language(const struct cli *cli, struct str code, const char **ret_name,
                              struct errinfo *info)
{
    enum language lang;
    auto_buf known = BUF_INIT(1024);
    *ret_name = cli->lang; /* the API says which it knows */
    if (cli->lang)
        return ERR_OK;
    if (language_of_file(str_of(cli->args[0]), &lang) && language_of_first_line(code, &lang)) {
        language_list(&known);
        return errinfo_set(info, ERR_INVALID, 0, "the language of %.150s is not known; use --lang %s",
                           cli->args[0], buf_cstr(&known));
    }
    *ret_name = language_row(lang)->id;
    return ERR_OK;
}

static enum err write_texts(const struct cli *cli, struct buf *out, struct errinfo *info)
{
    buf_append_cstr(out, ",\"args\":[");
    for (int i = 1; i < cli->arg_count; i++) {
        if (!utf8_valid(str_of(cli->args[i])))
            return errinfo_set(info, ERR_INVALID, 0, "argument %d is not UTF-8", i);
        buf_append_cstr(out, i > 1 ? "," : "");
        json_write_string(out, str_of(cli->args[i]));
    }
    buf_append_cstr(out, "],\"env\":{");
    for (size_t i = 0; i < cli->env.count; i++) {
        struct str value = str_of(cli->env.items[i]), name = str_split(&value, '=');
        if (!value.p || !utf8_valid(value) || !utf8_valid(name))
            return errinfo_set(info, ERR_INVALID, 0, "--env wants NAME=VALUE in UTF-8, not '%.100s'",
                               cli->env.items[i]);
        buf_append_cstr(out, i ? "," : "");
        json_write_string(out, name);
        buf_append_char(out, ':');
        json_write_string(out, value);
    }
    buf_append_char(out, '}');
    return ERR_OK;
}

enum err program_body(const struct cli *cli, bool interactive, struct buf *out, struct errinfo *info)
{
    auto_buf code = BUF_INIT(CODE_MAX);
    const char *lang = NULL;
    enum err e = program_read(cli->args[0], &code, info);
    if (!e && !utf8_valid(buf_str(&code)))
        e = errinfo_set(info, ERR_INVALID, 0, "%.200s is not UTF-8 text", cli->args[0]);
    e = e ? e : find_language(cli, buf_str(&code), &lang, info);
    if (e)
        return e;
    buf_append_cstr(out, "{\"lang\":");
    json_write_string(out, str_of(lang));
    buf_append_cstr(out, ",\"code\":");
    json_write_string(out, buf_str(&code));
    e = write_texts(cli, out, info);
    if (cli->timeout_ms.given)
        buf_printf(out, ",\"timeout_ms\":%lld", (long long)cli->timeout_ms.value);
    if (cli->queue_timeout_ms.given)
        buf_printf(out, ",\"queue_timeout_ms\":%lld", (long long)cli->queue_timeout_ms.value);
    buf_printf(out, ",\"retry\":%s,\"interactive\":%s,\"priority\":\"%s\"}", cli->no_retry ? "false" : "true",
               interactive ? "true" : "false", cli->command == CMD_RUN ? "interactive" : "normal");
    if (!e && buf_status(out))
        e = errinfo_set(info, ERR_FULL, 0, "%.200s is too large for a program", cli->args[0]);
    return e;
}

/* ---- events ---- */

enum err program_event_bytes(const json_t *event, struct buf *out)
{
    const json_t *data = json_object_get(event, "data");
    const char *encoding = json_string_value(json_object_get(event, "encoding"));
    struct str text = {json_string_value(data), json_string_length(data)};
    if (encoding && !strcmp(encoding, "base64"))
        return base64_decode(out, text);
    buf_append_str(out, text);
    return buf_status(out);
}

/* ---- the end ---- */

static int own_end(const json_t *event)
{
    const json_t *code = json_object_get(event, "exit_code");
    const json_t *signal = json_object_get(event, "signal_number");
    if (json_is_integer(signal))
        return EXIT_SIGNAL_BASE + (int)json_integer_value(signal);
    return json_is_integer(code) ? (int)json_integer_value(code) : -1;
}

static int failed_end(const json_t *event)
{
    const char *reason = json_string_value(json_object_get(event, "reason"));
    const char *message = json_string_value(json_object_get(event, "message"));
    fprintf(stderr, "millrace: the run failed: %s%s%s\n", reason ? reason : "?", message ? ": " : "",
            message ? message : "");
    int own = own_end(event);
    return own > 0 ? own : EXIT_CANNOT;
}

static int timed_out_end(const json_t *event)
{
    const char *limit = json_string_value(json_object_get(event, "limit"));
    fprintf(stderr, "millrace: timed out (%s limit)\n", limit ? limit : "time");
    return EXIT_TIMED_OUT;
}

static int cancelled_end(const json_t *event)
{
    (void)event;
    fprintf(stderr, "millrace: cancelled\n");
    return EXIT_CANCELLED;
}

static int dead_end(const json_t *event)
{
    auto_buf text = BUF_INIT(4096);
    const json_t *reasons = json_object_get(event, "reasons");
    fprintf(stderr, "millrace: gave no result, and is not tried again%s%s\n",
            reasons && !json_write(reasons, &text) ? ": " : "", buf_cstr(&text));
    return EXIT_CANNOT;
}

int program_exit_code(const json_t *event)
{
    static int (*const ends[EV_COUNT])(const json_t *event) = {
        [EV_COMPLETED] = own_end,       [EV_FAILED] = failed_end, [EV_TIMED_OUT] = timed_out_end,
        [EV_CANCELLED] = cancelled_end, [EV_DEAD] = dead_end,
    };
    const char *name = json_string_value(json_object_get(event, "type"));
    enum event_type type;
    if (!name || event_type_parse(str_of(name), &type) || !ends[type])
        return EXIT_CANNOT;
    int code = ends[type](event);
    return code >= 0 ? code : EXIT_CANNOT;
}
