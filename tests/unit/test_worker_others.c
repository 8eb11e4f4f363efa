/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/others.h"

#include "unit.h"

#define OFFER(why, pools)        "{\"py\":{},\"kubernetes\":{\"why\":\"" why "\",\"pools\":{" pools "}}}"
#define POOL(kind, why, missing) "\"" kind "\":{\"why\":\"" why "\",\"missing\":\"" missing "\"}"
#define GOOD(kind)               POOL(kind, "", "")

static void what_another_worker_has_pods_of(void **state)
{
    static const struct pool_stats stats[] = {{.kind = "py"}, {.kind = "js"}, {.kind = "bash"}};
    static const struct {
        const char *mine, *other;
        uint32_t can;
    } cases[] = {
        {OFFER("", GOOD("py") "," GOOD("js")), OFFER("", POOL("py", "no image", "")), 0},
        {OFFER("", POOL("py", "no image", "")), OFFER("", GOOD("py")), 1},
        {"{}", OFFER("", POOL("py", "no image", "") "," GOOD("js") "," GOOD("bash")), 6},
        {"{}", OFFER("", POOL("py", "", "a pool") "," GOOD("js")), 2},
        {"{}", OFFER("exceeded quota", GOOD("py")), 0},
        {"{}", "{\"py\":{}}", 0},
        {"{}", "not JSON", 0},
        {"{}", "{\"kubernetes\":{\"why\":3,\"pools\":[]}}", 0},
        {"{}", "{\"kubernetes\":{\"why\":\"\",\"pools\":{\"py\":7}}}", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct queue_offered list[] = {{STR("me"), str_of(cases[i].mine)},
                                             {STR("other"), str_of(cases[i].other)}};
        assert_int_equal(others_can(list, 2, STR("me"), stats, 3), cases[i].can);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_another_worker_has_pods_of)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
