/* SPDX-License-Identifier: Apache-2.0 */
/* What is JSON for us: the cases are of the kinds of the JSON test suites (RFC 8259), plus our own refusals.
 */
#include "base/utf8.h"
#include "unit.h"
#include "json/json.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static enum err parse(struct str text, struct errinfo *info)
{
    auto_json value = NULL;
    *info = (struct errinfo){0};
    enum err e = json_parse(text, &value, info);
    if (e == ERR_OK)
        assert_non_null(value);
    else {
        assert_null(value);
        assert_true(info->text[0] != '\0');
        assert_true(utf8_valid(str_of(info->text)));
    }
    return e;
}

static const struct str accepted[] = {
    STR("[]"),
    STR("[ ]"),
    STR("{}"),
    STR("null"),
    STR("true"),
    STR("\"x\""),
    STR("1"),
    STR(" [1] \n\t\r"),
    STR("[[]   ]"),
    STR("[\"\"]"),
    STR("[\"a\"]"),
    STR("[false]"),
    STR("[null, 1, \"1\", {}]"),
    STR("[null]"),
    STR("[1\n]"),
    STR("[2] "),
    STR("[1,null,null,null,2]"),
    STR("[123e65]"),
    STR("[0e+1]"),
    STR("[0e1]"),
    STR("[ 4]"),
    STR("[-0.000000000000000000000001]"),
    STR("[20e1]"),
    STR("[-0]"),
    STR("[-123]"),
    STR("[-1]"),
    STR("[1E22]"),
    STR("[1E-2]"),
    STR("[1E+2]"),
    STR("[123e45]"),
    STR("[123.456e78]"),
    STR("[1e-2]"),
    STR("[1e+2]"),
    STR("[123]"),
    STR("[123.456789]"),
    STR("[9223372036854775807]"),
    STR("[-9223372036854775808]"),
    STR("[1e308]"),
    STR("[1e-999999]"),
    STR("{\"asd\":\"sdf\"}"),
    STR("{\"asd\":\"sdf\", \"dfg\":\"fgh\"}"),
    STR("{\"\":0}"),
    STR("{\"a\":[]}"),
    STR("{\"title\":\"\\u041f\\u043e\\u043b\"}"),
    STR("{\n\"a\": \"b\"\n}"),
    STR("{\"min\": -1.0e+28}"),
    STR("[\"\\u0060\\u012a\\u12AB\"]"),
    STR("[\"\\uD801\\udc37\"]"),
    STR("[\"\\ud83d\\ude39\\ud83d\\udc8d\"]"),
    STR("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"),
    STR("[\"\\\\u0000\"]"),
    STR("[\"\\\"\"]"),
    STR("[\"a/*b*/c/*d//e\"]"),
    STR("[\"\\u0012\"]"),
    STR("[\"\\uFFFF\"]"),
    STR("[\"asd \"]"),
    STR("[\"\xf4\x8f\xbf\xbf\"]"),
    STR("[\"new\\u00A0line\"]"),
    STR("[\"\\u0000\"]"),
    STR("[\"\x7f\"]"),
    STR("[\"\xe2\x82\xac\xf0\x9d\x84\x9e\"]"),
    STR("[\"\xe2\x80\xa8\"]"),
    STR("[\"\\uDBFF\\uDFFE\"]"),
    STR("[\"]{[,:1e999\"]"),
    STR("[\"{\\\"a\\\\\\\":\"]"),
};

static void yes(void **state)
{
    struct errinfo info;
    (void)state;
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++)
        if (parse(accepted[i], &info) != ERR_OK)
            fail_msg("%.*s: %s", (int)accepted[i].n, accepted[i].p, info.text);
}

