/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/histogram.h"
#include "unit.h"

#include <stdlib.h>

static void test_is_exact_for_small_values(void **state)
{
    (void)state;
    struct histogram *h = calloc(1, sizeof *h);
    for (uint64_t ns = 1; ns <= 100; ns++)
        histogram_add(h, ns);
    assert_int_equal(histogram_quantile(h, 0.5), 50);
    assert_int_equal(histogram_quantile(h, 0.99), 99);
    assert_int_equal(histogram_quantile(h, 1), 100);
    free(h);
}

static void test_is_within_one_percent_and_never_below(void **state)
{
    (void)state;
    for (uint64_t ns = 1; ns < (uint64_t)1 << 40; ns = ns * 5 / 3 + 1) {
        struct histogram *h = calloc(1, sizeof *h);
        histogram_add(h, ns);
        histogram_add(h, ns * 4);
        uint64_t half = histogram_quantile(h, 0.5);
        assert_in_range(half, ns, ns + ns / 100);
        assert_int_equal(h->most_ns, ns * 4);
        free(h);
    }
}

static void test_keeps_what_is_too_large_and_says_nothing_when_empty(void **state)
{
    (void)state;
    struct histogram *h = calloc(1, sizeof *h);
    assert_int_equal(histogram_quantile(h, 0.99), 0);
    assert_true(histogram_mean(h) == 0);
    histogram_add(h, UINT64_MAX);
    assert_int_equal(h->count, 1);
    assert_true(histogram_quantile(h, 0.5) > (uint64_t)1 << 40);
    free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_exact_for_small_values),
        cmocka_unit_test(test_is_within_one_percent_and_never_below),
        cmocka_unit_test(test_keeps_what_is_too_large_and_says_nothing_when_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
