/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/client.h"

#include "base/clock.h"
#include "io/config_load.h"

#include <stdio.h>
#include <string.h>

enum {
    PATIENCE_MS = 20000,
    FIRST_PAUSE_MS = 100,
    MAX_PAUSE_MS = 2000,
    TELL_MS = 1500,
    CALL_TIMEOUT_MS = 120000,
    KEY_HEADER_MAX = 300
};

void client_answer_free(struct client_answer *answer)
{
    json_decref(answer->body);
    answer->body = NULL;
}

void client_url(const struct client *c, const char *path, char out[CLIENT_URL_MAX])
{
    snprintf(out, CLIENT_URL_MAX, "%s%s", c->base, path);
}

const char *client_ca_file(const struct client *c)
{
    return text_or_null(c->config.client_ca_file);
}

static enum err find_api(struct client *c, struct errinfo *info)
{
    struct config_request request = {0};
    enum err e = config_load(&config_client_table, &c->config.base, &request, info);
    if (e)
        return e;
    const char *url = c->cli->url ? c->cli->url : c->config.client_url;
    size_t n = strlen(url);
    while (n && url[n - 1] == '/')
        n--;
    if ((strncmp(url, "http://", 7) && strncmp(url, "https://", 8)) || n >= sizeof c->base)
        return errinfo_set(info, ERR_INVALID, 0, "the URL of the API must begin with http:// or https://");
    snprintf(c->base, sizeof c->base, "%.*s", (int)n, url);
    size_t headers = 0;
    if (c->config.client_api_key && c->config.client_api_key[0]) {
        snprintf(c->key_header, sizeof c->key_header, "x-api-key: %s", c->config.client_api_key);
        c->headers[headers++] = c->key_header;
    }
    c->headers[headers] = "Content-Type: application/json";
    return ERR_OK;
}

enum err client_open(struct client *c, const struct cli *cli)
{
    struct errinfo info = {0};
    *c = (struct client){.cli = cli};
    enum err e = find_api(c, &info);
    if (!e && (uv_loop_init(&c->loop) || http_client_open(&c->loop, &c->http)))
        e = errinfo_set(&info, ERR_NOMEM, 0, "cannot start the loop");
    if (e) {
        fprintf(stderr, "millrace: %s\n", info.text);
        config_release(&c->config.base);
    }
    return e;
}

void client_close(struct client *c)
{
    http_client_close(c->http, NULL, NULL);
    uv_run(&c->loop, UV_RUN_DEFAULT);
    uv_loop_close(&c->loop);
    config_release(&c->config.base);
}

/* What is not in the sentence before it already. */
static void print_detail(const char *error, const json_t *detail)
{
    const char *text = json_string_value(json_object_get(detail, "message"));
    const char *field = json_string_value(json_object_get(detail, "field"));
    if (text && !strstr(error, text))
        fprintf(stderr, "; %s%s%s", field ? field : "", field ? ": " : "", text);
}

/* {error, error_type, details, request_id} */
void client_print_fault(int status, struct str body)
{
    auto_json fault = NULL;
    struct errinfo info;
    const char *error = NULL, *type = NULL, *id = NULL;
    json_t *details = NULL;
    if (json_parse(body, &fault, &info) ||
        json_unpack(fault, "{s?s, s?s, s?o, s?s}", "error", &error, "error_type", &type, "details", &details,
                    "request_id", &id) ||
        !error) {
        fprintf(stderr, "millrace: the API answered %d: %.*s\n", status, (int)(body.n > 500 ? 500 : body.n),
                body.p);
        return;
    }
    fprintf(stderr, "millrace: %s", error);
    size_t i;
    json_t *detail;
    json_array_foreach(details, i, detail) print_detail(error, detail);
    if (status == 401)
        fputs("; the command line takes it from MILLRACE_API_KEY", stderr);
    fprintf(stderr, " (%d %s%s%s)\n", status, type ? type : "", id ? ", request " : "", id ? id : "");
}

void client_print_json(const json_t *value)
{
    auto_buf text = BUF_INIT(CLIENT_ANSWER_MAX);
    if (!json_write(value, &text))
        puts(buf_cstr(&text));
}

/* ---- one call ---- */

struct one_call {
    struct client *client;
    bool done, again;
    enum err e;
    int retry_after_s;
    struct client_answer *answer;
    char why[256];
    struct buf fault; /* body of a refusal */
    int status;
};