static const struct str refused[] = {
    STR(""),
    STR(" "),
    STR("x"),
    STR("{}x"),
    STR("[][]"),
    STR("{} {}"),
    STR("[1]]"),
    STR("]"),
    STR("}"),
    STR("["),
    STR("{"),
    STR("[1"),
    STR("[1,"),
    STR("[,1]"),
    STR("[1,,2]"),
    STR("[1,]"),
    STR("[\"\",]"),
    STR("[1:2]"),
    STR("[\"x\""),
    STR("[\"x"),
    STR("[\"\\"),
    STR("\""),
    STR("[*]"),
    STR("[\"a\",\n4\n,1,"),
    STR("['a']"),
    STR("{'a':0}"),
    STR("{a:0}"),
    STR("{1:1}"),
    STR("{\"a\":0,}"),
    STR("{\"a\" 0}"),
    STR("{\"a\":}"),
    STR("{:1}"),
    STR("{\"a\"}"),
    STR("{\"a\":0}/**/"),
    STR("{\"a\":0}//"),
    STR("/* c */ 1"),
    STR("{\"a\":/*c*/0}"),
    STR("{null:null}"),
    STR("{[1]:1}"),
    STR("{\"x\"::\"b\"}"),
    STR("{\"a\":\"b\",,\"c\":\"d\"}"),
    STR("[nul]"),
    STR("[tru]"),
    STR("[True]"),
    STR("[NaN]"),
    STR("[Infinity]"),
    STR("[-Infinity]"),
    STR("[nan]"),
    STR("[0x1]"),
    STR("[0x42]"),
    STR("[01]"),
    STR("[-01]"),
    STR("[012]"),
    STR("[1.]"),
    STR("[.1]"),
    STR("[-.1]"),
    STR("[+1]"),
    STR("[++1]"),
    STR("[--1]"),
    STR("[-]"),
    STR("[1e]"),
    STR("[1e+]"),
    STR("[1.0e-]"),
    STR("[1eE2]"),
    STR("[1 000]"),
    STR("[1_000]"),
    STR("[2.e3]"),
    STR("[0.e1]"),
    STR("[1+2]"),
    STR("[-1x]"),
    STR("[0.1.2]"),
    STR("[\xef\xbc\x91]"),
    STR("[\"\\x00\"]"),
    STR("[\"\\a\"]"),
    STR("[\"\\u00A\"]"),
    STR("[\"\\u\"]"),
    STR("[\"\\u00G0\"]"),
    STR("[\"\\\xf0\x9f\x8c\x80\"]"),
    STR("[\"new\nline\"]"),
    STR("[\"\t\"]"),
    STR("[\"a\0b\"]"),
    STR("\0"),
    STR("[\0]"),
    STR("123\0"),
    STR("[\"\xff\"]"),
    STR("[\"\xc0\xaf\"]"),
    STR("[\"\xed\xa0\x80\"]"),
    STR("[\"\xe5\"]"),
    STR("[\xff]"),
    STR("\xef\xbb\xbf{}"),
    STR("\xc3\xa5"),
    /* ours: surrogates, NUL in keys, duplicates */
    STR("[\"\\ud800\"]"),
    STR("[\"\\udc00\"]"),
    STR("[\"\\udc00\\ud800\"]"),
    STR("[\"\\ud800\\u\"]"),
    STR("[\"\\ud800\\ud800\"]"),
    STR("[\"\\ud800x\"]"),
    STR("[\"\\uDADAxxxxxx\"]"),
    STR("[\"\\ud800\\n\"]"),
    STR("{\"\\ud800\":1}"),
    STR("{\"a\\u0000b\":1}"),
    STR("{\"\\u0000\" :1}"),
    STR("{\"lang\":\"py\",\"lang\":\"sh\"}"),
    STR("{\"lang\":\"py\",\"\\u006cang\":\"sh\"}"),
};

static void no(void **state)
{
    struct errinfo info;
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (parse(refused[i], &info) != ERR_INVALID)
            fail_msg("row %zu was not refused: %.*s", i, (int)refused[i].n, refused[i].p);
}

static void numbers_out_of_range_are_told_apart(void **state)
{
    static const struct str rows[] = {
        STR("9223372036854775808"),
        STR("-9223372036854775809"),
        STR("123456789012345678901234567890"),
        STR("1e400"),
        STR("-1e400"),
        STR("1e999999999"),
        STR("{\"timeout_ms\": 1e400}"),
        STR("[[1, {\"timeout_ms\": [18446744073709551616]}]]"),
    };
    struct errinfo info;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(parse(rows[i], &info), ERR_RANGE);
        assert_int_equal(strstr(info.text, "timeout_ms: ") == info.text, i >= 6);
    }
    char digits[500];
    memset(digits, '1', sizeof digits);
    digits[1] = '.';
    assert_int_equal(parse((struct str){.p = digits, .n = sizeof digits}, &info), ERR_RANGE);
}

