/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"
#include "unit.h"

#include <string.h>

#define BAD "\xef\xbf\xbd"

static void valid_table(void **state)
{
    static const struct {
        struct str s;
        bool valid;
    } rows[] = {
        {STR(""), true},
        {STR("plain ASCII, longer than one word of eight"), true},
        {STR("h\xc3\xa9llo \xe2\x82\xac \xf0\x9f\x98\x80"), true},
        {STR("a\0b"), true},
        {STR("\xc2\x80"), true},
        {STR("\xdf\xbf"), true},
        {STR("\xe0\xa0\x80"), true},
        {STR("\xed\x9f\xbf"), true},
        {STR("\xee\x80\x80"), true},
        {STR("\xf0\x90\x80\x80"), true},
        {STR("\xf4\x8f\xbf\xbf"), true},
        {STR("\x80"), false},
        {STR("\xc0\xaf"), false}, /* overlong '/' */
        {STR("\xc1\xbf"), false},
        {STR("\xe0\x9f\xbf"), false},     /* overlong */
        {STR("\xed\xa0\x80"), false},     /* surrogate */
        {STR("\xf0\x8f\xbf\xbf"), false}, /* overlong */
        {STR("\xf4\x90\x80\x80"), false}, /* above U+10FFFF */
        {STR("\xf5\x80\x80\x80"), false},
        {STR("\xff"), false},
        {STR("ok\xe2\x82"), false}, /* cut */
        {STR("12345678\xc3"), false},
        {STR("12345678\xc3(12345678"), false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(utf8_valid(rows[i].s), rows[i].valid);
}

static void complete_table(void **state)
{
    static const struct {
        struct str s;
        size_t whole;
    } rows[] = {
        {STR(""), 0},
        {STR("abc"), 3},
        {STR("ab\xc3"), 2},
        {STR("ab\xc3\xa9"), 4},
        {STR("a\xe2\x82"), 1},
        {STR("a\xf0\x9f\x98"), 1},
        {STR("a\xf0\x9f\x98\x80"), 5},
        {STR("\xf0"), 0},
        {STR("\x80\x80\x80\x80"), 4}, /* never valid: nothing to wait for */
        {STR("a\xe0\x80"), 3},        /* second byte can not follow */
        {STR("a\xff"), 2},
        {STR("a\xf0\x9f\x98\xf0"), 4}, /* the cut one is the last only */
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(utf8_complete(rows[i].s), rows[i].whole);
}

static void sanitize_table(void **state)
{
    static const struct {
        struct str s;
        const char *clean;
    } rows[] = {
        {STR("plain"), "plain"},
        {STR("a\xff"
             "b"),
         "a" BAD "b"},
        {STR("\xe2\x82"), BAD}, /* one for the cut one */
        {STR("\xe2\x82"
             "A"),
         BAD "A"},
        {STR("\xed\xa0\x80"), BAD BAD BAD}, /* as browsers do for a surrogate */
        {STR("\xf0\x9f\x98"
             "\xc3\xa9"),
         BAD "\xc3\xa9"},
        {STR("\xc0\xaf"), BAD BAD},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        auto_buf out = BUF_INIT(64);
        utf8_sanitize(&out, rows[i].s);
        assert_string_equal(buf_cstr(&out), rows[i].clean);
        assert_true(utf8_valid(buf_str(&out)));
    }
}

/* However a text is cut into chunks, each join gives whole characters, and all of them together the same
 * bytes. */
static void join_at_every_cut(void **state)
{
    static const char text[] = "x\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80y\xff\xf0\x9f z\xe2\x82\xac";
    const size_t n = sizeof text - 1;
    (void)state;
    for (size_t first = 0; first <= n; first++)
        for (size_t second = first; second <= n; second++) {
            struct utf8_carry carry = {0};
            auto_buf out = BUF_INIT(128);
            const struct str parts[] = {{.p = text, .n = first},
                                        {.p = text + first, .n = second - first},
                                        {.p = text + second, .n = n - second}};
            for (size_t i = 0; i < 3; i++) {
                utf8_join(&carry, parts[i], &out);
                assert_int_equal(utf8_complete(buf_str(&out)), out.len);
            }
            assert_int_equal(carry.n, 0);
            assert_int_equal(out.len, n);
            assert_memory_equal(out.data, text, n);
        }
}

static void join_keeps_the_cut_end(void **state)
{
    struct utf8_carry carry = {0};
    auto_buf out = BUF_INIT(64);
    (void)state;
    utf8_join(&carry, STR("ab\xf0\x9f\x98"), &out);
    assert_string_equal(buf_cstr(&out), "ab");
    assert_int_equal(carry.n, 3);
    utf8_join(&carry,
              STR("\x80"
                  "c"),
              &out);
    assert_string_equal(buf_cstr(&out), "ab\xf0\x9f\x98\x80"
                                        "c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_table),
        cmocka_unit_test(complete_table),
        cmocka_unit_test(sanitize_table),
        cmocka_unit_test(join_at_every_cut),
        cmocka_unit_test(join_keeps_the_cut_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
