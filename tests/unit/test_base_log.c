/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/cleanup.h"
#include "base/utf8.h"
#include "unit.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Runs one log_write with stderr in a pipe; what was written is in `line`. */
static void capture(const char *message, const struct log_field *fields, char *line, size_t size)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    int saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    log_write(LOG_INFO, message, fields);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t n = read(ends[0], line, size - 1);
    close(ends[0]);
    assert_true(n >= 0);
    line[n] = '\0';
}

static void json_record(void **state)
{
    char line[4096];
    (void)state;
    log_open("test", LOG_INFO, false);
    capture("hello \"you\"\n", (const struct log_field[]){F_JOB("j1", 3), {.key = NULL}}, line, sizeof line);
    assert_non_null(strstr(line,
                           "\"level\":\"info\",\"program\":\"test\",\"message\":\"hello \\\"you\\\"\\u000a\","
                           "\"job\":\"j1\",\"attempt\":3}\n"));
}

static void text_record(void **state)
{
    char line[4096];
    (void)state;
    log_open("test", LOG_INFO, true);
    capture("hello", (const struct log_field[]){F_STR("why", "a\nb"), {.key = NULL}}, line, sizeof line);
    assert_non_null(strstr(line, " info  test: hello why=a\\u000ab\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void hostile_text_is_one_harmless_line(void **state)
{
    char line[4096];
    (void)state;
    log_open("test", LOG_INFO, false);
    capture(
        "\x1b[31m\x7f\xc2\x9b\xe2\x80\xa8\xe2\x80\xa9%s%n\xff caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\r",
        (const struct log_field[]){{.key = NULL}}, line, sizeof line);
    assert_non_null(
        strstr(line, "\"\\u001b[31m\\u007f\\u009b\\u2028\\u2029%s%n\xef\xbf\xbd caf\xc3\xa9 \xe2\x82\xac "
                     "\xf0\x9f\x98\x80\\u000d\"}\n"));
}

static void long_values_are_cut_at_a_character(void **state)
{
    char text[3000], line[8192];
    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text + 2046, "\xe2\x82\xac", 3);
    text[sizeof text - 1] = '\0';
    log_open("test", LOG_INFO, false);
    capture(text, (const struct log_field[]){{.key = NULL}}, line, sizeof line);
    assert_non_null(strstr(line, "aaa...\"}\n"));
    assert_true(utf8_valid(str_of(line)));
}

static void below_the_level_nothing(void **state)
{
    char line[64];
    (void)state;
    log_open("test", LOG_WARN, false);
    capture("quiet", (const struct log_field[]){{.key = NULL}}, line, sizeof line);
    assert_string_equal(line, "");
}

static void limit_counts_what_it_held(void **state)
{
    struct log_limit limit = {0};
    uint32_t held = 7;
    (void)state;
    assert_true(log_limit_pass(&limit, 1, &held));
    assert_int_equal(held, 0);
    for (int i = 0; i < 5; i++)
        assert_false(log_limit_pass(&limit, 1, &held));
    limit.row[0].last_ns -= 1000000000; /* a second passes */
    assert_true(log_limit_pass(&limit, 1, &held));
    assert_int_equal(held, 5);
}

/* A new cause is told at once, whatever was told just before; more causes than there are rows wait their second. */
static void limit_is_for_each_cause(void **state)
{
    struct log_limit limit = {0};
    uint32_t held = 7;
    (void)state;
    for (uint64_t cause = 1; cause <= LOG_CAUSES_MAX; cause++) {
        assert_true(log_limit_pass(&limit, cause, &held));
        assert_int_equal(held, 0);
        assert_false(log_limit_pass(&limit, cause, &held));
    }
    for (uint64_t cause = 100; cause < 200; cause++)
        assert_false(log_limit_pass(&limit, cause, &held));
    for (int i = 0; i < LOG_CAUSES_MAX; i++)
        limit.row[i].last_ns -= 1000000000;
    assert_true(log_limit_pass(&limit, 2, &held)); /* its own row */
    assert_int_equal(held, 1);
    assert_true(log_limit_pass(&limit, 100, &held)); /* the oldest row, with what that held back */
    assert_int_equal(held, 101);
}

static uint64_t cause_of(const char *why, const char *request, int64_t status)
{
    const struct log_field fields[] = {
        F_STR("why", why), F_STR("request", request), F_INT("status", status), {.key = NULL}};
    return log_cause_of(fields);
}

static void a_cause_is_what_the_fields_say_of_why(void **state)
{
    (void)state;
    assert_true(cause_of("refused", "one", 503) == cause_of("refused", "two", 503));
    assert_true(cause_of("refused", "one", 503) != cause_of("loading", "one", 503));
    assert_true(cause_of("refused", "one", 503) != cause_of("refused", "one", 500));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_record),
        cmocka_unit_test(text_record),
        cmocka_unit_test(hostile_text_is_one_harmless_line),
        cmocka_unit_test(long_values_are_cut_at_a_character),
        cmocka_unit_test(below_the_level_nothing),
        cmocka_unit_test(limit_counts_what_it_held),
        cmocka_unit_test(limit_is_for_each_cause),
        cmocka_unit_test(a_cause_is_what_the_fields_say_of_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