static void numbers_of_clamped_members_become_the_nearest(void **state)
{
    static const char *const members[] = {"a", "b", NULL};
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"{\"a\": 9223372036854775808}", "{\"a\":9223372036854775807}"},
        {"{\"c\":[1],\"b\":-99999999999999999999999}", "{\"c\":[1],\"b\":-9223372036854775808}"},
        {"{\"a\":1e400,\"b\":-2.5E+0309,\"c\":7}", "{\"a\":1e308,\"b\":-1e308,\"c\":7}"},
        {"{\"a\":2e308}", "{\"a\":1e308}"},
        {"{\"a\":9223372036854775807,\"b\":-0.5}", "{\"a\":9223372036854775807,\"b\":-0.5}"},
    };
    /* another member, not of the root, nobody's member, or not of JSON's form */
    static const char *const refused_still[] = {
        "{\"c\":99999999999999999999}",
        "{\"c\":1e400}",
        "{\"a\":[99999999999999999999]}",
        "{\"c\":{\"a\":99999999999999999999}}",
        "[99999999999999999999]",
        "99999999999999999999",
        "{\"a\":099999999999999999999}",
        "{\"a\":99999999999999999999-9}",
        "{\"a\":01e400}",
        "{\"a\":-.1e400}",
        "{\"a\":1.e400}",
        "{\"a\":1e400.5}",
        "{\"a\":-099999999999999999999}",
        "{\"a\":99999999999999999999,\"a\":1}",
        "{\"a\":1,99999999999999999999}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        auto_json got = NULL;
        auto_json want = NULL;
        struct errinfo info = {0};
        assert_int_equal(json_parse(str_of(rows[i].want), &want, NULL), ERR_OK);
        if (json_parse_clamped(str_of(rows[i].text), members, &got, &info) != ERR_OK ||
            !json_equal(got, want))
            fail_msg("%s: %s", rows[i].text, info.text);
    }
    for (size_t i = 0; i < sizeof refused_still / sizeof refused_still[0]; i++) {
        json_t *value = NULL;
        if (json_parse_clamped(str_of(refused_still[i]), members, &value, NULL) == ERR_OK)
            fail_msg("%s was not refused", refused_still[i]);
        assert_null(value);
    }
}

static void *parse_deep(void *arg)
{
    struct str *text = arg;
    json_t *value = NULL;
    enum err e = json_parse(*text, &value, NULL);
    return (void *)(uintptr_t)(e == ERR_OK ? 1 : 2);
}

/* Small as the stack of a thread may be, a deep text does not overflow it. */
static void deep_on_a_small_stack(void **state)
{
    char *text = malloc(1000000);
    (void)state;
    assert_non_null(text);
    memset(text, '[', 1000000);
    struct str view = {.p = text, .n = 1000000};
    pthread_attr_t attr;
    pthread_t thread;
    void *result;
    pthread_attr_init(&attr);
    assert_int_equal(pthread_attr_setstacksize(&attr, 64 << 10), 0);
    assert_int_equal(pthread_create(&thread, &attr, parse_deep, &view), 0);
    pthread_join(thread, &result);
    pthread_attr_destroy(&attr);
    free(text);
    assert_int_equal((uintptr_t)result, 2);
}

static void depth_at_its_bound(void **state)
{
    char text[2 * JSON_MAX_DEPTH + 2];
    struct errinfo info;
    (void)state;
    memset(text, '[', JSON_MAX_DEPTH);
    memset(text + JSON_MAX_DEPTH, ']', JSON_MAX_DEPTH);
    assert_int_equal(parse((struct str){.p = text, .n = 2 * JSON_MAX_DEPTH}, &info), ERR_OK);
    memset(text, '[', JSON_MAX_DEPTH + 1);
    memset(text + JSON_MAX_DEPTH + 1, ']', JSON_MAX_DEPTH + 1);
    assert_int_equal(parse((struct str){.p = text, .n = sizeof text}, &info), ERR_INVALID);
    assert_non_null(strstr(info.text, "too deep"));
}

