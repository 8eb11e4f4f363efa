/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "base/utf8.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

static void every_code_has_a_text(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ERR_COUNT; i++)
        assert_true(err_text((enum err)i)[0] != '\0');
    assert_string_equal(err_text((enum err)999), "unknown error");
}

static void set_and_wrap(void **state)
{
    struct errinfo info = {0};
    (void)state;
    assert_int_equal(errinfo_set(&info, ERR_IO, ENOENT, "cannot open %s", "x"), ERR_IO);
    assert_int_equal(info.sys, ENOENT);
    assert_string_equal(info.text, "cannot open x: No such file or directory");
    assert_int_equal(errinfo_wrap(&info, "loading %d", 7), ERR_IO);
    assert_string_equal(info.text, "loading 7: cannot open x: No such file or directory");
    assert_int_equal(errinfo_set(NULL, ERR_FULL, 0, "x"), ERR_FULL);
    assert_int_equal(errinfo_wrap(NULL, "x"), ERR_SYSTEM);
}

static void long_texts_are_cut(void **state)
{
    struct errinfo info = {0};
    char text[600];
    (void)state;
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    errinfo_set(&info, ERR_IO, ENOENT, "%s", text);
    assert_int_equal(strlen(info.text), sizeof info.text - 1);
    for (int i = 0; i < 100; i++)
        (void)errinfo_wrap(&info, "again and again");
    assert_true(strlen(info.text) < sizeof info.text);
}

/* Cut in the middle of a character, or quoting what a client sent: it stays UTF-8. */
static void texts_are_utf8(void **state)
{
    struct errinfo info = {0};
    (void)state;
    for (int pad = 0; pad < 4; pad++) {
        char text[600] = "";
        memset(text, 'a', 249 + (size_t)pad);
        for (int i = 0; i < 10; i++)
            memcpy(text + 249 + pad + 4 * i, "\xf0\x9f\x98\x80", 4);
        errinfo_set(&info, ERR_INVALID, 0, "%s", text);
        assert_true(utf8_valid(str_of(info.text)));
    }
    errinfo_set(&info, ERR_INVALID, 0, "bad \xff\xc3 bytes");
    assert_string_equal(info.text, "bad ?? bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_text),
        cmocka_unit_test(set_and_wrap),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(texts_are_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
