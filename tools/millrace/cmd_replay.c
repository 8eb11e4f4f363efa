/* SPDX-License-Identifier: Apache-2.0 */
/* `replay`: what a job wrote, once more. Unlike `tail` it blocks: there is nothing to do but to wait and to write. */
#include "base/clock.h"
#include "base/id.h"
#include "schema/event.h"
#include "tools/millrace/client.h"
#include "tools/millrace/program.h"
#include "tools/millrace/verify.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EVENT_DATA_MAX = 16 << 20, PATH_LEN = 160 };
static const double speed_max = 1e6;

struct replay {
    struct client client;
    const char *job;
    double speed;               /* 0: at once */
    int64_t attempt;            /* the last one: only its output counts */
    int64_t first_ms, began_ns; /* when it started, then and now; 0: not yet */
    char after[EVENT_ID_MAX];
    bool done, broken;
    int exit_code;
};

static bool parse_speed(const char *text, double *ret_speed)
{
    char *rest = NULL;
    *ret_speed = text ? strtod(text, &rest) : 1;
    return !text ||
           (rest != text && !*rest && !strpbrk(text, "xXpPnN") && *ret_speed >= 0 && *ret_speed <= speed_max);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static int64_t whole(const json_t *event, const char *name)
{
    return (int64_t)json_integer_value(json_object_get(event, name));
}

/* Waits until as much time passed since the attempt's start as did in the run. */
static void keep_pace(struct replay *r, int64_t time_ms)
{
    if (!r->first_ms) {
        r->first_ms = time_ms;
        r->began_ns = clock_mono_ns();
    }
    if (r->speed <= 0)
        return;
    int64_t at = r->began_ns + (int64_t)((double)(time_ms - r->first_ms) * 1e6 / r->speed);
    struct timespec until = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

static void write_all(struct replay *r, int fd, struct str bytes)
{
    while (bytes.n && !r->broken) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno != EINTR)
            r->broken = true;
        else if (n > 0)
            bytes = (struct str){bytes.p + n, bytes.n - (size_t)n};
    }
}

static enum err take_output(struct replay *r, const json_t *event)
{
    auto_buf bytes = BUF_INIT(EVENT_DATA_MAX);
    const char *stream = json_string_value(json_object_get(event, "stream"));
    enum err e = program_event_bytes(event, &bytes);
    if (!e)
        write_all(r, stream && !strcmp(stream, "stderr") ? STDERR_FILENO : STDOUT_FILENO, buf_str(&bytes));
    return e;
}

static enum err take_event(struct replay *r, const json_t *event)
{
    enum event_type type;
    const char *id = json_string_value(json_object_get(event, "id"));
    const char *name = json_string_value(json_object_get(event, "type"));
    if (!id || !name || strlen(id) >= sizeof r->after)
        return ERR_PROTOCOL;
    memcpy(r->after, id, strlen(id) + 1);
    if (event_type_parse(str_of(name), &type) || whole(event, "attempt") != r->attempt)
        return ERR_OK;
    bool shown = type == EV_STARTED || type == EV_OUTPUT || event_is_terminal(type);
    if (shown)
        keep_pace(r, whole(event, "time"));
    if (event_is_terminal(type)) {
        r->done = true;
        r->exit_code = program_exit_code(event);
    }
    return type == EV_OUTPUT ? take_output(r, event) : ERR_OK;
}

static enum err take_page(struct replay *r)
{
    char path[PATH_LEN];
    auto_answer answer = {0};
    size_t i;
    json_t *event;
    snprintf(path, sizeof path, "/v1/jobs/%s/events%s%s", r->job, r->after[0] ? "?after=" : "", r->after);
    enum err e = client_call(&r->client, "GET", path, (struct str){0}, NULL, &answer);
    json_t *events = json_object_get(answer.body, "events");
    if (!e && !json_array_size(events)) {
        fprintf(stderr, "millrace: the log of this job has no end\n");
        return ERR_PROTOCOL;
    }
    json_array_foreach(events, i, event)
    {
        if (!e && !r->broken)
            e = take_event(r, event);
    }
    return e;
}

/* ---- the command -------------------------------------------------------------------------------------------------- */

/* Which attempt counts; a job that has not ended is for `tail`. */
static enum err find_attempt(struct replay *r)
{
    char path[PATH_LEN];
    auto_answer answer = {0};
    snprintf(path, sizeof path, "/v1/jobs/%s", r->job);
    enum err e = client_call(&r->client, "GET", path, (struct str){0}, NULL, &answer);
    if (!e && !whole(answer.body, "finished_at")) {
        fprintf(stderr, "millrace: the job has not ended: follow it with `millrace tail %s`\n", r->job);
        return ERR_INVALID;
    }
    r->attempt = whole(answer.body, "attempt");
    return e;
}

static int replay(const struct cli *cli)
{
    struct replay r = {.job = cli->args[0], .exit_code = EXIT_CANNOT};
    if (!cli_is_job(r.job))
        return EXIT_USAGE;
    if (!parse_speed(cli->speed, &r.speed)) {
        fprintf(stderr, "millrace: --speed must be a number from 0 to 1000000\n");
        return EXIT_USAGE;
    }
    if (client_open(&r.client, cli))
        return EXIT_CANNOT;
    signal(SIGPIPE, SIG_IGN); /* told by its exit code, as in `run` */
    enum err e = find_attempt(&r);
    while (!e && !r.done && !r.broken)
        e = take_page(&r);
    client_close(&r.client);
    return r.broken ? EXIT_SIGNAL_BASE + SIGPIPE : e ? EXIT_CANNOT : r.exit_code;
}

int cmd_replay(const struct cli *cli)
{
    if (cli->verify)
        return verify_run(cli->args[0], cli->config, cli->set.items, cli->set.count);
    if (cli->arg_count)
        return replay(cli);
    fprintf(stderr, "millrace: which job? usage: millrace replay JOB\n");
    return EXIT_USAGE;
}
