/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

/* ---- realloc that fails at the n-th call (linked with --wrap=realloc) ---- */

static int reallocs_left = -1; /* -1: never fails */
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size)
{
    if (reallocs_left == 0)
        return NULL;
    if (reallocs_left > 0)
        reallocs_left--;
    return __real_realloc(p, size);
}

static void empty(void **state)
{
    auto_buf b = BUF_INIT(10);
    (void)state;
    assert_string_equal(buf_cstr(&b), "");
    assert_int_equal(buf_str(&b).n, 0);
    assert_int_equal(buf_status(&b), ERR_OK);
    buf_reset(&b);
    buf_consume(&b, 5);
    buf_append(&b, NULL, 0);
    buf_append_str(&b, (struct str){0});
    assert_int_equal(b.len, 0);
    assert_int_equal(buf_status(&b), ERR_OK);
}

static void appends_in_every_way(void **state)
{
    auto_buf b = BUF_INIT(100);
    (void)state;
    buf_append(&b, "a\0b", 3);
    buf_append_cstr(&b, "c");
    buf_append_str(&b, STR("de"));
    buf_append_char(&b, 'f');
    buf_printf(&b, "%d-%s", 42, "g");
    assert_int_equal(b.len, 11);
    assert_memory_equal(b.data, "a\0bcdef42-g", 12); /* and the NUL behind it */
}

static void grows_to_exactly_its_maximum(void **state)
{
    (void)state;
    for (size_t max = 0; max < 200; max++) {
        auto_buf b = BUF_INIT(max);
        for (size_t i = 0; i < max; i++)
            buf_append_char(&b, 'x');
        assert_int_equal(buf_status(&b), ERR_OK);
        assert_int_equal(b.len, max);
        buf_append_char(&b, 'y');
        assert_int_equal(buf_status(&b), ERR_FULL);
        assert_int_equal(b.len, max);
    }
}

static void failure_is_sticky_until_reset(void **state)
{
    auto_buf b = BUF_INIT(5);
    (void)state;
    buf_append_cstr(&b, "abc");
    buf_append_cstr(&b, "def"); /* all or nothing */
    buf_append_char(&b, 'g');
    buf_printf(&b, "h");
    assert_null(buf_reserve(&b, 0));
    assert_int_equal(b.len, 3);
    assert_string_equal(buf_cstr(&b), "");
    assert_int_equal(buf_status(&b), ERR_FULL);
    buf_reset(&b);
    buf_append_cstr(&b, "hello");
    assert_string_equal(buf_cstr(&b), "hello");
}

static void sizes_do_not_wrap(void **state)
{
    auto_buf b = BUF_INIT(100);
    (void)state;
    buf_append_char(&b, 'x');
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_int_equal(buf_status(&b), ERR_FULL);
}

static void reserve_then_commit(void **state)
{
    auto_buf b = BUF_INIT(64);
    (void)state;
    char *room = buf_reserve(&b, 10);
    assert_non_null(room);
    memcpy(room, "0123456789", 10);
    b.len += 4;
    assert_int_equal(buf_str(&b).n, 4);
    buf_append_cstr(&b, "x");
    assert_memory_equal(b.data, "0123x", 6);
}

static void consume_from_the_front(void **state)
{
    auto_buf b = BUF_INIT(64);
    (void)state;
    buf_append_cstr(&b, "abcdef");
    buf_consume(&b, 2);
    assert_string_equal(buf_cstr(&b), "cdef");
    buf_consume(&b, 0);
    assert_string_equal(buf_cstr(&b), "cdef");
    buf_consume(&b, 99);
    assert_string_equal(buf_cstr(&b), "");
    buf_append_cstr(&b, "again");
    assert_string_equal(buf_cstr(&b), "again");
}

static void printf_longer_than_there_is_room(void **state)
{
    auto_buf b = BUF_INIT(5000);
    (void)state;
    buf_printf(&b, "%4000d", 1);
    assert_int_equal(b.len, 4000);
    buf_printf(&b, "%2000d", 1);
    assert_int_equal(buf_status(&b), ERR_FULL);
    assert_int_equal(b.len, 4000);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (int n = 0; n < 8; n++) {
        auto_buf b = BUF_INIT(1 << 20);
        size_t before = 0;
        reallocs_left = n;
        for (int i = 0; i < 10000 && buf_status(&b) == ERR_OK; i++) {
            before = b.len;
            buf_append_cstr(&b, "0123456789");
        }
        reallocs_left = -1;
        assert_int_equal(buf_status(&b), ERR_NOMEM);
        assert_int_equal(b.len, before); /* what was there stays */
        if (b.len > 0)
            assert_int_equal(strlen(b.data), b.len);
        buf_reset(&b);
        buf_append_cstr(&b, "works again");
        assert_string_equal(buf_cstr(&b), "works again");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty),
        cmocka_unit_test(appends_in_every_way),
        cmocka_unit_test(grows_to_exactly_its_maximum),
        cmocka_unit_test(failure_is_sticky_until_reset),
        cmocka_unit_test(sizes_do_not_wrap),
        cmocka_unit_test(reserve_then_commit),
        cmocka_unit_test(consume_from_the_front),
        cmocka_unit_test(printf_longer_than_there_is_room),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
