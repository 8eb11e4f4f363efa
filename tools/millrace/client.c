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
    enum err e = config_load(&config_table, &c->config.base, &request, info);
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
    if (json_is_array(details) || json_is_object(details)) {
        auto_buf text = BUF_INIT(4096);
        if (!json_write(details, &text) && text.len > 2)
            fprintf(stderr, " %s", buf_cstr(&text));
    }
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
    bool safe = idempotency_key || strcmp(method, "POST") != 0;
    int64_t until = clock_mono_ns() + (int64_t)PATIENCE_MS * 1000000;
    int wait = FIRST_PAUSE_MS;
    enum err e;
    while ((e = try_once(&call, &options)) && call.again && safe && clock_mono_ns() < until) {
        pause_ms(c, call.retry_after_s > 0 ? call.retry_after_s * 1000 : wait);
        wait = wait * 2 < MAX_PAUSE_MS ? wait * 2 : MAX_PAUSE_MS;
    }
    if (e)
        print_failure(&call, url);
    buf_free(&call.fault);
    return e;
}
