/* SPDX-License-Identifier: Apache-2.0 */
#include "api/router.h"
#include "unit.h"

#include <string.h>

static void expect(const char *method, const char *path, int handler, const char *param,
                   const char *allow_want)
{
    struct str got = {NULL, 0};
    auto_buf allow = BUF_INIT(256);
    const struct route *route = route_find(str_of(method), str_of(path), &got, &allow);
    if (handler < 0) {
        assert_null(route);
        assert_string_equal(buf_cstr(&allow), allow_want);
        return;
    }
    assert_non_null(route);
    assert_int_equal(route->handler, handler);
    assert_true(str_eq(got, str_of(param)));
}

static void test_routes(void **state)
{
    (void)state;
    expect("POST", "/exec", HANDLER_exec, NULL, NULL);
    expect("POST", "/v1/exec", HANDLER_exec, NULL, NULL);
    expect("GET", "/v1/jobs", HANDLER_job_list, NULL, NULL);
    expect("GET", "/v1/jobs/abc", HANDLER_job_get, "abc", NULL);
    expect("HEAD", "/v1/jobs/abc", HANDLER_job_get, "abc", NULL);
    expect("DELETE", "/v1/jobs/abc", HANDLER_job_cancel, "abc", NULL);
    expect("GET", "/v1/jobs/abc/events", HANDLER_job_events, "abc", NULL);
    expect("GET", "/v1/jobs/abc/stream", HANDLER_job_stream, "abc", NULL);
    expect("GET", "/health", HANDLER_health, NULL, NULL);
}

static void test_methods(void **state)
{
    (void)state;
    expect("GET", "/exec", -1, NULL, "POST");
    expect("PUT", "/v1/jobs", -1, NULL, "POST, GET, HEAD");
    expect("POST", "/v1/jobs/abc", -1, NULL, "GET, HEAD, DELETE");
    expect("post", "/exec", -1, NULL, "POST");
    expect("HEAD", "/exec", -1, NULL, "POST");
}

static void test_unknown(void **state)
{
    (void)state;
    static const char *const paths[] = {"/",
                                        "",
                                        "/exec/",
                                        "/execute",
                                        "/EXEC",
                                        "/exec;x",
                                        "/v1",
                                        "/v1/jobs/",
                                        "/v1/jobs//x",
                                        "/v1/jobs/a/b",
                                        "/v1/jobs/a/events/",
                                        "/HEALTH",
                                        "/healthX"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        expect("GET", paths[i], -1, NULL, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_routes), cmocka_unit_test(test_methods),
                                       cmocka_unit_test(test_unknown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
