/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/languages.h"
#include "schema/metrics.h"
#include "schema/reasons.h"

#include "unit.h"

#include <string.h>

static const char *const routes[] = {"/exec", "/health", NULL};

struct ground {
    struct metrics *m;
    struct buf text;
};

static int enter(void **state)
{
    static struct ground g;
    g = (struct ground){.text = BUF_INIT(1 << 20)};
    *state = &g;
    return metrics_open(METRICS_API | METRICS_WORKER, routes, &g.m) == ERR_OK ? 0 : -1;
}

static int leave(void **state)
{
    struct ground *g = *state;
    metrics_close(g->m);
    buf_free(&g->text);
    return 0;
}

static void expect_line(struct ground *g, const char *line)
{
    buf_reset(&g->text);
    metrics_write(g->m, &g->text);
    if (strstr(buf_cstr(&g->text), line) == NULL)
        fail_msg("no line \"%s\" in:\n%s", line, buf_cstr(&g->text));
}

static void counters_and_labels(void **state)
{
    struct ground *g = *state;
    metrics_add(g->m, METRIC_JOBS_SUBMITTED, LANG_PY, 2, 3);
    metrics_add(g->m, METRIC_JOBS_SUBMITTED, LANG_PY, 2, 1);
    metrics_add(g->m, METRIC_HTTP_RESPONSES, 1, METRIC_4XX, 1);
    metrics_add(g->m, METRIC_HTTP_RESPONSES, 99, METRIC_2XX, 1); /* a route that is not known */
    metrics_add(g->m, METRIC_JOBS_FAILED, REASON_OOM, 0, 2);
    expect_line(g, "# TYPE millrace_jobs_submitted_total counter\n"
                   "millrace_jobs_submitted_total{lang=\"py\",priority=\"batch\"} 4\n");
    expect_line(g, "millrace_http_responses_total{route=\"/health\",class=\"4xx\"} 1\n");
    expect_line(g, "millrace_http_responses_total{route=\"other\",class=\"2xx\"} 1\n");
    expect_line(g, "millrace_jobs_failed_total{reason=\"oom\"} 2\n");
    assert_int_equal(metrics_get(g->m, METRIC_JOBS_SUBMITTED, LANG_PY, 2), 4);
    assert_null(strstr(buf_cstr(&g->text), "lang=\"js\"")); /* never touched */
}

static void gauges(void **state)
{
    struct ground *g = *state;
    expect_line(g, "\nmillrace_ready 0\n");
    metrics_set(g->m, METRIC_READY, 0, 1);
    metrics_set(g->m, METRIC_RUNNING, 0, -1);
    expect_line(g, "\nmillrace_ready 1\n");
    expect_line(g, "\nmillrace_worker_running -1\n");
    expect_line(g, "millrace_build_info{version=\"");
}

static void histograms(void **state)
{
    struct ground *g = *state;
    metrics_observe_ns(g->m, METRIC_RUN_SECONDS, LANG_PY, 400000);
    metrics_observe_ns(g->m, METRIC_RUN_SECONDS, LANG_PY, 3000000);
    metrics_observe_ns(g->m, METRIC_RUN_SECONDS, LANG_PY, 90000000000);
    expect_line(g, "millrace_run_seconds_bucket{lang=\"py\",le=\"0.0005\"} 1\n");
    expect_line(g, "millrace_run_seconds_bucket{lang=\"py\",le=\"0.002\"} 1\n");
    expect_line(g, "millrace_run_seconds_bucket{lang=\"py\",le=\"0.004\"} 2\n");
    expect_line(g, "millrace_run_seconds_bucket{lang=\"py\",le=\"60\"} 2\n");
    expect_line(
        g, "millrace_run_seconds_bucket{lang=\"py\",le=\"+Inf\"} 3\n"
           "millrace_run_seconds_sum{lang=\"py\"} 90.003400000\nmillrace_run_seconds_count{lang=\"py\"} 3\n");
    expect_line(
        g,
        "millrace_queue_wait_seconds_bucket{le=\"+Inf\"} 0\nmillrace_queue_wait_seconds_sum 0.000000000\n");
}

static void a_program_has_its_own(void **state)
{
    struct metrics *api;
    auto_buf text = BUF_INIT(1 << 20);
    (void)state;
    assert_int_equal(metrics_open(METRICS_API, routes, &api), ERR_OK);
    metrics_add(api, METRIC_JOBS_CLAIMED, 0, 0, 1); /* a worker's: nothing happens */
    metrics_write(api, &text);
    assert_int_equal(buf_status(&text), ERR_OK);
    assert_null(strstr(buf_cstr(&text), "millrace_jobs_claimed_total"));
    assert_non_null(strstr(buf_cstr(&text), "millrace_auth_failures_total 0\n"));
    metrics_close(api);
    metrics_close(NULL);
}

static void names_are_good(void **state)
{
    (void)state;
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        struct metric_row row = metric_row((enum metric)i);
        size_t n = strlen(row.name);
        assert_true(strspn(row.name, "abcdefghijklmnopqrstuvwxyz_") == n);
        bool total = n > 6 && strcmp(row.name + n - 6, "_total") == 0;
        assert_int_equal(total, strcmp(row.type, "counter") == 0);
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(row.name, metric_row((enum metric)j).name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counters_and_labels, enter, leave),
        cmocka_unit_test_setup_teardown(gauges, enter, leave),
        cmocka_unit_test_setup_teardown(histograms, enter, leave),
        cmocka_unit_test(a_program_has_its_own),
        cmocka_unit_test(names_are_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
