/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "worker/compile_cache.h"

#include <string.h>

static char bytes[4096];
static const struct str nothing[COMPILE_OUTPUTS];

static struct sha256 key(unsigned n)
{
    struct sha256 k = {.bytes = {1, 2, 3}};
    memcpy(k.bytes + 8, &n, sizeof n); /* all in one bucket */
    return k;
}

static void add(struct compile_cache *c, unsigned n, size_t size)
{
    struct sha256 k = key(n);
    compile_cache_add(c, &k, (struct str){.p = bytes, .n = size}, nothing);
}

static const struct compiled *find(struct compile_cache *c, unsigned n)
{
    struct sha256 k = key(n);
    return compile_cache_find(c, &k);
}

static void everything_is_copied(void **state)
{
    (void)state;
    struct compile_cache *c = compile_cache_open(1 << 16);
    char program[] = "program", warning[] = "warning";
    const struct str told[COMPILE_OUTPUTS] = {[1] = {.p = warning, .n = 7}};
    struct sha256 k = key(1);
    compile_cache_add(c, &k, (struct str){.p = program, .n = 7}, told);
    memset(program, 'x', 7);
    memset(warning, 'x', 7);
    const struct compiled *e = find(c, 1);
    assert_non_null(e);
    assert_true(str_eq(e->program, STR("program")) && str_eq(e->told[1], STR("warning")) &&
                e->told[0].n == 0);
    assert_null(find(c, 2));
    compile_cache_free(c);
}

static void the_least_recently_used_goes_first(void **state)
{
    (void)state;
    struct compile_cache *c = compile_cache_open(5 * (1000 + sizeof(struct compiled)));
    for (unsigned n = 0; n < 5; n++)
        add(c, n, 1000);
    assert_int_equal(compile_cache_stats(c).entries, 5);
    assert_non_null(find(c, 0));
    add(c, 5, 1000);
    assert_null(find(c, 1));
    assert_non_null(find(c, 0));
    assert_int_equal(compile_cache_stats(c).evicted, 1);
    assert_true(compile_cache_stats(c).bytes <= 5 * (1000 + sizeof(struct compiled)));
    compile_cache_free(c);
}

static void what_is_too_large_is_not_kept(void **state)
{
    (void)state;
    struct compile_cache *c = compile_cache_open(4096), *none = compile_cache_open(0);
    add(c, 1, compile_cache_room(c));
    assert_int_equal(compile_cache_stats(c).entries, 0);
    add(c, 1, compile_cache_room(c) - sizeof(struct compiled));
    add(c, 1, 10); /* there already */
    assert_int_equal(compile_cache_stats(c).entries, 1);
    add(none, 1, 1);
    assert_int_equal(compile_cache_stats(none).bytes, 0);
    compile_cache_free(c);
    compile_cache_free(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_copied),
        cmocka_unit_test(the_least_recently_used_goes_first),
        cmocka_unit_test(what_is_too_large_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
