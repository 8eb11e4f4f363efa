/* SPDX-License-Identifier: Apache-2.0 */
#include "api/exec_request.h"
#include "unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct exec_rules rules(bool sync)
{
    static struct config config;
    if (config.base.origins == NULL)
        assert_int_equal(config_begin(&config_table, &config.base), ERR_OK);
    struct exec_rules r = {.max_code = 1000, .sync = sync};
    limits_configure(&config, &r.bounds);
    return r;
}

static struct api_fault refuse_str(bool sync, struct str body)
{
    struct exec_rules r = rules(sync);
    struct exec_request request;
    struct api_fault fault = {.error = CE_INTERNAL};
    if (exec_request_parse(body, &r, &request, &fault) == ERR_OK)
        fail_msg("accepted: " STR_FMT, STR_ARG(body));
    return fault;
}

static void refused(bool sync, const char *body, enum client_error error, const char *says)
{
    struct api_fault fault = refuse_str(sync, str_of(body));
    if (fault.error != error || strstr(fault.detail, says) == NULL)
        fail_msg("%s: error %d (wanted %d): %s", body, fault.error, error, fault.detail);
}

static json_t *accepted(bool sync, const char *body, struct exec_request *request)
{
    struct exec_rules r = rules(sync);
    struct api_fault fault;
    if (exec_request_parse(str_of(body), &r, request, &fault) != ERR_OK)
        fail_msg("%s: refused: %s", body, fault.detail);
    json_t *value = NULL;
    struct errinfo info;
    assert_int_equal(json_parse(buf_str(&request->canonical), &value, &info), ERR_OK);
    return value;
}

#define PY "{\"lang\":\"py\",\"code\":\"x\""

static void test_canonical(void **state)
{
    (void)state;
    struct exec_request r = {.detach = false};
    auto_json v = accepted(true, "{\"lang\":\"Python\",\"code\":\"print(1)\\n\"}", &r);
    assert_string_equal(json_string_value(json_object_get(v, "lang")), "py");
    assert_string_equal(json_string_value(json_object_get(v, "code")), "print(1)\n");
    assert_int_equal(json_array_size(json_object_get(v, "args")), 0);
    assert_null(json_object_get(v, "stdin"));
    const json_t *limits = json_object_get(v, "limits");
    assert_int_equal(json_integer_value(json_object_get(limits, "wall_ms")), 30000);
    assert_int_equal(json_integer_value(json_object_get(limits, "memory_bytes")), 512 << 20);
    assert_int_equal(json_object_size(limits), LIMIT_COUNT);
    assert_true(json_is_false(json_object_get(v, "stdin_open")) && json_is_true(json_object_get(v, "retry")));
    assert_true(json_is_true(json_object_get(v, "at_end")));
    assert_int_equal(r.priority, QUEUE_INTERACTIVE);
    assert_string_equal(r.session.text, "");
    exec_request_free(&r);
}

static void test_all_fields(void **state)
{
    (void)state;
    struct exec_request r = {.detach = false};
    auto_json v =
        accepted(false,
                 PY ",\"args\":[\"a\",\"\xc3\xa4\"],\"stdin\":\"aGk=\",\"stdin_encoding\":\"base64\","
                    "\"env\":{\"A_1\":\"b\"},\"timeout_ms\":5,\"memory_mb\":64,\"priority\":\"batch\","
                    "\"retry\":false,\"detach\":true,\"interactive\":true,"
                    "\"session_id\":\"V1StGXR8_Z5jdHi6B-myT\",\"files\":[],\"user_id\":7}",
                 &r);
    assert_string_equal(json_string_value(json_object_get(v, "stdin_encoding")), "base64");
    assert_string_equal(json_string_value(json_object_get(json_object_get(v, "env"), "A_1")), "b");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(v, "limits"), "wall_ms")), 5);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(v, "limits"), "memory_bytes")),
                     64 << 20);
    assert_true(json_is_true(json_object_get(v, "stdin_open")) && r.stdin_open);
    assert_null(json_object_get(v, "at_end"));
    assert_true(!r.retry && r.detach && r.priority == QUEUE_BATCH);
    assert_string_equal(r.session.text, "V1StGXR8_Z5jdHi6B-myT");
    exec_request_free(&r);
}

