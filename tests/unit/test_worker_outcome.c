/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "worker/outcome.h"

#include <signal.h>
#include <string.h>

struct row {
    const char *name;
    struct outcome_facts facts;
    enum event_type type;
    enum reason reason;
    const char *limit, *json;
};

static const struct row rows[] = {
    {"own end", {.exited = true, .exit = {.exit_code = 3}}, EV_COMPLETED, 0, NULL, "{\"exit_code\":3}"},
    {"signal of its own",
     {.exited = true, .exit = {.exit_code = -1, .signal = SIGSEGV}},
     EV_COMPLETED,
     0,
     NULL,
     "{\"signal\":\"SIGSEGV\",\"signal_number\":11}"},
    {"a signal without a name",
     {.exited = true, .exit = {.exit_code = -1, .signal = 40}},
     EV_COMPLETED,
     0,
     NULL,
     "{\"signal\":\"SIG40\",\"signal_number\":40}"},
    {"wall",
     {.exited = true, .exit = {.exit_code = -1, .signal = SIGKILL, .end = PE_WALL}},
     EV_TIMED_OUT,
     0,
     "wall",
     "{\"limit\":\"wall\",\"signal\":\"SIGKILL\",\"signal_number\":9}"},
    {"cpu",
     {.exited = true, .exit = {.exit_code = -1, .signal = SIGKILL, .end = PE_CPU}},
     EV_TIMED_OUT,
     0,
     "cpu",
     "{\"limit\":\"cpu\",\"signal\":\"SIGKILL\",\"signal_number\":9}"},
    {"the kernel's CPU limit",
     {.exited = true, .exit = {.exit_code = -1, .signal = SIGXCPU}},
     EV_TIMED_OUT,
     0,
     "cpu",
     "{\"limit\":\"cpu\",\"signal\":\"SIGXCPU\",\"signal_number\":24}"},
    {"output",
     {.exited = true, .exit = {.exit_code = -1, .signal = SIGKILL, .end = PE_OUTPUT}},
     EV_FAILED,
     REASON_OUTPUT_LIMIT,
     NULL,
     "{\"reason\":\"output_limit\",\"signal\":\"SIGKILL\",\"signal_number\":9}"},
    {"oom by the runner",
     {.exited = true, .exit = {.exit_code = -1, .signal = SIGKILL, .end = PE_MEMORY}},
     EV_FAILED,
     REASON_OOM,
     NULL,
     "{\"reason\":\"oom\",\"signal\":\"SIGKILL\",\"signal_number\":9}"},
    {"oom by the kernel",
     {.exited = true, .exit = {.exit_code = -1, .signal = SIGKILL}, .used = true, .usage = {.oom_kills = 1}},
     EV_FAILED,
     REASON_OOM,
     NULL,
     "{\"reason\":\"oom\",\"signal\":\"SIGKILL\",\"signal_number\":9}"},
    {"oom under a shell",
     {.exited = true, .exit = {.exit_code = 137}, .used = true, .usage = {.oom_kills = 1}},
     EV_FAILED,
     REASON_OOM,
     NULL,
     "{\"reason\":\"oom\",\"exit_code\":137}"},
    {"lived through the loss of a child",
     {.exited = true, .exit = {.exit_code = 0}, .used = true, .usage = {.oom_kills = 1}},
     EV_COMPLETED,
     0,
     NULL,
     "{\"exit_code\":0}"},
    {"killed by itself",
     {.exited = true, .exit = {.exit_code = -1, .signal = SIGKILL}, .used = true},
     EV_COMPLETED,
     0,
     NULL,
     "{\"signal\":\"SIGKILL\",\"signal_number\":9}"},
    {"cancelled",
     {.exited = true,
      .exit = {.exit_code = -1, .signal = SIGKILL, .end = PE_CANCELLED},
      .killed = PE_CANCELLED},
     EV_CANCELLED,
     0,
     NULL,
     "{\"signal\":\"SIGKILL\",\"signal_number\":9}"},
    {"cancelled after its own end",
     {.exited = true, .exit = {.exit_code = 0}, .killed = PE_CANCELLED},
     EV_COMPLETED,
     0,
     NULL,
     "{\"exit_code\":0}"},
    {"cancelled, no word from the pod", {.killed = PE_CANCELLED}, EV_CANCELLED, 0, NULL, "{}"},
    {"the worker's own clock ran out", {.killed = PE_WALL}, EV_TIMED_OUT, 0, "wall", "{\"limit\":\"wall\"}"},
    {"lost", {.killed = PE_OWN}, EV_FAILED, REASON_POD_LOST, NULL, "{\"reason\":\"pod_lost\"}"},
    {"lost, for its memory",
     {.used = true, .usage = {.oom_kills = 2}},
     EV_FAILED,
     REASON_OOM,
     NULL,
     "{\"reason\":\"oom\"}"},
    {"refused",
     {.refused = "no \"such\" file\xff", .refused_reason = REASON_COULD_NOT_START},
     EV_FAILED,
     REASON_COULD_NOT_START,
     NULL,
     "{\"reason\":\"could_not_start\",\"message\":\"no \\\"such\\\" file\xef\xbf\xbd\"}"},
    {"compile error",
     {.exited = true, .exit = {.exit_code = 1}, .staged = true, .stage = {.exit_code = 1}},
     EV_COMPLETED,
     0,
     NULL,
     "{\"exit_code\":1,\"stage\":\"compile\"}"},
    {"judged: right",
     {.exited = true, .judged = true, .right = true},
     EV_COMPLETED,
     0,
     NULL,
     "{\"exit_code\":0,\"verdict\":\"accepted\"}"},
    {"judged: wrong",
     {.exited = true, .judged = true},
     EV_COMPLETED,
     0,
     NULL,
     "{\"exit_code\":0,\"verdict\":\"wrong_answer\"}"},
    {"judged: right, and then it failed",
     {.exited = true, .exit = {.exit_code = 2}, .judged = true, .right = true},
     EV_COMPLETED,
     0,
     NULL,
     "{\"exit_code\":2,\"verdict\":\"runtime_error\"}"},
    {"judged: its compiler said no",
     {.exited = true, .exit = {.exit_code = 1}, .staged = true, .stage = {.exit_code = 1}, .judged = true},
     EV_COMPLETED,
     0,
     NULL,
     "{\"exit_code\":1,\"stage\":\"compile\",\"verdict\":\"compile_error\"}"},
    {"judged: no time left",
     {.killed = PE_WALL, .judged = true, .right = true},
     EV_TIMED_OUT,
     0,
     "wall",
     "{\"limit\":\"wall\",\"verdict\":\"time_limit\"}"},
    {"judged: no memory left",
     {.used = true, .usage = {.oom_kills = 2}, .judged = true, .right = true},
     EV_FAILED,
     REASON_OOM,
     NULL,
     "{\"reason\":\"oom\",\"verdict\":\"memory_limit\"}"},
    {"judged: lost, which says nothing",
     {.killed = PE_OWN, .judged = true, .right = true},
     EV_FAILED,
     REASON_POD_LOST,
     NULL,
     "{\"reason\":\"pod_lost\"}"},
    {"judged: cancelled, which says nothing",
     {.killed = PE_CANCELLED, .judged = true, .right = true},
     EV_CANCELLED,
     0,
     NULL,
     "{}"},
    {"an end that no runner says",
     {.exited = true, .exit = {.end = 77}},
     EV_FAILED,
     REASON_POD_LOST,
     NULL,
     "{\"reason\":\"pod_lost\",\"exit_code\":0}"},
};

