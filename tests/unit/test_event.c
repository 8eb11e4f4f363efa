/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/event.h"

#include "unit.h"

#include <string.h>

static const char JOB[] = "AAAAAAAAAAAAAAAAAAAAA";

static struct id job_id(void)
{
    struct id id = {0};
    memcpy(id.text, JOB, sizeof JOB);
    return id;
}

#define FIELDS(...)                                                                                          \
    ((const struct str[]){__VA_ARGS__}), (sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str) / 2)
#define COMMON STR("v"), STR("1"), STR("a"), STR("2"), STR("s"), STR("7"), STR("m"), STR("1700000000123")

static void every_type_has_a_name_that_parses_back(void **state)
{
    (void)state;
    for (enum event_type t = 0; t < EV_COUNT; t++) {
        enum event_type back = EV_COUNT;
        assert_int_equal(event_type_parse(str_of(event_type_name(t)), &back), ERR_OK);
        assert_int_equal(back, t);
    }
    enum event_type untouched = EV_DEAD;
    assert_int_equal(event_type_parse(STR("nonsense"), &untouched), ERR_NOT_FOUND);
    assert_int_equal(untouched, EV_DEAD);
}

static void an_entry_decodes_and_is_shown_as_json(void **state)
{
    (void)state;
    struct event e;
    assert_int_equal(
        event_decode(STR("1700000000123-0"), job_id(),
                     FIELDS(COMMON, STR("t"), STR("output"), STR("d"), STR("{\"stream\":\"stdout\"}"),
                            STR("b"), STR("hi\"\x01"), STR("later"), STR("field")),
                     &e),
        ERR_OK);
    assert_int_equal(e.type, EV_OUTPUT);
    assert_int_equal(e.attempt, 2);
    assert_int_equal(e.seq, 7);
    auto_buf out = BUF_INIT(4096);
    event_write_json(&e, &out);
    assert_string_equal(
        buf_cstr(&out),
        "{\"id\":\"1700000000123-0\",\"type\":\"output\",\"job_id\":\"AAAAAAAAAAAAAAAAAAAAA\",\"attempt\":2,"
        "\"seq\":7,\"time\":1700000000123,\"stream\":\"stdout\",\"data\":\"hi\\\"\\u0001\"}");
}

static void bytes_that_are_not_text_are_base64(void **state)
{
    (void)state;
    struct event e = {.type = EV_INPUT, .job = job_id(), .seq = 1, .bytes = STR("\xff\xfe")};
    auto_buf out = BUF_INIT(4096);
    event_write_json(&e, &out);
    assert_non_null(strstr(buf_cstr(&out), ",\"data\":\"//4=\",\"encoding\":\"base64\"}"));
}

static void bad_entries_are_refused_and_newer_ones_told_apart(void **state)
{
    (void)state;
    static const struct {
        struct str id, version, type, attempt, seq, ms, data;
        enum err want;
    } rows[] = {
        {STR("1-1"), STR("1"), STR("eof"), STR("1"), STR("1"), STR("1"), STR(""), ERR_OK},
        {STR("1-1"), STR("2"), STR("eof"), STR("1"), STR("1"), STR("1"), STR(""), ERR_UNSUPPORTED},
        {STR("1-1"), STR("1"), STR("newer"), STR("1"), STR("1"), STR("1"), STR(""), ERR_UNSUPPORTED},
        {STR("1-1"), STR("0"), STR("eof"), STR("1"), STR("1"), STR("1"), STR(""), ERR_PROTOCOL},
        {STR("x"), STR("1"), STR("eof"), STR("1"), STR("1"), STR("1"), STR(""), ERR_PROTOCOL},
        {STR("1-1"), STR("1"), STR("eof"), STR("-1"), STR("1"), STR("1"), STR(""), ERR_PROTOCOL},
        {STR("1-1"), STR("1"), STR("eof"), STR("1"), STR("0"), STR("1"), STR(""), ERR_PROTOCOL},
        {STR("1-1"), STR("1"), STR("eof"), STR("1"), STR("1"), STR("1e3"), STR(""), ERR_PROTOCOL},
        {STR("1-1"), STR("1"), STR("eof"), STR("1"), STR("1"), STR("1"), STR("[]"), ERR_PROTOCOL},
        {STR("1-1"), STR("1"), STR("eof"), STR("1"), STR("1"), STR("1"), STR("{\"a\":\"\xff\"}"),
         ERR_PROTOCOL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct event e;
        assert_int_equal(
            event_decode(rows[i].id, job_id(),
                         FIELDS(STR("v"), rows[i].version, STR("t"), rows[i].type, STR("a"), rows[i].attempt,
                                STR("s"), rows[i].seq, STR("m"), rows[i].ms, STR("d"), rows[i].data),
                         &e),
            rows[i].want);
    }
}

static void stream_ids_are_strict_and_ordered(void **state)
{
    (void)state;
    static const struct str bad[] = {STR(""),   STR("-"),  STR("-1"),
                                     STR("1-"), STR("01"), STR("1-1-1"),
                                     STR("+1"), STR("1 "), STR("18446744073709551616"),
                                     STR("$")};
    uint64_t ms, n;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(event_id_parse(bad[i], &ms, &n), ERR_INVALID);
    assert_int_equal(event_id_parse(STR("18446744073709551615-3"), &ms, &n), ERR_OK);
    assert_true(ms == UINT64_MAX && n == 3);
    assert_true(event_id_compare("9-5", "10-0") < 0 && event_id_compare("10-1", "10-0") > 0 &&
                event_id_compare("10", "10-0") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_has_a_name_that_parses_back),
        cmocka_unit_test(an_entry_decodes_and_is_shown_as_json),
        cmocka_unit_test(bytes_that_are_not_text_are_base64),
        cmocka_unit_test(bad_entries_are_refused_and_newer_ones_told_apart),
        cmocka_unit_test(stream_ids_are_strict_and_ordered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
