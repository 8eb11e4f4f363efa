/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "unit.h"

#include <string.h>

static void views_compare(void **state)
{
    (void)state;
    assert_true(str_eq(STR(""), (struct str){0}));
    assert_true(str_eq(STR("a\0b"), STR("a\0b")));
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));
    assert_false(str_eq(STR("a"), STR("ab")));
    assert_true(str_eq_nocase(STR("PyThOn"), STR("python")));
    assert_false(str_eq_nocase(STR("\xc3\x89"), STR("\xc3\xa9")));
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_true(str_starts(STR("abc"), STR("")));
    assert_false(str_starts(STR("ab"), STR("abc")));
    assert_int_equal(str_of(NULL).n, 0);
    assert_int_equal(str_of("abc").n, 3);
}

static void trims(void **state)
{
    (void)state;
    assert_true(str_eq(str_trim(STR(" \t a b \t")), STR("a b")));
    assert_int_equal(str_trim(STR("  \t")).n, 0);
    assert_int_equal(str_trim((struct str){0}).n, 0);
    assert_true(str_eq(str_trim(STR("\na")), STR("\na"))); /* blanks only */
}

static void splits(void **state)
{
    static const struct {
        const char *text;
        size_t count;
        const char *parts[4];
    } rows[] = {
        {"", 1, {""}},
        {"a", 1, {"a"}},
        {"a,b", 2, {"a", "b"}},
        {",", 2, {"", ""}},
        {"a,,b", 3, {"a", "", "b"}},
        {"a,", 2, {"a", ""}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t count = 0;
        for (struct str rest = str_of(rows[i].text); rest.p != NULL; count++) {
            assert_true(count < rows[i].count);
            assert_true(str_eq(str_split(&rest, ','), str_of(rows[i].parts[count])));
        }
        assert_int_equal(count, rows[i].count);
    }
}

static void signed_integers(void **state)
{
    static const struct {
        const char *text;
        enum err e;
        int64_t value;
    } rows[] = {
        {"0", ERR_OK, 0},
        {"-0", ERR_OK, 0},
        {"42", ERR_OK, 42},
        {"-42", ERR_OK, -42},
        {"007", ERR_OK, 7},
        {"9223372036854775807", ERR_OK, INT64_MAX},
        {"-9223372036854775808", ERR_OK, INT64_MIN},
        {"9223372036854775808", ERR_RANGE, 0},
        {"-9223372036854775809", ERR_RANGE, 0},
        {"99999999999999999999999", ERR_RANGE, 0},
        {"", ERR_INVALID, 0},
        {"-", ERR_INVALID, 0},
        {"+1", ERR_INVALID, 0},
        {" 1", ERR_INVALID, 0},
        {"1 ", ERR_INVALID, 0},
        {"1.0", ERR_INVALID, 0},
        {"0x1", ERR_INVALID, 0},
        {"--1", ERR_INVALID, 0},
        {"1e3", ERR_INVALID, 0},
        {"\xd9\xa1", ERR_INVALID, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t value = 77;
        assert_int_equal(str_to_i64(str_of(rows[i].text), &value), rows[i].e);
        assert_int_equal(value, rows[i].e == ERR_OK ? rows[i].value : 77);
    }
}

static void unsigned_integers(void **state)
{
    uint64_t value = 77;
    (void)state;
    assert_int_equal(str_to_u64(STR("18446744073709551615"), &value), ERR_OK);
    assert_true(value == UINT64_MAX);
    assert_int_equal(str_to_u64(STR("18446744073709551616"), &value), ERR_RANGE);
    assert_int_equal(str_to_u64(STR("-1"), &value), ERR_INVALID);
    assert_int_equal(str_to_u64(STR("1\0"), &value), ERR_INVALID);
    assert_true(value == UINT64_MAX);
}

static void distances(void **state)
{
    (void)state;
    assert_int_equal(str_distance(STR(""), STR("")), 0);
    assert_int_equal(str_distance(STR("abc"), STR("abc")), 0);
    assert_int_equal(str_distance(STR("abc"), STR("")), 3);
    assert_int_equal(str_distance(STR("kitten"), STR("sitting")), 3);
    assert_int_equal(str_distance(STR("API_PROT"), STR("API_PORT")), 2);
    char longest[65];
    memset(longest, 'a', sizeof longest);
    assert_int_equal(str_distance((struct str){.p = longest, .n = 64}, STR("a")), 63);
    assert_true(str_distance((struct str){.p = longest, .n = 65}, STR("a")) > 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_compare),
        cmocka_unit_test(trims),
        cmocka_unit_test(splits),
        cmocka_unit_test(signed_integers),
        cmocka_unit_test(unsigned_integers),
        cmocka_unit_test(distances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