static void test_not_json(void **state)
{
    (void)state;
    static const char *const bodies[] = {"",
                                         "{",
                                         "{}x",
                                         "{\"a\":1,}",
                                         "{'a':1}",
                                         "{\"lang\":\"py\",\"lang\":\"js\"}",
                                         "{\"lang\":\"py\",\"\\u006cang\":\"js\"}",
                                         "{\"code\":\"\\ud800\"}",
                                         "{\"timeout_ms\":01}",
                                         "{\"timeout_ms\":NaN}",
                                         "{\"args\":1e400}",
                                         "{\"args\":99999999999999999999}",
                                         "{\"if_state_version\":99999999999999999999}",
                                         "\xff"};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        refused(true, bodies[i], CE_BAD_JSON, "");
    refused(true, "null", CE_INVALID_FIELD, "object");
    refused(true, "[]", CE_INVALID_FIELD, "object");
    refused(true, "1", CE_INVALID_FIELD, "object");
}

static void test_lang_and_code(void **state)
{
    (void)state;
    refused(true, "{\"code\":\"x\"}", CE_INVALID_FIELD, "lang: ");
    refused(true, "{\"lang\":5,\"code\":\"x\"}", CE_INVALID_FIELD, "lang: ");
    refused(true, "{\"lang\":\"cobol\",\"code\":\"x\"}", CE_UNKNOWN_LANGUAGE, "py, js, bash");
    refused(true, "{\"lang\":\"py\"}", CE_INVALID_FIELD, "code: ");
    refused(true, "{\"lang\":\"py\",\"code\":[]}", CE_INVALID_FIELD, "code: ");
    refused(true, "{\"lang\":\"py\",\"code\":\"\"}", CE_EMPTY_CODE, "code: ");
    char body[1200] = "{\"lang\":\"py\",\"code\":\"";
    size_t n = strlen(body);
    memset(body + n, ' ', 1001);
    snprintf(body + n + 1001, 3, "\"}");
    refused(true, body, CE_TOO_LARGE, "code: ");
    snprintf(body + n + 1000, 3, "\"}"); /* only spaces, and just at the limit */
    struct exec_request r = {.detach = false};
    auto_json v = accepted(true, body, &r);
    assert_non_null(v);
    exec_request_free(&r);
    auto_json nul = accepted(true, "{\"lang\":\"py\",\"code\":\"a\\u0000b\"}", &r);
    assert_int_equal(json_string_length(json_object_get(nul, "code")), 3);
    exec_request_free(&r);
}

static void test_args(void **state)
{
    (void)state;
    struct exec_request r = {.detach = false};
    auto_json v = accepted(true, PY ",\"args\":[1,2.5,true,null,[1,\"a\"],{\"k\":1},\"s\"]}", &r);
    static const char *const want[] = {"1", "2.5", "true", "null", "[1,\"a\"]", "{\"k\":1}", "s"};
    for (size_t i = 0; i < 7; i++)
        assert_string_equal(json_string_value(json_array_get(json_object_get(v, "args"), i)), want[i]);
    exec_request_free(&r);
    refused(false, PY ",\"args\":[1]}", CE_INVALID_FIELD, "args: item 0");
    static const char *const single[][2] = {{"\"x y\"", "x y"}, {"{\"a\":[1]}", "{\"a\":[1]}"}, {"5", "5"}};
    for (size_t i = 0; i < 3; i++) {
        auto_buf body = BUF_INIT(1024);
        buf_printf(&body, PY ",\"args\":%s}", single[i][0]);
        auto_json one = accepted(true, buf_cstr(&body), &r);
        assert_int_equal(json_array_size(json_object_get(one, "args")), 1);
        assert_string_equal(json_string_value(json_array_get(json_object_get(one, "args"), 0)), single[i][1]);
        exec_request_free(&r);
        refused(false, buf_cstr(&body), CE_INVALID_FIELD, "args: ");
    }
    refused(true, PY ",\"args\":[\"a\\u0000\"]}", CE_BAD_REQUEST, "args: ");
    auto_buf large = BUF_INIT(1 << 20);
    buf_append_cstr(&large, PY ",\"args\":[\"");
    for (int i = 0; i < 128 * 1024; i++)
        buf_append_char(&large, 'a');
    buf_append_cstr(&large, "\"]}");
    assert_int_equal(refuse_str(true, buf_str(&large)).error, CE_TOO_LARGE);
}

static void test_env(void **state)
{
    (void)state;
    refused(true, PY ",\"env\":[]}", CE_INVALID_FIELD, "env");
    refused(true, PY ",\"env\":{\"1A\":\"\"}}", CE_INVALID_FIELD, "env");
    refused(true, PY ",\"env\":{\"A B\":\"\"}}", CE_INVALID_FIELD, "env");
    refused(true, PY ",\"env\":{\"\":\"\"}}", CE_INVALID_FIELD, "env");
    refused(true, PY ",\"env\":{\"LD_PRELOAD\":\"x\"}}", CE_INVALID_FIELD, "LD_PRELOAD");
    refused(true, PY ",\"env\":{\"PYTHONPATH\":\"x\"}}", CE_INVALID_FIELD, "PYTHONPATH");
    refused(true, PY ",\"env\":{\"A\":1}}", CE_INVALID_FIELD, "env");
    refused(true, PY ",\"env\":{\"A\":\"\\u0000\"}}", CE_BAD_REQUEST, "env");
}

