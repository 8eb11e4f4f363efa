/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "unit.h"

#include <string.h>

static void memory_is_zeroed_and_aligned(void **state)
{
    auto_arena a = ARENA_INIT(1 << 20);
    (void)state;
    for (size_t size = 0; size < 300; size++) {
        char *p = arena_alloc(&a, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, size);
    }
    assert_int_equal(arena_status(&a), ERR_OK);
}

static void copies_are_separate(void **state)
{
    char text[] = "abc";
    auto_arena a = ARENA_INIT(4096);
    (void)state;
    const char *copy = arena_cstr(&a, str_of(text));
    struct str view = arena_str(&a, STR("x\0y"));
    text[0] = 'X';
    assert_string_equal(copy, "abc");
    assert_int_equal(view.n, 3);
    assert_memory_equal(view.p, "x\0y", 4);
    assert_string_equal(arena_printf(&a, "%d-%s", 7, "z"), "7-z");
}

static void overflow_is_sticky(void **state)
{
    auto_arena a = ARENA_INIT(100);
    (void)state;
    assert_non_null(arena_alloc(&a, 90));
    assert_null(arena_alloc(&a, 20));
    assert_null(arena_alloc(&a, 1));
    assert_null(arena_cstr(&a, STR("x")));
    assert_int_equal(arena_str(&a, STR("x")).n, 0);
    assert_int_equal(arena_status(&a), ERR_FULL);
    arena_free(&a);
    assert_int_equal(arena_status(&a), ERR_OK);
    assert_non_null(arena_alloc(&a, 1));
}

static void sizes_do_not_wrap(void **state)
{
    auto_arena a = ARENA_INIT(SIZE_MAX);
    (void)state;
    assert_null(arena_array(&a, SIZE_MAX / 2, 3));
    assert_int_equal(arena_status(&a), ERR_FULL);
    arena_free(&a);
    assert_null(arena_alloc(&a, SIZE_MAX - 3));
    assert_int_equal(arena_status(&a), ERR_FULL);
}

static void large_and_small_together(void **state)
{
    auto_arena a = ARENA_INIT(1 << 20);
    (void)state;
    char *small = arena_alloc(&a, 10);
    char *large = arena_alloc(&a, 100000);
    memset(small, 1, 10);
    memset(large, 2, 100000);
    char *after = arena_alloc(&a, 10);
    memset(after, 3, 10);
    assert_int_equal(small[9], 1);
    assert_int_equal(large[99999], 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_and_aligned), cmocka_unit_test(copies_are_separate),
        cmocka_unit_test(overflow_is_sticky),           cmocka_unit_test(sizes_do_not_wrap),
        cmocka_unit_test(large_and_small_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
