/* SPDX-License-Identifier: Apache-2.0 */
/* `submit`, `cancel` and `jobs`. */
#include "base/id.h"
#include "tools/millrace/client.h"
#include "tools/millrace/program.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { BODY_MAX = 128 << 20, PATH_LEN = 1024 };

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

int cmd_submit(const struct cli *cli)
{
    struct client c;
    auto_buf body = BUF_INIT(BODY_MAX);
    struct errinfo info = {0};
    struct id key = id_new();
    auto_answer answer = {0};
    if (program_body(cli, false, &body, &info)) {
        fprintf(stderr, "millrace: %s\n", info.text);
        return EXIT_CANNOT;
    }
    if (client_open(&c, cli))
        return EXIT_CANNOT;
    enum err e = client_call(&c, "POST", "/v1/jobs", buf_str(&body), cli->key ? cli->key : key.text, &answer);
    if (!e && cli->json)
        client_print_json(answer.body);
    else if (!e)
        puts(text_of(answer.body, "job_id"));
    client_close(&c);
    return e ? EXIT_CANNOT : 0;
}

static int cancel_one(struct client *c, const char *job)
{
    char path[PATH_LEN];
    auto_answer answer = {0};
    snprintf(path, sizeof path, "/v1/jobs/%s", job);
    if (client_call(c, "DELETE", path, (struct str){0}, NULL, &answer))
        return EXIT_CANNOT;
    const char *status = text_of(answer.body, "status");
    if (c->cli->json && answer.body)
        client_print_json(answer.body);
    else if (strcmp(status, "running") && strcmp(status, "cancelled"))
        fprintf(stderr, "millrace: %s had ended already: %s\n", job, status);
    return 0;
}

int cmd_cancel(const struct cli *cli)
{
    struct client c;
    int code = 0;
    for (int i = 0; i < cli->arg_count; i++)
        if (!cli_is_job(cli->args[i]))
            return EXIT_USAGE;
    if (client_open(&c, cli))
        return EXIT_CANNOT;
    for (int i = 0; i < cli->arg_count; i++) {
        int one = cancel_one(&c, cli->args[i]);
        code = one ? one : code;
    }
    client_close(&c);
    return code;
}

/* What is not plain goes into a query as %XX. */
static void append_query(struct buf *path, const char *name, const char *value)
{
    if (!value)
        return;
    buf_printf(path, "%c%s=", memchr(path->data, '?', path->len) ? '&' : '?', name);
    for (const char *p = value; *p; p++)
        buf_printf(path,
                   strchr("-_.", *p) || (*p >= '0' && *p <= '9') || ((*p | 32) >= 'a' && (*p | 32) <= 'z')
                       ? "%c"
                       : "%%%02X",
                   (unsigned char)*p);
}

static void print_time(int64_t ms, char out[32])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    localtime_r(&seconds, &tm);
    strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm);
}

static void print_job(const json_t *job)
{
    char when[32];
    json_int_t place = json_integer_value(json_object_get(job, "position"));
    print_time((int64_t)json_integer_value(json_object_get(job, "created_at")), when);
    printf("%-21s  %-10s %-5s %s", text_of(job, "job_id"), text_of(job, "status"), text_of(job, "lang"),
           when);
    if (place > 0)
        printf("  place %lld", (long long)place);
    putchar('\n');
}

static int list_jobs(struct client *c, const struct cli *cli)
{
    auto_buf path = BUF_INIT(PATH_LEN);
    auto_answer answer = {0};
    char limit[32];
    snprintf(limit, sizeof limit, "%lld", (long long)cli_int_or(cli->limit, 20));
    buf_append_cstr(&path, "/v1/jobs");
    append_query(&path, "limit", limit);
    append_query(&path, "status", cli->status);
    append_query(&path, "cursor", cli->cursor);
    if (client_call(c, "GET", buf_cstr(&path), (struct str){0}, NULL, &answer))
        return EXIT_CANNOT;
    if (cli->json) {
        client_print_json(answer.body);
        return 0;
    }
    size_t i;
    json_t *job;
    json_array_foreach(json_object_get(answer.body, "jobs"), i, job) print_job(job);
    if (text_of(answer.body, "next_cursor")[0])
        fprintf(stderr, "more: --cursor %s\n", text_of(answer.body, "next_cursor"));
    return 0;
}

static int show_job(struct client *c, const struct cli *cli)
{
    char path[PATH_LEN];
    auto_answer answer = {0};
    snprintf(path, sizeof path, "/v1/jobs/%s", cli->args[0]);
    if (client_call(c, "GET", path, (struct str){0}, NULL, &answer))
        return EXIT_CANNOT;
    if (cli->json)
        client_print_json(answer.body);
    else
        print_job(answer.body);
    return 0;
}

int cmd_jobs(const struct cli *cli)
{
    struct client c;
    if (cli->arg_count && !cli_is_job(cli->args[0]))
        return EXIT_USAGE;
    if (client_open(&c, cli))
        return EXIT_CANNOT;
    int code = cli->arg_count ? show_job(&c, cli) : list_jobs(&c, cli);
    client_close(&c);
    return code;
}