static void take_answer(struct one_call *call, const struct http_answer *answer)
{
    struct errinfo info;
    call->status = answer->status;
    call->again = answer->status == 503 || answer->status == 429;
    call->retry_after_s = answer->retry_after_s;
    if (answer->status / 100 != 2) {
        call->e = ERR_INVALID;
        buf_append_str(&call->fault, answer->body);
        return;
    }
    call->answer->status = answer->status;
    if (answer->body.n && json_parse(answer->body, &call->answer->body, &info)) {
        call->e = ERR_PROTOCOL;
        snprintf(call->why, sizeof call->why, "the answer is not JSON: %.200s", info.text);
    }
}

static void on_answer(void *arg, enum err e, const char *why, const struct http_answer *answer)
{
    struct one_call *call = arg;
    call->done = true;
    call->e = e;
    call->again = e == ERR_IO || e == ERR_TIMEOUT;
    if (e)
        snprintf(call->why, sizeof call->why, "%s", why);
    else
        take_answer(call, answer);
}

static void on_pause_over(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, NULL);
}

static void pause_ms(struct client *c, int ms)
{
    uv_timer_t timer;
    uv_timer_init(&c->loop, &timer);
    uv_timer_start(&timer, on_pause_over, (uint64_t)ms, 0);
    while (!uv_is_closing((uv_handle_t *)&timer))
        uv_run(&c->loop, UV_RUN_ONCE);
    uv_run(&c->loop, UV_RUN_NOWAIT); /* the handle is on this stack: let its close end */
}

static enum err try_once(struct one_call *call, const struct http_call_options *options)
{
    call->done = false;
    buf_reset(&call->fault);
    enum err e = http_client_send(call->client->http, options, on_answer, call, NULL);
    while (!e && !call->done)
        uv_run(&call->client->loop, UV_RUN_ONCE);
    return e ? e : call->e;
}

static void print_failure(const struct one_call *call, const char *url)
{
    if (call->status && call->e == ERR_INVALID)
        client_print_fault(call->status, buf_str(&call->fault));
    else
        fprintf(stderr, "millrace: %s: %s\n", url, call->why);
}

/* A person who waits is told why. */
static void tell_waiting(const struct one_call *call, const char *url, int64_t waited_ms)
{
    if (waited_ms < TELL_MS)
        return;
    if (call->e == ERR_INVALID)
        fprintf(stderr, "millrace: the API is not ready (%d), trying again\n", call->status);
    else
        fprintf(stderr, "millrace: %s: %s; trying again\n", url, call->why);
}

/* Until it is done, or what is safe to repeat was tried for a while. */
static enum err try_patiently(struct one_call *call, const struct http_call_options *options, bool safe)
{
    const int64_t since = clock_mono_ns();
    int64_t waited;
    int wait = FIRST_PAUSE_MS;
    bool told = false;
    enum err e;
    while ((e = try_once(call, options)) && call->again && safe &&
           (waited = (clock_mono_ns() - since) / 1000000) < PATIENCE_MS) {
        int asked = call->retry_after_s < PATIENCE_MS / 1000 ? call->retry_after_s * 1000 : PATIENCE_MS;
        int pause = asked > 0 ? asked : wait;
        if (!told)
            tell_waiting(call, options->url, waited + pause);
        told = waited + pause >= TELL_MS;
        pause_ms(call->client, pause);
        wait = wait * 2 < MAX_PAUSE_MS ? wait * 2 : MAX_PAUSE_MS;
    }
    return e;
}

enum err client_call(struct client *c, const char *method, const char *path, struct str body,
                     const char *idempotency_key, struct client_answer *ret_answer)
{
    char url[CLIENT_URL_MAX], key[KEY_HEADER_MAX];
    const char *headers[5] = {c->headers[0], c->headers[1], NULL};
    if (idempotency_key) {
        snprintf(key, sizeof key, "Idempotency-Key: %s", idempotency_key);
        headers[c->headers[1] ? 2 : 1] = key;
    }
    client_url(c, path, url);
    struct http_call_options options = {.method = method,
                                        .url = url,
                                        .headers = headers,
                                        .ca_file = client_ca_file(c),
                                        .body = body,
                                        .timeout_ms = CALL_TIMEOUT_MS,
                                        .max_body = CLIENT_ANSWER_MAX};
    struct one_call call = {.client = c, .answer = ret_answer, .fault = BUF_INIT(65536)};
    enum err e = try_patiently(&call, &options, idempotency_key || strcmp(method, "POST") != 0);
    if (e)
        print_failure(&call, url);
    buf_free(&call.fault);
    return e;
}