static void test_limits(void **state)
{
    (void)state;
    static const char *const bad[] = {"0",    "-1", "30001",           "1.5", "1.0", "\"5\"",
                                      "true", "[]", "9007199254740993"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char body[200];
        snprintf(body, sizeof body, PY ",\"timeout_ms\":%s}", bad[i]);
        refused(true, body, CE_INVALID_FIELD, "timeout_ms: ");
        snprintf(body, sizeof body, PY ",\"memory_mb\":%s}", bad[i]);
        if (strcmp(bad[i], "30001") == 0 || i < 2)
            refused(true, body, CE_INVALID_FIELD, "memory_mb: ");
    }
    refused(true, PY ",\"memory_mb\":513}", CE_INVALID_FIELD, "512");
    refused(true, PY ",\"timeout\":\"5\"}", CE_INVALID_FIELD, "timeout: ");
}

/* Every row is a strict integer within its range, and 422 says the range. */
static void test_every_limit_is_strict(void **state)
{
    struct config config = {0};
    struct limit_bounds bounds;
    (void)state;
    assert_int_equal(config_begin(&config_table, &config.base), ERR_OK);
    limits_configure(&config, &bounds);
    for (enum limit i = 0; i < LIMIT_COUNT; i++) {
        const char *field = limit_row(i)->field;
        static const char *const kinds[] = {"1.5",
                                            "1e3",
                                            "\"64\"",
                                            "true",
                                            "[64]",
                                            "{}",
                                            "-1",
                                            "18446744073709551616",
                                            "-99999999999999999999999",
                                            "1e400",
                                            "-1e400"};
        char body[300], range[100];
        int64_t inside[] = {limit_min(i), limit_max(&bounds, i)};
        snprintf(range, sizeof range, "from %" PRId64 " to %" PRId64, inside[0], inside[1]);
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
            snprintf(body, sizeof body, PY ",\"%s\":%s}", field, kinds[k]);
            refused(true, body, CE_INVALID_FIELD, field);
            refused(false, body, CE_INVALID_FIELD, range);
        }
        int64_t outside[] = {limit_min(i) - 1, limit_max(&bounds, i) + 1};
        for (size_t k = 0; k < 2; k++) {
            snprintf(body, sizeof body, PY ",\"%s\":%" PRId64 "}", field, outside[k]);
            refused(true, body, CE_INVALID_FIELD, range);
            snprintf(body, sizeof body, PY ",\"%s\":%" PRId64 "}", field, inside[k]);
            struct exec_request r = {.detach = false};
            auto_json v = accepted(true, body, &r);
            assert_int_equal(
                json_integer_value(json_object_get(json_object_get(v, "limits"), limit_row(i)->canonical)),
                inside[k] * limit_row(i)->scale);
            exec_request_free(&r);
        }
    }
    config_release(&config.base);
}

static json_int_t limit_of(const char *body, const char *name)
{
    struct exec_request r = {.detach = false};
    auto_json v = accepted(true, body, &r);
    json_int_t value = json_integer_value(json_object_get(json_object_get(v, "limits"), name));
    exec_request_free(&r);
    return value;
}

/* A row of languages.def may move what a run gets and may ask for. */
static void test_limits_of_a_language(void **state)
{
    (void)state;
#define RS "{\"lang\":\"rs\",\"code\":\"x\""
    assert_int_equal(limit_of(PY "}", "wall_ms"), 30000);
    assert_int_equal(limit_of(RS "}", "wall_ms"), 90000);
    assert_int_equal(limit_of(RS "}", "cpu_ms"), 90000);
    assert_int_equal(limit_of(RS "}", "memory_bytes"), 768 << 20);
    assert_int_equal(limit_of(RS "}", "pids"), 512);
    assert_int_equal(limit_of(RS ",\"timeout_ms\":90000}", "wall_ms"), 90000);
    assert_int_equal(limit_of(RS ",\"timeout\":1e9}", "wall_ms"), 90000);
    refused(true, RS ",\"timeout_ms\":90001}", CE_INVALID_FIELD, "1 to 90000");
    refused(true, RS ",\"memory_mb\":769}", CE_INVALID_FIELD, "768");
    assert_int_equal(limit_of(PY ",\"cpu_millis\":500}", "cpu_quota"), 50000);
    refused(true, PY ",\"cpu_millis\":1001}", CE_INVALID_FIELD, "10 to 1000");
#undef RS
}

