/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "worker/java_names.h"

#include <string.h>

#define MAIN " { public static void main(String[] a) { } }"

static void names_are_found(void **state)
{
    static const struct {
        const char *code, *file, *main_class;
    } rows[] = {
        {"public class Other" MAIN, "Other", "Other"},
        {"class A { }\nclass B" MAIN, "B", "B"},
        {"class B" MAIN " public class C { }", "C", "B"},
        {"class A" MAIN "public class C" MAIN, "C", "C"},
        {"package x.y ; public final class P" MAIN, "P", "x.y.P"},
        {"// public class No { }\n/* class No2 */ class A { String s = \"class X {\"; char c = '{'; void main() { } }",
         "A", "A"},
        {"class A { String t = \"\"\"\n { \" class B { \"\"\"; } class B" MAIN, "B", "B"},
        {"class A { class Inner" MAIN " } class B" MAIN, "B", "B"},
        {"record Point(int x)" MAIN, "Point", "Point"},
        {"public enum E { A, B; public static void main(String... a) { } }", "E", "E"},
        {"interface I { static void main(String[] a) { } }", "I", "I"},
        {"import java.util.*;\npublic interface X { } class Y { Object o = Y.class; static public void\nmain(final String[] a) { } }",
         "X", "Y"},
        {"class \xc3\x84" MAIN, "\xc3\x84", "\xc3\x84"},
        {"", "Main", "Main"},
        {"not java at all {{{ \" '", "Main", "Main"},
        {"class", "Main", "Main"},
        {"}}} class A" MAIN, "A", "A"},
        {"package", "Main", "Main"},
        {"/* never closed", "Main", "Main"},
        {"\"ends with a backslash \\", "Main", "Main"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct java_names names;
        java_names_find(str_of(rows[i].code), &names);
        assert_string_equal(names.file_class, rows[i].file);
        assert_string_equal(names.main_class, rows[i].main_class);
    }
}

static void a_name_that_is_too_long_is_not_used(void **state)
{
    char code[400] = "public class ";
    struct java_names names;
    (void)state;
    memset(code + 13, 'A', 300);
    java_names_find(str_of(code), &names);
    assert_string_equal(names.file_class, "Main");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(a_name_that_is_too_long_is_not_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
