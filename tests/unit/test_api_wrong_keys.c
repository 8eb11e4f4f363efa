/* SPDX-License-Identifier: Apache-2.0 */
#include "api/wrong_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)
static struct wrong_keys keys;

static int setup(void **state)
{
    (void)state;
    keys = (struct wrong_keys){.at = {{{0}}}};
    return 0;
}

static void what_is_over_the_bound_waits_for_the_next_window(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(wrong_keys_count(&keys, STR("10.0.0.1"), 5, SECOND), 0);
    assert_int_equal(wrong_keys_count(&keys, STR("10.0.0.1"), 5, 11 * SECOND), 50000);
    assert_int_equal(wrong_keys_count(&keys, STR("10.0.0.2"), 5, 11 * SECOND), 0);
    assert_int_equal(wrong_keys_count(&keys, STR("10.0.0.1"), 5, 61 * SECOND), 0);
}

static void a_network_of_ipv6_is_one_client(void **state)
{
    (void)state;
    assert_int_equal(wrong_keys_count(&keys, STR("2001:db8::1"), 1, SECOND), 0);
    assert_true(wrong_keys_count(&keys, STR("2001:db8::ffff:2"), 1, SECOND) > 0);
    assert_int_equal(wrong_keys_count(&keys, STR("2001:db8:0:1::1"), 1, SECOND), 0);
    assert_int_equal(wrong_keys_count(&keys, STR("::ffff:10.0.0.1"), 1, SECOND), 0);
    assert_int_equal(wrong_keys_count(&keys, STR("::ffff:10.0.0.2"), 1, SECOND), 0);
}

static void many_addresses_have_a_bounded_table(void **state)
{
    (void)state;
    char peer[32];
    for (int i = 0; i < 100000; i++) {
        int n = snprintf(peer, sizeof peer, "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        assert_int_equal(wrong_keys_count(&keys, (struct str){peer, (size_t)n}, 1, SECOND + i), 0);
    }
    /* The last one is still known. */
    assert_true(wrong_keys_count(&keys, str_of(peer), 1, 2 * SECOND) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_is_over_the_bound_waits_for_the_next_window, setup),
        cmocka_unit_test_setup(a_network_of_ipv6_is_one_client, setup),
        cmocka_unit_test_setup(many_addresses_have_a_bounded_table, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
