/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/follow.h"

#include "base/clock.h"
#include "io/http/ws_client.h"
#include "schema/event.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATIENCE_MS = 120000,
    FIRST_PAUSE_MS = 50,
    MAX_PAUSE_MS = 1000,
    PATH_MAX_LEN = 256,
    MESSAGE_MAX = 8 << 20
};

struct follow {
    struct client *client;
    struct follow_options options;
    char job[ID_LEN + 1], after[EVENT_ID_MAX];
    struct ws_client *ws;
    struct http_call *poll, *cancel;
    uv_timer_t pause;
    int wait_ms;
    int64_t lost_ns; /* when the API was last heard, while it is away */
    bool open, over, paused, told_away;
};

static void connect_ws(struct follow *f);
static void catch_up(struct follow *f);

/* ---- the end ---- */

static void pause_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void stop(struct follow *f)
{
    f->over = true;
    f->open = false;
    if (f->ws)
        ws_client_drop(f->ws);
    f->ws = NULL;
    uv_timer_stop(&f->pause);
}

static void end(struct follow *f, enum err e)
{
    if (f->over)
        return;
    stop(f);
    f->options.on_end(f->options.arg, e);
}

void follow_close(struct follow *f)
{
    stop(f);
    if (f->poll)
        http_call_cancel(f->poll);
    if (f->cancel)
        http_call_cancel(f->cancel);
    uv_close((uv_handle_t *)&f->pause, pause_closed);
}

/* ---- events ---- */

/* The offset moves only with an event that was told, so that none is lost or told twice. */
static void take_event(struct follow *f, const json_t *event)
{
    const char *id = json_string_value(json_object_get(event, "id"));
    const char *type = json_string_value(json_object_get(event, "type"));
    enum event_type kind;
    if (f->over || !id || !type || strlen(id) >= sizeof f->after ||
        (f->after[0] && event_id_compare(id, f->after) <= 0))
        return;
    snprintf(f->after, sizeof f->after, "%s", id);
    bool last = !event_type_parse(str_of(type), &kind) && event_is_terminal(kind);
    if (!f->options.on_event(f->options.arg, event) || last)
        end(f, ERR_OK);
}

static void on_message(void *arg, struct str text)
{
    struct follow *f = arg;
    auto_json event = NULL;
    struct errinfo info;
    if (!json_parse(text, &event, &info))
        take_event(f, event);
}

/* ---- connecting again ---- */

static void on_pause_over(uv_timer_t *timer)
{
    catch_up(timer->data);
}

static void again(struct follow *f, struct str why)
{
    int64_t now = clock_mono_ns();
    if (f->over)
        return;
    if (!f->lost_ns)
        f->lost_ns = now;
    if (now - f->lost_ns > (int64_t)PATIENCE_MS * 1000000) {
        fprintf(stderr, "millrace: the API is away: " STR_FMT "\n", STR_ARG(why));
        end(f, ERR_IO);
        return;
    }
    if (!f->told_away && now - f->lost_ns > 2000000000) {
        fprintf(stderr, "millrace: lost the API (" STR_FMT "), trying again\n", STR_ARG(why));
        f->told_away = true;
    }
    uv_timer_start(&f->pause, on_pause_over, (uint64_t)f->wait_ms, 0);
    f->wait_ms = f->wait_ms * 2 < MAX_PAUSE_MS ? f->wait_ms * 2 : MAX_PAUSE_MS;
}

static void heard(struct follow *f)
{
    f->lost_ns = 0;
    f->told_away = false;
    f->wait_ms = FIRST_PAUSE_MS;
}

static void on_open(void *arg)
{
    struct follow *f = arg;
    heard(f);
    f->open = true;
    if (f->paused)
        ws_client_pause(f->ws);
    f->options.on_ready(f->options.arg);
}

static void on_drain(void *arg)
{
    struct follow *f = arg;
    f->options.on_drain(f->options.arg);
}

static void on_closed(void *arg, enum err e, unsigned code, struct str why)
{
    struct follow *f = arg;
    f->ws = NULL;
    f->open = false;
    if (e == ERR_DENIED && code >= 400 && code < 500 && code != 429 && code != 408) {
        client_print_fault((int)code, why);
        end(f, ERR_DENIED);
    } else {
        again(f, why.n ? why : STR("the connection ended"));
    }
}