/* 64 MiB of "[]," would be gigabytes in memory. */
static void values_are_bounded(void **state)
{
    auto_buf text = BUF_INIT(4 << 20);
    struct errinfo info;
    (void)state;
    buf_append_char(&text, '[');
    for (int i = 0; i < 100000; i++)
        buf_append_cstr(&text, "1,");
    buf_append_cstr(&text, "1]");
    assert_int_equal(parse(buf_str(&text), &info), ERR_OK);
    text.len--;
    for (int i = 0; i < 100000; i++)
        buf_append_cstr(&text, ",[]");
    buf_append_cstr(&text, "]");
    assert_int_equal(parse(buf_str(&text), &info), ERR_INVALID);
    assert_non_null(strstr(info.text, "too many values"));
}

static void written_text_reads_the_same(void **state)
{
    static const struct str rows[] = {
        STR("{\"a\":[1,-2,true,null,\"x\\u0000y\\n\\\"\\\\\"],\"b\":{\"c\":1.5}}"), STR("\"\xe2\x82\xac\""),
        STR("[]")};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        auto_json value = NULL;
        auto_json again = NULL;
        auto_buf out = BUF_INIT(1000);
        assert_int_equal(json_parse(rows[i], &value, NULL), ERR_OK);
        assert_int_equal(json_write(value, &out), ERR_OK);
        assert_int_equal(json_parse(buf_str(&out), &again, NULL), ERR_OK);
        assert_true(json_equal(value, again));
    }
    auto_json value = NULL;
    auto_buf small = BUF_INIT(3);
    assert_int_equal(json_parse(STR("[1,2,3]"), &value, NULL), ERR_OK);
    assert_int_equal(json_write(value, &small), ERR_FULL);
}

static void strings_escape_and_return(void **state)
{
    char all[128];
    (void)state;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (char)i;
    auto_buf out = BUF_INIT(2000);
    json_write_string(&out, (struct str){.p = all, .n = sizeof all});
    auto_json value = NULL;
    assert_int_equal(json_parse(buf_str(&out), &value, NULL), ERR_OK);
    assert_int_equal(json_string_length(value), sizeof all);
    assert_memory_equal(json_string_value(value), all, sizeof all);
    buf_reset(&out);
    json_write_string(&out, (struct str){0});
    assert_string_equal(buf_cstr(&out), "\"\"");
    buf_reset(&out);
    json_write_string(&out, STR("a\"b\\c\n\x01\xc3\xa9"));
    assert_string_equal(buf_cstr(&out), "\"a\\\"b\\\\c\\n\\u0001\xc3\xa9\"");
}

/* ---- the n-th allocation of jansson fails ---- */

static unsigned allocations_left;

static void *failing_malloc(size_t size)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    return malloc(size);
}

static void every_allocation_may_fail(void **state)
{
    static const struct str text =
        STR("{\"code\":\"print(1)\",\"args\":[\"a\",1,2.5,{\"b\":[null]}],\"env\":{\"X\":\"y\"}}");
    (void)state;
    json_set_alloc_funcs(failing_malloc, free);
    unsigned n = 0;
    for (;; n++) {
        auto_json value = NULL;
        struct errinfo info = {0};
        allocations_left = n;
        enum err e = json_parse(text, &value, &info);
        if (e == ERR_OK)
            break;
        assert_int_equal(e == ERR_NOMEM || e == ERR_INVALID, 1); /* jansson reports some as a syntax error */
        assert_null(value);
    }
    json_set_alloc_funcs(malloc, free);
    assert_true(n > 10);
}

int main(void)
{
    json_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yes),
        cmocka_unit_test(no),
        cmocka_unit_test(numbers_out_of_range_are_told_apart),
        cmocka_unit_test(numbers_of_clamped_members_become_the_nearest),
        cmocka_unit_test(depth_at_its_bound),
        cmocka_unit_test(values_are_bounded),
        cmocka_unit_test(deep_on_a_small_stack),
        cmocka_unit_test(written_text_reads_the_same),
        cmocka_unit_test(strings_escape_and_return),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
