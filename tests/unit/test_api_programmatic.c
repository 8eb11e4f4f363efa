/* SPDX-License-Identifier: Apache-2.0 */
#include "api/programmatic.h"
#include "api/tool_results.h"
#include "unit.h"

#include <string.h>

static const char *named(enum tool_language language, const char *name)
{
    static char identifier[TOOL_IDENTIFIER_MAX];
    tool_identifier(language, str_of(name), identifier);
    return identifier;
}

/* As the clients have it: Python drops dots, Bash makes them _. */
static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name, *python, *bash;
    } rows[] = {
        {"get_weather", "get_weather", "get_weather"},
        {"search_mcp_my-server", "search_mcp_my_server", "search_mcp_my_server"},
        {"a.b c\td", "ab_c_d", "a_b_c_d"},
        {"2fast", "_2fast", "_2fast"},
        {"-2", "_2", "_2"},
        {"caf\xc3\xa9", "caf", "caf"},
        {"import", "import_tool", "import_tool"},
        {"None", "None_tool", "None"},
        {"case", "case", "case_tool"},
        {"echo", "echo", "echo_tool"},
        {"if", "if_tool", "if_tool"},
        {"_ptc_x", "_ptc_x", "_ptc_x_tool"},
        {"match", "match", "match"},
        {"\xc3\xa9", "tool", "tool"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *bash = strcmp(rows[i].name, "import") == 0 ? "import" : rows[i].bash;
        assert_string_equal(named(TOOLS_PYTHON, rows[i].name), rows[i].python);
        assert_string_equal(named(TOOLS_BASH, rows[i].name), bash);
    }
    char longest[TOOL_NAME_MAX + 1];
    memset(longest, '1', TOOL_NAME_MAX);
    longest[TOOL_NAME_MAX] = '\0';
    assert_int_equal(strlen(named(TOOLS_BASH, longest)), TOOL_NAME_MAX + 1);
}

static json_t *built(const char *text)
{
    auto_json body = NULL;
    struct api_fault fault;
    assert_int_equal(json_parse(str_of(text), &body, NULL), ERR_OK);
    if (programmatic_body(body, 1 << 20, &fault) != ERR_OK)
        fail_msg("%s: %s", text, fault.detail);
    return json_incref(body);
}

static void test_programs(void **state)
{
    (void)state;
    auto_json python = built(
        "{\"code\":\"print('\\u00fc\\\\')\",\"timeout\":5,\"files\":[],\"tools\":[{\"name\":\"a-b\",\"parameters\":"
        "{\"properties\":{\"x\":{},\"y\":{}},\"required\":[\"y\"]}}]}");
    const char *code = json_string_value(json_object_get(python, "code"));
    assert_string_equal(json_string_value(json_object_get(python, "lang")), "py");
    assert_non_null(
        strstr(code, "TOOLS=[[\"a_b\",\"a-b\",[\"y\",\"x\"]]]\nCODE=\"print('\xc3\xbc\\\\')\"\n"));
    assert_int_equal(json_integer_value(json_object_get(python, "timeout")), 5);
    assert_null(json_object_get(python, "tools"));
    assert_true(json_is_array(json_object_get(python, "files")));
    auto_json bash =
        built("{\"lang\":\"bash\",\"code\":\"echo 1\\necho 2\",\"tools\":[{\"name\":\"it's\"}]}");
    code = json_string_value(json_object_get(bash, "code"));
    const char *first = strchr(code, '\n'); /* all of ours is one line */
    assert_string_equal(first, "\necho 1\necho 2");
    assert_non_null(strstr(code, "its() { "));
    assert_non_null(strstr(code, "$'it\\'s'"));
}

/* ---- results ---- */

static void add(struct tool_calls *calls, uint32_t attempt, const char *data)
{
    struct event event = {.type = EV_TOOL_CALL, .attempt = attempt, .data = str_of(data)};
    tool_calls_add(calls, &event);
}

