/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "worker/request.h"

#include <string.h>

static void a_full_request(void **state)
{
    (void)state;
    struct run_request r;
    struct errinfo info = {0};
    assert_int_equal(
        run_request_parse(
            STR("{\"lang\":\"py\",\"code\":\"print(1)\",\"args\":[\"a\",\"b\"],\"stdin\":\"aGk=\","
                "\"stdin_encoding\":\"base64\",\"env\":{\"A\":\"b\"},\"limits\":{\"wall_ms\":5},"
                "\"stdin_open\":true,\"retry\":false,\"at_end\":true}"),
            &r, &info),
        ERR_OK);
    assert_true(str_eq(r.lang, STR("py")));
    assert_true(str_eq(r.code, STR("print(1)")));
    assert_int_equal(json_array_size(r.args), 2);
    assert_true(str_eq(buf_str(&r.stdin_bytes), STR("hi")));
    assert_int_equal(json_object_size(r.env), 1);
    assert_int_equal(r.limits.wall_ms, 5);
    assert_int_equal(r.limits.pids, 512);
    assert_true(r.stdin_open);
    assert_false(r.retry);
    assert_true(r.at_end);
    run_request_free(&r);
    run_request_free(&r);
}

static void what_is_absent_has_a_default(void **state)
{
    (void)state;
    struct run_request r;
    assert_int_equal(
        run_request_parse(STR("{\"lang\":\"py\",\"code\":\"x\\u0000\",\"stdin\":null}"), &r, NULL), ERR_OK);
    assert_int_equal(r.code.n, 2);
    assert_null(r.args);
    assert_null(r.env);
    assert_false(r.stdin_open);
    assert_false(r.at_end);
    assert_true(r.retry);
    assert_int_equal(r.limits.wall_ms, 30000);
    run_request_free(&r);
}

static void bad_ones_are_named(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"[]", "request"},
        {"{", ""},
        {"{\"code\":\"x\"}", "lang"},
        {"{\"lang\":1}", "lang"},
        {"{\"lang\":\"py\",\"args\":\"x\"}", "args"},
        {"{\"lang\":\"py\",\"args\":[1]}", "args"},
        {"{\"lang\":\"py\",\"args\":[\"\\u0000\"]}", "args"},
        {"{\"lang\":\"py\",\"env\":{\"A=\":\"x\"}}", "env"},
        {"{\"lang\":\"py\",\"env\":{\"A\":1}}", "env"},
        {"{\"lang\":\"py\",\"limits\":{\"pids\":0}}", "limits.pids"},
        {"{\"lang\":\"py\",\"limits\":{\"pids\":-1}}", "limits.pids"},
        {"{\"lang\":\"py\",\"limits\":{\"pids\":1.5}}", "limits.pids"},
        {"{\"lang\":\"py\",\"stdin\":\"!\",\"stdin_encoding\":\"base64\"}", "stdin"},
        {"{\"lang\":\"py\",\"stdin_encoding\":\"rot13\"}", "stdin_encoding"},
        {"{\"lang\":\"py\",\"retry\":1}", "retry"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct run_request r = {0};
        struct errinfo info = {0};
        assert_int_equal(run_request_parse(str_of(rows[i][0]), &r, &info), ERR_INVALID);
        if (strncmp(info.text, rows[i][1], strlen(rows[i][1])) != 0)
            fail_msg("%s: %s", rows[i][0], info.text);
        assert_null(r.root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_request),
        cmocka_unit_test(what_is_absent_has_a_default),
        cmocka_unit_test(bad_ones_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
