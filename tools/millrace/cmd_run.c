/* SPDX-License-Identifier: Apache-2.0 */
/* `run` and `tail`: the events of a job on a terminal. */
#include "base/base64.h"
#include "base/id.h"
#include "base/utf8.h"
#include "schema/event.h"
#include "tools/millrace/client.h"
#include "tools/millrace/follow.h"
#include "tools/millrace/program.h"
#include "tools/millrace/terminal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STDIN_WINDOW = 32 << 10, BODY_MAX = 128 << 20, EVENT_DATA_MAX = 16 << 20 };

struct show {
    struct client client;
    const struct cli *cli;
    struct follow *follow;
    char job[ID_LEN + 1];
    struct outlet out[2];
    struct inlet in;
    uv_signal_t signals[3];
    bool interactive, done, cancel, out_paused, broken;
    int interrupts, exit_code;
    /* Standard input that left us, until its event tells that it is in the log; then the same for its end. */
    struct buf unacked;
    bool eof_wanted, eof_acked;
};

static const int watched_signals[] = {SIGINT, SIGTERM, SIGHUP};

/* ---- standard input ---- */

static void send_bytes(struct show *s, struct str bytes)
{
    auto_buf message = BUF_INIT(4 * INLET_CHUNK + 256), text = BUF_INIT(2 * INLET_CHUNK);
    if (utf8_valid(bytes)) {
        buf_append_cstr(&message, "{\"type\":\"stdin\",\"data\":");
        json_write_string(&message, bytes);
    } else {
        base64_encode(&text, bytes);
        buf_printf(&message, "{\"type\":\"stdin\",\"encoding\":\"base64\",\"data\":\"%s\"", buf_cstr(&text));
    }
    buf_append_char(&message, '}');
    follow_send(s->follow, buf_str(&message)); /* kept in `unacked`, whatever becomes of it */
}

static void send_eof(struct show *s)
{
    follow_send(s->follow, STR("{\"type\":\"eof\"}"));
}

static void want_input(struct show *s)
{
    if (s->interactive && !s->done)
        inlet_want(&s->in, follow_ready(s->follow) && s->unacked.len < STDIN_WINDOW && !s->eof_wanted);
}

static void on_stdin(void *arg, struct str bytes)
{
    struct show *s = arg;
    if (!bytes.n) {
        s->eof_wanted = true;
        send_eof(s);
        return;
    }
    buf_append_str(&s->unacked, bytes);
    send_bytes(s, bytes);
    if (s->unacked.len >= STDIN_WINDOW)
        inlet_want(&s->in, false);
}

static void resend_input(struct show *s)
{
    struct str rest = buf_str(&s->unacked);
    while (rest.n) {
        size_t n = rest.n < INLET_CHUNK ? rest.n : INLET_CHUNK;
        send_bytes(s, (struct str){rest.p, n});
        rest = (struct str){rest.p + n, rest.n - n};
    }
    if (s->eof_wanted && !s->eof_acked)
        send_eof(s);
}

/* ---- events ---- */

static void show_output(struct show *s, const json_t *event)
{
    auto_buf bytes = BUF_INIT(EVENT_DATA_MAX);
    const char *stream = json_string_value(json_object_get(event, "stream"));
    struct outlet *out = &s->out[stream && !strcmp(stream, "stderr")];
    if (s->cli->json || program_event_bytes(event, &bytes))
        return;
    if (!outlet_write(out, buf_str(&bytes)) && !s->out_paused) {
        s->out_paused = true;
        follow_pause(s->follow);
    }
}

static void show_input(struct show *s, const json_t *event)
{
    auto_buf bytes = BUF_INIT(EVENT_DATA_MAX);
    if (!s->interactive || program_event_bytes(event, &bytes))
        return;
    buf_consume(&s->unacked, bytes.len < s->unacked.len ? bytes.len : s->unacked.len);
    want_input(s);
}

static void show_eof(struct show *s, const json_t *event)
{
    (void)event;
    s->eof_acked = true;
}

static void show_retried(struct show *s, const json_t *event)
{
    const char *reason = json_string_value(json_object_get(event, "reason"));
    (void)s;
    fprintf(stderr, "millrace: run again from the start (%s); what was printed so far does not count\n",
            reason ? reason : "its worker was lost");
}

static void show_end(struct show *s, const json_t *event)
{
    outlet_finish(&s->out[0]);
    outlet_finish(&s->out[1]);
    s->exit_code = program_exit_code(event);
}

static bool on_event(void *arg, const json_t *event)
{
    static void (*const shows[EV_COUNT])(struct show * s, const json_t *event) = {
        [EV_OUTPUT] = show_output,   [EV_INPUT] = show_input,   [EV_EOF] = show_eof,
        [EV_RETRIED] = show_retried, [EV_COMPLETED] = show_end, [EV_FAILED] = show_end,
        [EV_TIMED_OUT] = show_end,   [EV_CANCELLED] = show_end, [EV_DEAD] = show_end,
    };
    struct show *s = arg;
    enum event_type type;
    if (s->cli->json && s->cli->command == CMD_TAIL)
        client_print_json(event);
    if (!event_type_parse(str_of(json_string_value(json_object_get(event, "type"))), &type) && shows[type])
        shows[type](s, event);
    return true;
}

/* ---- the connection ---- */

static void on_ready(void *arg)
{
    struct show *s = arg;
    if (s->cancel)
        follow_cancel(s->follow);
    resend_input(s);
    want_input(s);
}