static void every_end_has_its_status(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *r = &rows[i];
        struct outcome o = outcome_decide(&r->facts);
        if (o.type != r->type)
            fail_msg("%s: type %d", r->name, (int)o.type);
        if (o.type == EV_FAILED)
            assert_int_equal(o.reason, r->reason);
        assert_string_equal(o.limit ? o.limit : "", r->limit ? r->limit : "");
        auto_buf json = BUF_INIT(4096);
        outcome_write(&r->facts, &o, &json);
        if (o.type == EV_FAILED && !r->facts.refused)
            assert_non_null(strstr(buf_cstr(&json), "\"message\":\""));
        else
            assert_string_equal(buf_cstr(&json), r->json);
    }
}

static void usage_takes_the_larger_cpu_and_the_pods_peak(void **state)
{
    (void)state;
    struct outcome_facts f = {
        .exited = true,
        .exit = {.wall_ns = 12400000,
                 .user_ns = 1000000,
                 .system_ns = 2000000,
                 .processes = 2,
                 .max_rss_bytes = 5},
        .used = true,
        .usage = {.cpu_ns = 7400000, .memory_peak_bytes = 99},
        .bytes = {4, 2},
    };
    struct outcome o = outcome_decide(&f);
    auto_buf json = BUF_INIT(4096);
    outcome_write_usage(&f, &o, &json);
    assert_string_equal(buf_cstr(&json),
                        "{\"wall_ms\":13,\"cpu_ms\":8,\"memory_peak_bytes\":99,\"processes\":2,"
                        "\"stdout_bytes\":4,\"stderr_bytes\":2,\"truncated\":false}");
}

static void accepted_gaps_are_named_only_where_there_are_any(void **state)
{
    (void)state;
    struct outcome_facts f = {.exited = true, .gaps = "[\"landlock\"]"};
    struct outcome o = outcome_decide(&f);
    auto_buf with = BUF_INIT(4096), without = BUF_INIT(4096);
    outcome_write(&f, &o, &with);
    assert_string_equal(buf_cstr(&with), "{\"exit_code\":0,\"accepted_gaps\":[\"landlock\"]}");
    f.gaps = NULL;
    outcome_write(&f, &o, &without);
    assert_string_equal(buf_cstr(&without), "{\"exit_code\":0}");
}

static void signals_by_name(void **state)
{
    (void)state;
    assert_int_equal(signal_number(STR("INT")), SIGINT);
    assert_int_equal(signal_number(STR("SIGTERM")), SIGTERM);
    assert_int_equal(signal_number(STR("")), 0);
    assert_int_equal(signal_number(STR("SIG")), 0);
    assert_int_equal(signal_number(STR("int")), 0);
    assert_null(signal_name(0));
    assert_null(signal_name(-1));
    assert_string_equal(signal_name(SIGSYS), "SIGSYS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_end_has_its_status),
        cmocka_unit_test(usage_takes_the_larger_cpu_and_the_pods_peak),
        cmocka_unit_test(accepted_gaps_are_named_only_where_there_are_any),
        cmocka_unit_test(signals_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
