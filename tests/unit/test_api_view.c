/* SPDX-License-Identifier: Apache-2.0 */
#include "api/sse_text.h"
#include "api/view.h"
#include "schema/reasons.h"
#include "unit.h"
#include "json/json.h"

#include <stdio.h>
#include <string.h>

static uint64_t next_seq;

static void add(struct view *v, enum event_type type, uint32_t attempt, const char *data, struct str bytes)
{
    ++next_seq;
    struct event e = {.type = type,
                      .attempt = attempt,
                      .seq = next_seq,
                      .time_ms = 1000 + (int64_t)next_seq,
                      .data = str_of(data),
                      .bytes = bytes};
    snprintf(e.id, sizeof e.id, "%llu-0", (unsigned long long)next_seq);
    view_apply(v, &e);
}

static void begin(struct view *v)
{
    next_seq = 0;
    struct id job, session;
    assert_int_equal(id_parse(STR("V1StGXR8_Z5jdHi6B-myT"), &job), ERR_OK);
    assert_int_equal(id_parse(STR("aB3dE5gH7jK9mN1pQ3sT5"), &session), ERR_OK);
    view_init(v, job, session, 100);
    add(v, EV_SUBMITTED, 0, "{}", STR(""));
    add(v, EV_CLAIMED, 1, "{}", STR(""));
    add(v, EV_STARTED, 1, "{\"pod\":\"p\",\"warm\":true,\"queue_ms\":3}", STR(""));
}

static json_t *result(const struct view *v)
{
    auto_buf text = BUF_INIT(1 << 16);
    view_write_result(v, &text);
    json_t *value = NULL;
    struct errinfo info;
    if (json_parse(buf_str(&text), &value, &info) != ERR_OK)
        fail_msg("%s: %s", info.text, buf_cstr(&text));
    return value;
}

static const char *text_of(const json_t *v, const char *name)
{
    const char *text = json_string_value(json_object_get(v, name));
    return text != NULL ? text : "(null)";
}

#define OUT "{\"stream\":\"stdout\"}"
#define ERR "{\"stream\":\"stderr\"}"

static void test_completed(void **state)
{
    (void)state;
    struct view v;
    begin(&v);
    assert_int_equal(v.status, VIEW_RUNNING);
    add(&v, EV_OUTPUT, 1, OUT, STR(" a\n"));
    add(&v, EV_OUTPUT, 1, ERR, STR("e"));
    add(&v, EV_OUTPUT, 1, OUT, STR("b\r\n "));
    add(&v, EV_USAGE, 1, "{\"wall_ms\":7,\"truncated\":false}", STR(""));
    add(&v, EV_COMPLETED, 1, "{\"exit_code\":3}", STR(""));
    auto_json r = result(&v);
    assert_string_equal(text_of(r, "stdout"), " a\nb\r\n ");
    assert_string_equal(text_of(r, "stderr"), "e");
    assert_int_equal(json_integer_value(json_object_get(r, "exit_code")), 3);
    assert_true(json_is_null(json_object_get(r, "signal")) && json_is_null(json_object_get(r, "status")));
    assert_true(json_is_false(json_object_get(r, "timed_out")));
    assert_string_equal(text_of(r, "job_status"), "completed");
    assert_string_equal(text_of(r, "session_id"), "aB3dE5gH7jK9mN1pQ3sT5");
    assert_int_equal(json_array_size(json_object_get(r, "files")), 0);
    assert_int_equal(json_integer_value(json_object_get(r, "wall_time")), 7);
    const json_t *usage = json_object_get(r, "usage");
    assert_int_equal(json_integer_value(json_object_get(usage, "queue_ms")), 3);
    assert_null(json_object_get(r, "stdout_base64"));
    view_free(&v);
}

static void test_bytes_that_are_not_utf8(void **state)
{
    (void)state;
    struct view v;
    begin(&v);
    add(&v, EV_OUTPUT, 1, OUT, STR("a\xff\xc3"));
    add(&v, EV_OUTPUT, 1, OUT, STR("\xa4"));
    add(&v, EV_COMPLETED, 1, "{\"exit_code\":0}", STR(""));
    auto_json r = result(&v);
    assert_string_equal(text_of(r, "stdout"), "a\xef\xbf\xbd\xc3\xa4");
    assert_string_equal(text_of(r, "stdout_base64"), "Yf/DpA==");
    view_free(&v);
}

static void test_retried_starts_anew(void **state)
{
    (void)state;
    struct view v;
    begin(&v);
    add(&v, EV_OUTPUT, 1, OUT, STR("first"));
    add(&v, EV_LEASE_LOST, 1, "{}", STR(""));
    add(&v, EV_RETRIED, 1, "{}", STR(""));
    assert_int_equal(v.status, VIEW_QUEUED);
    add(&v, EV_CLAIMED, 2, "{}", STR(""));
    add(&v, EV_OUTPUT, 2, OUT, STR("second"));
    add(&v, EV_COMPLETED, 2, "{\"signal\":\"SIGSEGV\",\"signal_number\":11}", STR(""));
    auto_json r = result(&v);
    assert_string_equal(text_of(r, "stdout"), "second");
    assert_string_equal(text_of(r, "signal"), "SIGSEGV");
    assert_string_equal(text_of(r, "stderr"), "");
    assert_true(json_is_null(json_object_get(r, "exit_code")));
    assert_int_equal(json_integer_value(json_object_get(r, "attempt")), 2);
    view_free(&v);
}