static void test_contract_timeout_is_clamped(void **state)
{
    (void)state;
    static const struct {
        const char *given;
        int wall_ms;
    } table[] = {{"5000", 5000},
                 {"0", 1},
                 {"-7", 1},
                 {"1e300", 30000},
                 {"1e400", 30000},
                 {"-1e400", 1},
                 {"99999999999999999999999", 30000},
                 {"-99999999999999999999999", 1},
                 {"99999999", 30000},
                 {"2.9", 2},
                 {"null", 30000}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char body[200];
        snprintf(body, sizeof body, PY ",\"timeout\":%s}", table[i].given);
        struct exec_request r = {.detach = false};
        auto_json v = accepted(true, body, &r);
        assert_int_equal(json_integer_value(json_object_get(json_object_get(v, "limits"), "wall_ms")),
                         table[i].wall_ms);
        exec_request_free(&r);
    }
}

static void test_session(void **state)
{
    (void)state;
    static const char *const bad[] = {"../../x", "a\\nb", "*", "{tag}", "a:b", "", "V1StGXR8_Z5jdHi6B-my",
                                      "\xc3\xa4"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char body[200];
        snprintf(body, sizeof body, PY ",\"session_id\":\"%s\"}", bad[i]);
        refused(false, body, CE_INVALID_FIELD, "session_id: ");
        struct exec_request r = {.detach = false};
        auto_json v = accepted(true, body, &r);
        assert_non_null(v);
        assert_string_equal(r.session.text, "");
        exec_request_free(&r);
    }
    refused(false, PY ",\"session_id\":5}", CE_INVALID_FIELD, "session_id: ");
}

static void test_stdin_and_choices(void **state)
{
    (void)state;
    refused(true, PY ",\"stdin\":5}", CE_INVALID_FIELD, "stdin: ");
    refused(true, PY ",\"stdin\":\"a\",\"stdin_encoding\":\"base64\"}", CE_INVALID_FIELD, "stdin: ");
    refused(true, PY ",\"stdin_encoding\":\"hex\"}", CE_INVALID_FIELD, "stdin_encoding: ");
    refused(true, PY ",\"expected_output\":5}", CE_INVALID_FIELD, "expected_output: ");
    refused(true, PY ",\"expected_output\":\"\",\"compare\":\"words\"}", CE_INVALID_FIELD, "compare: ");
    refused(true, PY ",\"priority\":\"high\"}", CE_INVALID_FIELD, "priority: ");
    refused(true, PY ",\"retry\":\"no\"}", CE_INVALID_FIELD, "retry: ");
    refused(true, PY ",\"detach\":1}", CE_INVALID_FIELD, "detach: ");
}

static void test_expected(void **state)
{
    (void)state;
    static const char *const compares[] = {"lines", "tokens", "exact"};
    for (size_t i = 0; i < 3; i++) {
        struct exec_request request;
        char body[200];
        snprintf(body, sizeof body, "%s,\"expected_output\":\"1\\n\",\"compare\":\"%s\"}", PY, compares[i]);
        auto_json canonical = accepted(true, body, &request);
        assert_string_equal(json_string_value(json_object_get(canonical, "expected_output")), "1\n");
        assert_string_equal(json_string_value(json_object_get(canonical, "compare")), compares[i]);
        exec_request_free(&request);
    }
    struct exec_request request;
    auto_json canonical = accepted(true, PY ",\"compare\":\"exact\"}", &request);
    assert_null(json_object_get(canonical, "compare"));
    exec_request_free(&request);
}

static void test_idempotency_key(void **state)
{
    (void)state;
    char key[257];
    memset(key, 'k', sizeof key);
    assert_true(idempotency_key_valid((struct str){key, 255}));
    assert_false(idempotency_key_valid((struct str){key, 256}));
    assert_false(idempotency_key_valid(STR("")));
    assert_false(idempotency_key_valid(STR("a b")));
    assert_false(idempotency_key_valid(STR("\xc3\xa4")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_all_fields),
        cmocka_unit_test(test_not_json),
        cmocka_unit_test(test_lang_and_code),
        cmocka_unit_test(test_args),
        cmocka_unit_test(test_env),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_limits_of_a_language),
        cmocka_unit_test(test_every_limit_is_strict),
        cmocka_unit_test(test_contract_timeout_is_clamped),
        cmocka_unit_test(test_session),
        cmocka_unit_test(test_stdin_and_choices),
        cmocka_unit_test(test_expected),
        cmocka_unit_test(test_idempotency_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
