/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cidr.h"
#include "unit.h"

static bool in(const char *network, const char *address)
{
    struct cidr parsed;
    assert_int_equal(cidr_parse(str_of(network), &parsed), ERR_OK);
    return cidr_contains(&parsed, str_of(address));
}

static void test_contains(void **state)
{
    (void)state;
    assert_true(in("10.0.0.0/8", "10.255.0.1"));
    assert_false(in("10.0.0.0/8", "11.0.0.1"));
    assert_true(in("192.168.4.0/22", "192.168.7.255"));
    assert_false(in("192.168.4.0/22", "192.168.8.0"));
    assert_true(in("127.0.0.1", "127.0.0.1"));
    assert_false(in("127.0.0.1", "127.0.0.2"));
    assert_true(in("0.0.0.0/0", "8.8.8.8"));
    assert_false(in("0.0.0.0/0", "2001:db8::1"));
    assert_true(in("::/0", "8.8.8.8"));
    assert_true(in("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert_true(in("fd00::/8", "fd12:3456::1"));
    assert_false(in("fd00::/8", "fe80::1"));
    assert_true(in("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(in("2001:db8::/33", "2001:db8:8000::1"));
}

static void test_not_an_address(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "10.0.0", "10.0.0.1x", "localhost", "10.0.0.1, 10.0.0.2", "[::1]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(in("::/0", bad[i]));
    struct cidr all;
    assert_int_equal(cidr_parse(STR("::/0"), &all), ERR_OK);
    assert_false(cidr_contains(&all, (struct str){"1.2.3.4\0", 8}));
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",          "10.0.0.0/33",  "10.0.0.0/",   "10.0.0.1/8",  "/8",         "::/129",
        "fd00::1/8", "10.0.0.0/8/8", "10.0.0.0/ 8", "10.0.0.0/-1", "example.org"};
    struct cidr network = {.bits = 7};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(cidr_parse(str_of(bad[i]), &network), ERR_INVALID);
    assert_int_equal(network.bits, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contains),
        cmocka_unit_test(test_not_an_address),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