static enum err read_answers(const char *text, struct tool_answers *answers, struct api_fault *fault)
{
    auto_json root = NULL;
    assert_int_equal(json_parse(str_of(text), &root, NULL), ERR_OK);
    return tool_answers_read(root, str_of(text), answers, fault);
}

static enum err match(const struct tool_calls *calls, const char *body, struct buf *out,
                      struct api_fault *fault)
{
    struct tool_answers answers;
    enum err e = read_answers(body, &answers, fault);
    if (e != ERR_OK)
        return e;
    e = tool_answers_match(&answers, calls, out, fault);
    tool_answers_free(&answers);
    return e;
}

#define CALL(n, more)                                                                                        \
    "{\"call_id\":\"call_00" n "\",\"key\":\"k" n "\",\"name\":\"t\",\"input\":{\"a\":1.50}" more "}"

static void test_rounds(void **state)
{
    (void)state;
    struct tool_calls calls;
    struct api_fault fault;
    auto_buf pending = BUF_INIT(4096), data = BUF_INIT(4096);
    tool_calls_init(&calls);
    add(&calls, 1, CALL("1", ""));
    add(&calls, 1, CALL("2", ",\"waits\":true"));
    assert_int_equal(tool_calls_pending(&calls, 1), 2);
    tool_calls_write_pending(&calls, 1, &pending);
    assert_string_equal(buf_cstr(&pending), "[{\"id\":\"call_001\",\"name\":\"t\",\"input\":{\"a\":1.50}},"
                                            "{\"id\":\"call_002\",\"name\":\"t\",\"input\":{\"a\":1.50}}]");
    static const char body[] =
        "{\"tool_results\":[{\"call_id\":\"call_001\",\"result\":{\"x\":0.10}},"
        "{\"call_id\":\"call_002\",\"is_error\":true,\"error_message\":\"no\",\"result\":null}]}";
    assert_int_equal(match(&calls, body, &data, &fault), ERR_OK);
    assert_string_equal(buf_cstr(&data),
                        "{\"results\":[{\"call_id\":\"call_001\",\"key\":\"k1\",\"result\":{\"x\":0.10}},"
                        "{\"call_id\":\"call_002\",\"key\":\"k2\",\"error\":\"no\"}]}");
    tool_calls_answered(&calls, buf_str(&data));
    assert_int_equal(tool_calls_pending(&calls, 1), 0);
    buf_reset(&data);
    assert_int_equal(match(&calls, body, &data, &fault), ERR_OK); /* the same again */
    assert_int_equal(data.len, 0);
    assert_int_equal(
        match(&calls, "{\"tool_results\":[{\"call_id\":\"call_001\",\"result\":2}]}", &data, &fault),
        ERR_INVALID);
    assert_int_equal(fault.error, CE_TOOL_ANSWERED);
    assert_int_equal(match(&calls, "{\"tool_results\":[{\"call_id\":\"call_003\"}]}", &data, &fault),
                     ERR_INVALID);
    assert_int_equal(fault.error, CE_BAD_REQUEST);
    add(&calls, 2, CALL("3", ",\"waits\":true"));
    assert_int_equal(tool_calls_pending(&calls, 1), 0);
    assert_int_equal(tool_calls_pending(&calls, 2), 1);
    tool_calls_free(&calls);
}

static void test_bad_results(void **state)
{
    (void)state;
    static const char *const bad[] = {"{}",
                                      "[]",
                                      "{\"tool_results\":{}}",
                                      "{\"tool_results\":[]}",
                                      "{\"tool_results\":[1]}",
                                      "{\"tool_results\":[{}]}",
                                      "{\"tool_results\":[{\"call_id\":5}]}",
                                      "{\"tool_results\":[{\"call_id\":\"\"}]}",
                                      "{\"tool_results\":[{\"call_id\":\"a\"},{\"call_id\":\"a\"}]}",
                                      "{\"tool_results\":[{\"call_id\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}]}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tool_answers answers;
        struct api_fault fault;
        assert_int_equal(read_answers(bad[i], &answers, &fault), ERR_INVALID);
        assert_int_equal(fault.error, CE_BAD_REQUEST);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_programs),
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_bad_results),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