static void connect_ws(struct follow *f)
{
    char path[PATH_MAX_LEN], url[CLIENT_URL_MAX];
    snprintf(path, sizeof path, "/v1/jobs/%s/stream%s%s", f->job, f->after[0] ? "?after=" : "", f->after);
    client_url(f->client, path, url);
    struct ws_client_options options = {.url = url,
                                        .headers = f->client->headers,
                                        .ca_file = client_ca_file(f->client),
                                        .max_message = MESSAGE_MAX,
                                        .on_open = on_open,
                                        .on_message = on_message,
                                        .on_drain = on_drain,
                                        .on_closed = on_closed,
                                        .arg = f};
    if (ws_client_open(&f->client->loop, f->client->http, &options, &f->ws))
        again(f, STR("out of memory"));
}

static void take_page(struct follow *f, const struct http_answer *answer)
{
    auto_json page = NULL;
    struct errinfo info;
    if (json_parse(answer->body, &page, &info)) {
        again(f, STR("an answer is not JSON"));
        return;
    }
    json_t *events = json_object_get(page, "events"), *event;
    size_t i;
    heard(f);
    json_array_foreach(events, i, event) take_event(f, event);
    if (f->over)
        return;
    if (json_array_size(events))
        catch_up(f);
    else
        connect_ws(f);
}

static void on_page(void *arg, enum err e, const char *why, const struct http_answer *answer)
{
    struct follow *f = arg;
    f->poll = NULL;
    if (e || answer->status >= 500 || answer->status == 429) {
        again(f, str_of(e ? why : "the API is not ready"));
    } else if (answer->status != 200) {
        client_print_fault(answer->status, answer->body);
        end(f, ERR_DENIED);
    } else {
        take_page(f, answer);
    }
}

static void catch_up(struct follow *f)
{
    char path[PATH_MAX_LEN], url[CLIENT_URL_MAX];
    snprintf(path, sizeof path, "/v1/jobs/%s/events?wait=0%s%s", f->job, f->after[0] ? "&after=" : "",
             f->after);
    client_url(f->client, path, url);
    struct http_call_options call = {.method = "GET",
                                     .url = url,
                                     .headers = f->client->headers,
                                     .ca_file = client_ca_file(f->client),
                                     .timeout_ms = 30000,
                                     .max_body = CLIENT_ANSWER_MAX};
    if (http_client_send(f->client->http, &call, on_page, f, &f->poll))
        again(f, STR("out of memory"));
}

/* ---- the interface ---- */

enum err follow_open(struct client *c, const struct follow_options *options, struct follow **ret_follow)
{
    struct follow *f = calloc(1, sizeof *f);
    if (!f)
        return ERR_NOMEM;
    *f = (struct follow){.client = c, .options = *options, .wait_ms = FIRST_PAUSE_MS};
    snprintf(f->job, sizeof f->job, "%s", options->job);
    snprintf(f->after, sizeof f->after, "%s", options->after ? options->after : "");
    uv_timer_init(&c->loop, &f->pause);
    f->pause.data = f;
    connect_ws(f);
    *ret_follow = f;
    return ERR_OK;
}

bool follow_ready(const struct follow *f)
{
    return f->open;
}

bool follow_send(struct follow *f, struct str message)
{
    return f->open && ws_client_send(f->ws, message);
}

static void on_cancelled(void *arg, enum err e, const char *why, const struct http_answer *answer)
{
    struct follow *f = arg;
    (void)e, (void)why, (void)answer; /* the events tell what became of it; what is lost is asked for again */
    f->cancel = NULL;
}

void follow_cancel(struct follow *f)
{
    char path[PATH_MAX_LEN], url[CLIENT_URL_MAX];
    if (f->over || f->cancel)
        return;
    (void)follow_send(f, STR("{\"type\":\"cancel\"}")); /* one of the two is enough */
    snprintf(path, sizeof path, "/v1/jobs/%s", f->job);
    client_url(f->client, path, url);
    struct http_call_options call = {.method = "DELETE",
                                     .url = url,
                                     .headers = f->client->headers,
                                     .ca_file = client_ca_file(f->client),
                                     .timeout_ms = 30000,
                                     .max_body = CLIENT_ANSWER_MAX};
    if (http_client_send(f->client->http, &call, on_cancelled, f, &f->cancel))
        fprintf(stderr, "millrace: out of memory\n");
}

void follow_pause(struct follow *f)
{
    f->paused = true;
    if (f->open)
        ws_client_pause(f->ws);
}

void follow_resume(struct follow *f)
{
    f->paused = false;
    if (f->open)
        ws_client_resume(f->ws);
}