static void on_drain(void *arg)
{
    want_input(arg);
}

static void on_end(void *arg, enum err e)
{
    struct show *s = arg;
    s->done = true;
    if (e)
        s->exit_code = EXIT_CANNOT;
    uv_stop(&s->client.loop);
}

static void on_room(void *arg)
{
    struct show *s = arg;
    if (s->out_paused && s->out[0].waiting.len < OUTLET_LITTLE && s->out[1].waiting.len < OUTLET_LITTLE) {
        s->out_paused = false;
        follow_resume(s->follow);
    }
}

static void request_cancel(struct show *s)
{
    s->cancel = true;
    if (s->follow)
        follow_cancel(s->follow);
}

/* Nobody reads what the program writes: a local one would get SIGPIPE. */
static void on_broken(void *arg)
{
    struct show *s = arg;
    s->broken = true;
    if (s->cli->command == CMD_RUN)
        request_cancel(s);
    else
        uv_stop(&s->client.loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct show *s = handle->data;
    if (s->interrupts++ || s->cli->command == CMD_TAIL)
        _exit(EXIT_SIGNAL_BASE + number);
    fprintf(stderr, "millrace: cancelling; again to leave at once\n");
    request_cancel(s);
}

/* ---- beginning and end ---- */

static enum err show_open(struct show *s, const struct cli *cli)
{
    *s = (struct show){.cli = cli, .exit_code = EXIT_CANNOT, .unacked = BUF_INIT(2 * STDIN_WINDOW)};
    enum err e = client_open(&s->client, cli);
    for (size_t i = 0; !e && i < sizeof watched_signals / sizeof *watched_signals; i++) {
        uv_signal_init(&s->client.loop, &s->signals[i]);
        s->signals[i].data = s;
        uv_signal_start(&s->signals[i], on_signal, watched_signals[i]);
        uv_unref((uv_handle_t *)&s->signals[i]);
    }
    return e;
}

static enum err show_run(struct show *s)
{
    struct follow_options options = {.job = s->job,
                                     .after = s->cli->after,
                                     .on_event = on_event,
                                     .on_ready = on_ready,
                                     .on_drain = on_drain,
                                     .on_end = on_end,
                                     .arg = s};
    for (int i = 0; i < 2; i++) {
        outlet_open(&s->out[i], &s->client.loop, i + 1);
        s->out[i].on_room = on_room;
        s->out[i].on_broken = on_broken;
        s->out[i].arg = s;
    }
    if (s->interactive) {
        inlet_open(&s->in, &s->client.loop, 0);
        s->in.on_bytes = on_stdin;
        s->in.arg = s;
    }
    enum err e = follow_open(&s->client, &options, &s->follow);
    if (!e)
        uv_run(&s->client.loop, UV_RUN_DEFAULT);
    return e;
}

static int show_close(struct show *s)
{
    int code = s->broken ? EXIT_SIGNAL_BASE + SIGPIPE : s->exit_code;
    if (s->follow)
        follow_close(s->follow);
    for (int i = 0; i < 2 && s->follow; i++)
        outlet_close(&s->out[i], NULL);
    if (s->interactive && s->follow)
        inlet_close(&s->in, NULL);
    for (size_t i = 0; i < sizeof watched_signals / sizeof *watched_signals; i++)
        uv_close((uv_handle_t *)&s->signals[i], NULL);
    client_close(&s->client);
    buf_free(&s->unacked);
    return code;
}

static enum err submit(struct show *s)
{
    auto_buf body = BUF_INIT(BODY_MAX);
    struct errinfo info = {0};
    struct id key = id_new();
    auto_answer answer = {0};
    s->interactive = !s->cli->no_stdin && strcmp(s->cli->args[0], "-") != 0;
    enum err e = program_body(s->cli, s->interactive, &body, &info);
    if (e) {
        fprintf(stderr, "millrace: %s\n", info.text);
        return e;
    }
    e = client_call(&s->client, "POST", "/v1/jobs", buf_str(&body), s->cli->key ? s->cli->key : key.text,
                    &answer);
    const char *job = json_string_value(json_object_get(answer.body, "job_id"));
    if (!e && (!job || strlen(job) != ID_LEN))
        e = ERR_PROTOCOL;
    if (!e)
        snprintf(s->job, sizeof s->job, "%s", job);
    return e;
}

static void print_result(struct show *s)
{
    char path[128];
    auto_answer answer = {0};
    snprintf(path, sizeof path, "/v1/jobs/%s", s->job);
    if (client_call(&s->client, "GET", path, (struct str){0}, NULL, &answer))
        return;
    json_t *result = json_object_get(answer.body, "result");
    client_print_json(result ? result : answer.body);
}

int cmd_run(const struct cli *cli)
{
    struct show s;
    if (show_open(&s, cli))
        return EXIT_CANNOT;
    enum err e = submit(&s);
    if (!e && s.interrupts)
        s.cancel = true;
    e = e ? e : show_run(&s);
    if (!e && cli->json && s.done)
        print_result(&s);
    return show_close(&s);
}

int cmd_tail(const struct cli *cli)
{
    struct show s;
    if (!cli_is_job(cli->args[0]))
        return EXIT_USAGE;
    if (show_open(&s, cli))
        return EXIT_CANNOT;
    snprintf(s.job, sizeof s.job, "%s", cli->args[0]);
    enum err e = show_run(&s);
    (void)e; /* show_close gives EXIT_CANNOT then */
    return show_close(&s);
}
