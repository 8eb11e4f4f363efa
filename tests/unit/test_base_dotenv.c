/* SPDX-License-Identifier: Apache-2.0 */
#include "base/dotenv.h"
#include "unit.h"

#include <string.h>

static void collect(void *arg, unsigned line, struct str name, struct str value)
{
    buf_printf(arg, "%u:" STR_FMT "=<" STR_FMT ">\n", line, STR_ARG(name), STR_ARG(value));
}

static void good_files(void **state)
{
    static const struct {
        const char *text, *told;
    } rows[] = {
        {"", ""},
        {"\n \n# comment\n  # another\n", ""},
        {"A=1", "1:A=<1>\n"},
        {"A=1\r\nB=2\r\n", "1:A=<1>\n2:B=<2>\n"},
        {"\xef\xbb\xbf"
         "A=1\n",
         "1:A=<1>\n"},
        {"export A = some words  # comment\n", "1:A=<some words>\n"},
        {"A=", "1:A=<>\n"},
        {"A=#not a value", "1:A=<>\n"},
        {"A=b#c", "1:A=<b#c>\n"},
        {"A=b=c==", "1:A=<b=c==>\n"},
        {"A='lit $X \\n # \"' # c", "1:A=<lit $X \\n # \">\n"},
        {"A=\"a\\tb\\\\ \\\"q\\\" \\$ $X #\"", "1:A=<a\tb\\ \"q\" $ $X #>\n"},
        {"_a1=${B}", "1:_a1=<${B}>\n"},
        {"A=h\xc3\xa9", "1:A=<h\xc3\xa9>\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        auto_buf told = BUF_INIT(1000);
        struct errinfo info = {0};
        assert_int_equal(dotenv_parse(str_of(rows[i].text), collect, &told, &info), ERR_OK);
        assert_string_equal(buf_cstr(&told), rows[i].told);
    }
}

static void bad_files_name_the_line(void **state)
{
    static const struct {
        struct str text;
        const char *why;
    } rows[] = {
        {STR("A=1\nB"), "line 2: no '='"},
        {STR("=1"), "line 1: the name"},
        {STR("1A=1"), "line 1: the name"},
        {STR("A-B=1"), "line 1: the name"},
        {STR("A='x"), "line 1: the quote is not closed"},
        {STR("A=\"x\nB=2\""), "line 1: the quote is not closed"},
        {STR("A=\"x\\"), "line 1: unknown escape"},
        {STR("A=\"x\\q\""), "line 1: unknown escape"},
        {STR("A='x' y"), "line 1: there is text behind"},
        {STR("A=1\n#\nexport A=2"), "line 3: this name was given before"},
        {STR("A=\xff"), "not UTF-8"},
        {STR("A=a\0b"), "NUL"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        auto_buf told = BUF_INIT(1000);
        struct errinfo info = {0};
        assert_int_equal(dotenv_parse(rows[i].text, collect, &told, &info), ERR_INVALID);
        assert_non_null(strstr(info.text, rows[i].why));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files),
        cmocka_unit_test(bad_files_name_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