static void expect_end(enum event_type type, const char *data, const char *status, const char *job_status,
                       const char *signal, const char *stderr_has)
{
    struct view v;
    begin(&v);
    add(&v, EV_OUTPUT, 1, ERR, STR("partial"));
    add(&v, type, 1, data, STR(""));
    assert_true(v.status >= VIEW_COMPLETED);
    auto_json r = result(&v);
    assert_string_equal(text_of(r, "status"), status);
    assert_string_equal(text_of(r, "job_status"), job_status);
    assert_string_equal(text_of(r, "signal"), signal);
    assert_int_equal(json_is_true(json_object_get(r, "timed_out")), type == EV_TIMED_OUT);
    assert_int_equal(strncmp(text_of(r, "stderr"), "partial\n[sandbox] ", 18), 0);
    assert_non_null(strstr(text_of(r, "stderr"), stderr_has));
    view_free(&v);
}

/* A worker that has nothing to add repeats the reason's own sentence. */
static void test_the_reason_is_said_once(void **state)
{
    (void)state;
    struct view v;
    begin(&v);
    const char *said = reason_row(REASON_POD_LOST)->text;
    char data[256];
    snprintf(data, sizeof data, "{\"reason\":\"pod_lost\",\"message\":\"%s\"}", said);
    add(&v, EV_FAILED, 1, data, STR(""));
    auto_json r = result(&v);
    assert_string_equal(text_of(r, "message"), said);
    view_free(&v);
}

static void test_other_ends(void **state)
{
    (void)state;
    expect_end(EV_TIMED_OUT, "{\"limit\":\"wall\"}", "TO", "timed_out", "SIGKILL",
               "[sandbox] Time limit exceeded\n");
    expect_end(EV_TIMED_OUT, "{\"limit\":\"cpu\"}", "TO", "timed_out", "SIGKILL",
               "[sandbox] Time limit exceeded\n");
    expect_end(EV_FAILED, "{\"reason\":\"oom\"}", "SG", "failed", "SIGKILL", "[sandbox] Out of memory\n");
    expect_end(EV_FAILED, "{\"reason\":\"output_limit\"}", "OL", "failed", "SIGKILL",
               "[sandbox] stdout length exceeded\n");
    expect_end(EV_FAILED, "{\"reason\":\"could_not_start\",\"message\":\"no such file\"}", "(null)", "failed",
               "(null)", "no such file");
    expect_end(EV_FAILED, "{\"reason\":\"of_a_newer_build\"}", "(null)", "failed", "(null)", "failed");
    expect_end(EV_CANCELLED, "{\"reason\":\"x\"}", "(null)", "cancelled", "(null)", "cancelled");
    expect_end(EV_DEAD, "{}", "(null)", "dead", "(null)", "several times");
}

static void test_output_is_bounded(void **state)
{
    (void)state;
    struct view v;
    begin(&v);
    char much[150];
    memset(much, 'x', sizeof much);
    add(&v, EV_OUTPUT, 1, OUT, (struct str){much, sizeof much});
    add(&v, EV_OUTPUT, 1, OUT, (struct str){much, sizeof much});
    add(&v, EV_COMPLETED, 1, "{\"exit_code\":0}", STR(""));
    auto_json r = result(&v);
    assert_int_equal(json_string_length(json_object_get(r, "stdout")), 100);
    assert_true(json_is_true(json_object_get(r, "truncated")));
    view_free(&v);
}

static void test_sse(void **state)
{
    (void)state;
    struct event e = {
        .id = "5-1", .type = EV_OUTPUT, .attempt = 1, .seq = 4, .data = STR(OUT), .bytes = STR("a\n\nb")};
    auto_buf text = BUF_INIT(1 << 12);
    sse_write(&e, &text);
    assert_int_equal(strncmp(buf_cstr(&text), "id: 5-1\ndata: {", 15), 0);
    assert_non_null(strstr(text.data, "a\\n\\nb"));
    assert_ptr_equal(strstr(text.data, "\n\n"),
                     text.data + text.len - 2); /* the only empty line is the end */
    assert_true(sse_wanted(STR("text/event-stream")));
    assert_true(sse_wanted(STR("text/html, Text/Event-Stream;q=0.9")));
    assert_false(sse_wanted(STR("application/json, */*")));
    assert_false(sse_wanted((struct str){NULL, 0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_completed),
        cmocka_unit_test(test_bytes_that_are_not_utf8),
        cmocka_unit_test(test_retried_starts_anew),
        cmocka_unit_test(test_the_reason_is_said_once),
        cmocka_unit_test(test_other_ends),
        cmocka_unit_test(test_output_is_bounded),
        cmocka_unit_test(test_sse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
