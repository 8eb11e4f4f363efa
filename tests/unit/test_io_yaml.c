/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "io/yaml.h"
#include "unit.h"

#include <string.h>

static void good_files(void **state)
{
    static const struct {
        const char *text, *told;
    } rows[] = {
        {"", ""},
        {"# nothing\n", ""},
        {"---\n", ""},
        {"A: 1\n", "1 A=1\n"},
        {"api:\n  port: 8000\n  host: '0.0.0.0'\nB: true\n",
         "2 api.port=8000\n3 api.host=0.0.0.0\n4 B=true\n"},
        {"A: [x, \"y z\", 3]\n", "1 A=x,y z,3\n"},
        {"A:\n- x\n- y\n", "1 A=x,y\n"},
        {"A: []\n", "1 A=\n"},
        {"A:\nB: ~\nC: null\nD: 'null'\nE: ''\n", "4 D=null\n5 E=\n"},
        {"{a: {b: {c: 1}}}", "1 a.b.c=1\n"},
        {"A: \"caf\\u00e9\"\n", "1 A=caf\xc3\xa9\n"},
        {"A: |\n  two\n  lines\n", "1 A=two\nlines\n\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        auto_arena memory = ARENA_INIT(1 << 20);
        auto_buf told = BUF_INIT(1000);
        struct errinfo info = {0};
        struct yaml_pairs pairs;
        assert_int_equal(yaml_parse(&memory, str_of(rows[i].text), &pairs, &info), ERR_OK);
        for (size_t j = 0; j < pairs.count; j++)
            buf_printf(&told, "%u %s=%s\n", pairs.items[j].line, pairs.items[j].path, pairs.items[j].value);
        assert_string_equal(buf_cstr(&told), rows[i].told);
    }
}

static void bad_files_name_the_line(void **state)
{
    static const struct {
        struct str text;
        const char *why;
    } rows[] = {
        {STR("A: 1\nA: 2\n"), "line 2: this key was given before"},
        {STR("A:\nA: 2\n"), "line 2: this key was given before"},
        {STR("a: {b: 1}\n'a': {c: 1}\n"), "line 2: this key was given before"},
        {STR("a: {b: 1, b: 2}\n"), "line 1: this key was given before"},
        {STR("<<: {b: 1}\n"), "merge keys"},
        {STR("A: &x 1\n"), "anchors"},
        {STR("A: &x {b: 1}\n"), "anchors"},
        {STR("A: &x [1]\n"), "anchors"},
        {STR("A: !!int 1\n"), "tags"},
        {STR("&x A: 1\nB: *x\n"), "anchors"},
        {STR("A: 1\nB: *x\n"), "alias"},
        {STR("- 1\n- 2\n"), "must be a mapping"},
        {STR("just text\n"), "must be a mapping"},
        {STR("A: 1\n---\nB: 2\n"), "second document"},
        {STR("a: {b: {c: {d: {e: 1}}}}\n"), "nested too deep"},
        {STR("A: [[1]]\n"), "list may hold"},
        {STR("A: [{b: 1}]\n"), "list may hold"},
        {STR("A: ['x,y']\n"), "comma"},
        {STR("a.b: 1\n"), "no dot"},
        {STR("? [x]\n: 1\n"), "key must be a text"},
        {STR("A: \"\\0\"\n"), "NUL"},
        {STR("A: [1\n"), "line "},
        {STR("A:\n\t- 1\n"), "line 2"},
        {STR("A: '\xff'\n"), "not UTF-8"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        auto_arena memory = ARENA_INIT(1 << 20);
        struct errinfo info = {0};
        struct yaml_pairs pairs;
        assert_int_equal(yaml_parse(&memory, rows[i].text, &pairs, &info), ERR_INVALID);
        if (strstr(info.text, rows[i].why) == NULL)
            fail_msg("row %zu: \"%s\" lacks \"%s\"", i, info.text, rows[i].why);
    }
}

static void deep_and_large_is_refused(void **state)
{
    (void)state;
    static char text[YAML_TEXT_MAX + 2];
    memset(text, '{', sizeof text);
    auto_arena memory = ARENA_INIT(1 << 20);
    struct yaml_pairs pairs;
    assert_int_equal(yaml_parse(&memory, (struct str){.p = text, .n = 100000}, &pairs, NULL), ERR_INVALID);
    assert_int_equal(yaml_parse(&memory, (struct str){.p = text, .n = sizeof text}, &pairs, NULL),
                     ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files),
        cmocka_unit_test(bad_files_name_the_line),
        cmocka_unit_test(deep_and_large_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
