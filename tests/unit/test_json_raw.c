/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"
#include "json/raw.h"

#include <string.h>

static void member(const char *object, const char *name, const char *wanted)
{
    struct str got = json_raw_member(str_of(object), name);
    if (wanted == NULL)
        assert_null(got.p);
    else if (!str_eq(got, str_of(wanted)))
        fail_msg("%s of %s: " STR_FMT, name, object, STR_ARG(got));
}

static void test_members(void **state)
{
    (void)state;
    member(" {\"a\" : 1.50 , \"b\":[1, {\"a\":2}],\"c\":\"x\\\"}\"}", "a", "1.50");
    member("{\"a\":1,\"b\":[1, {\"a\":2}],\"c\":\"x\\\"}\"}", "b", "[1, {\"a\":2}]");
    member("{\"a\":1,\"b\":\"]\",\"c\":\"x\\\"}\"}", "c", "\"x\\\"}\"");
    member("{\"a\":{\"b\":5}}", "b", NULL);
    member("{\"a\":123456789012345678901234567890}", "a", "123456789012345678901234567890");
    member("{\"a\":null}", "a", "null");
    member("{\"a\":\"\\\\\"}", "a", "\"\\\\\"");
    member("{}", "a", NULL);
    member("[\"a\", 1]", "a", NULL);
    member("", "a", NULL);
    member("{\"aa\":1,\"a\":2}", "a", "2");
}

static void test_items(void **state)
{
    (void)state;
    static const char *const wanted[] = {"1", "[2, 3]", "\"],\"", "{}", "{\"a\":[1]}", "true"};
    struct str rest = STR(" [1 , [2, 3],\"],\", {},{\"a\":[1]} ,true ] "), item;
    size_t count = 0;
    while (json_raw_next(&rest, &item)) {
        assert_true(count < 6 && str_eq(item, str_of(wanted[count])));
        count++;
    }
    assert_int_equal(count, 6);
    rest = STR("[]");
    assert_false(json_raw_next(&rest, &item));
    rest = (struct str){NULL, 0};
    assert_false(json_raw_next(&rest, &item));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_members), cmocka_unit_test(test_items)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
