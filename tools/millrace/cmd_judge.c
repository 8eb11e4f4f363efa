/* SPDX-License-Identifier: Apache-2.0 */
/* `judge`: one run for each test case, each with its own input, expectation and limits. */
#include "base/id.h"
#include "tools/millrace/client.h"
#include "tools/millrace/program.h"

#include <stdio.h>
#include <string.h>

enum { BODY_MAX = 128 << 20, CASES_MAX = 10000, NAME_MAX_SHOWN = 200 };

static int cannot(const struct errinfo *info)
{
    fprintf(stderr, "millrace: %s\n", info->text);
    return EXIT_CANNOT;
}

/* The request that all cases share. */
static enum err read_program(const struct cli *cli, json_t **ret_program, struct errinfo *info)
{
    struct cli only = *cli; /* the cases are no argument of the program */
    auto_buf text = BUF_INIT(BODY_MAX);
    only.arg_count = 1;
    enum err e = program_body(&only, false, &text, info);
    return e ? e : json_parse(buf_str(&text), ret_program, info);
}

static enum err read_cases(const char *path, json_t **ret_cases, struct errinfo *info)
{
    auto_buf text = BUF_INIT(BODY_MAX);
    auto_json cases = NULL;
    enum err e = program_read(path, &text, info);
    if (!e && json_parse(buf_str(&text), &cases, info))
        e = ERR_INVALID;
    if (!e && (!json_is_array(cases) || json_array_size(cases) == 0 || json_array_size(cases) > CASES_MAX))
        e = errinfo_set(info, ERR_INVALID, 0, "%.200s: must be a list of 1 to %d test cases", path,
                        CASES_MAX);
    for (size_t i = 0; !e && i < json_array_size(cases); i++)
        if (!json_is_string(json_object_get(json_array_get(cases, i), "expected_output")))
            e = errinfo_set(info, ERR_INVALID, 0, "%.200s: case %zu: expected_output must be a string", path,
                            i + 1);
    if (!e)
        *ret_cases = json_incref(cases);
    return e;
}

/* A case's own fields win. Cases know nothing of each other: no state goes from one to the next. */
static enum err case_body(const json_t *program, json_t *one, struct buf *out)
{
    auto_json body = json_copy((json_t *)(uintptr_t)program); /* jansson only reads it */
    if (!body || json_object_set_new(body, "state", json_false()) || json_object_update(body, one))
        return ERR_NOMEM;
    json_object_del(body, "name");
    json_object_del(body, "interactive");
    return json_write(body, out);
}

static const char *text_of(const json_t *object, const char *name, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : otherwise;
}

static void print_case(const struct cli *cli, size_t number, const json_t *one, const json_t *result)
{
    const char *verdict = text_of(result, "verdict", text_of(result, "reason", "not judged"));
    const json_t *wall = json_object_get(result, "wall_time");
    if (cli->json)
        client_print_json(result);
    else
        printf("%zu\t%s\t%lld ms\t%.*s\n", number, verdict, (long long)json_integer_value(wall),
               NAME_MAX_SHOWN, text_of(one, "name", ""));
    fflush(stdout);
}

/* *ret_accepted counts. */
static enum err judge_case(struct client *c, const json_t *program, json_t *one, size_t number,
                           size_t *ret_accepted)
{
    auto_buf body = BUF_INIT(BODY_MAX);
    auto_answer answer = {0};
    struct id key = id_new();
    enum err e = case_body(program, one, &body);
    if (!e)
        e = client_call(c, "POST", "/exec", buf_str(&body), key.text, &answer);
    if (e)
        return e;
    print_case(c->cli, number, one, answer.body);
    *ret_accepted += strcmp(text_of(answer.body, "verdict", ""), "accepted") == 0;
    return ERR_OK;
}

int cmd_judge(const struct cli *cli)
{
    struct client c;
    struct errinfo info = {0};
    auto_json program = NULL;
    auto_json cases = NULL;
    size_t accepted = 0;
    if (read_program(cli, &program, &info) || read_cases(cli->args[1], &cases, &info))
        return cannot(&info);
    if (client_open(&c, cli))
        return EXIT_CANNOT;
    enum err e = ERR_OK;
    for (size_t i = 0; !e && i < json_array_size(cases); i++)
        e = judge_case(&c, program, json_array_get(cases, i), i + 1, &accepted);
    client_close(&c);
    if (e)
        return EXIT_CANNOT;
    if (!cli->json)
        printf("%zu of %zu accepted\n", accepted, json_array_size(cases));
    return accepted == json_array_size(cases) ? 0 : 1;
}
