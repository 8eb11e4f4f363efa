/* SPDX-License-Identifier: Apache-2.0 */
#include "api/file_text.h"
#include "api/upload_form.h"
#include "unit.h"

#include <string.h>

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_names(void **state)
{
    (void)state;
    static const char *const good[] = {"a", ".env", "a b/c d.txt", "-rf", "\xc3\xa9", "1/2/3/4/5/6/7/8/9/10"};
    static const char *const bad[] = {"",
                                      "/a",
                                      "a/",
                                      "a//b",
                                      ".",
                                      "a/..",
                                      "../a",
                                      "a/./b",
                                      "a\\b",
                                      "a\n",
                                      "\x7f",
                                      "\xff\xfe",
                                      "1/2/3/4/5/6/7/8/9/10/11"};
    struct errinfo info;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(file_name_check(str_of(good[i]), &info), ERR_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(file_name_check(str_of(bad[i]), &info), ERR_INVALID);
    assert_int_equal(file_name_check((struct str){"a\0b", 3}, &info), ERR_INVALID);
}

static void test_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        uint64_t size;
        enum err e;
        uint64_t from, length;
    } rows[] = {
        {"bytes=0-0", 10, ERR_OK, 0, 1},
        {"bytes=3-", 10, ERR_OK, 3, 7},
        {"bytes=-3", 10, ERR_OK, 7, 3},
        {"bytes=-30", 10, ERR_OK, 0, 10},
        {"bytes=2-99", 10, ERR_OK, 2, 8},
        {"bytes=0-18446744073709551615", 10, ERR_OK, 0, 10},
        {"bytes=10-", 10, ERR_RANGE, 0, 0},
        {"bytes=-0", 10, ERR_RANGE, 0, 0},
        {"bytes=0-", 0, ERR_RANGE, 0, 0},
        {"bytes=-1", 0, ERR_RANGE, 0, 0},
        {"bytes=-", 10, ERR_NOT_FOUND, 0, 0},
        {"bytes=3-2", 10, ERR_NOT_FOUND, 0, 0},
        {"bytes=0-1,2-3", 10, ERR_NOT_FOUND, 0, 0},
        {"bytes=99999999999999999999-", 10, ERR_NOT_FOUND, 0, 0},
        {"items=0-1", 10, ERR_NOT_FOUND, 0, 0},
        {"bytes=", 10, ERR_NOT_FOUND, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t from = 0, length = 0;
        assert_int_equal(file_range_parse(str_of(rows[i].header), rows[i].size, &from, &length), rows[i].e);
        assert_true(from == rows[i].from && length == rows[i].length);
    }
}

static struct session_file a_file(const char *path, const char *type)
{
    struct session_file file = {
        .path = str_of(path), .hash = STR(HASH), .size = 13, .type = str_of(type), .added_ms = 1787391000007};
    memcpy(file.id.text, "aB3dE5gH7jK9mN1pQ3sT5", ID_LEN);
    return file;
}

static void expect_text(const char *wanted, struct buf *got)
{
    assert_string_equal(buf_cstr(got), wanted);
    buf_reset(got);
}

static void test_what_is_written(void **state)
{
    (void)state;
    auto_buf out = BUF_INIT(4096);
    struct id session = {"V1StGXR8_Z5jdHi6B-myT"};
    struct session_file file = a_file("d/s\xc3\xa4 \"x\".CSV", "text/x;\r\nX: y");
    file_write_object(&out, session, &file);
    expect_text("V1StGXR8_Z5jdHi6B-myT/aB3dE5gH7jK9mN1pQ3sT5.CSV", &out);
    file_write_time(&out, file.added_ms);
    expect_text("2026-08-22T09:30:00.007Z", &out);
    file_write_disposition(&out, file.path);
    expect_text("attachment; filename=\"s__ _x_.CSV\"; filename*=UTF-8''d%2Fs%C3%A4%20%22x%22.CSV", &out);
    assert_true(str_eq(file_type(&file), STR("text/csv"))); /* what could end a header is not used */
    file = a_file("x", "a/b");
    assert_true(str_eq(file_type(&file), STR("a/b")));
    file_write(&out, session, &file, FILE_SIMPLE);
    expect_text("\"V1StGXR8_Z5jdHi6B-myT/aB3dE5gH7jK9mN1pQ3sT5\"", &out);
    assert_int_equal(file_detail_parse(STR("full")), FILE_FULL);
    assert_int_equal(file_detail_parse(STR("")), FILE_SIMPLE);
    assert_int_equal(file_detail_parse(STR("else")), FILE_SIMPLE);
}

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *id, *version, *entity_id;
        enum err e;
        bool shared;
    } rows[] = {
        {"", "", "", "", ERR_OK, false},
        {"user", "665f", "", "", ERR_OK, false},
        {"agent", "agent_1", "", "", ERR_OK, true},
        {"skill", "66aa", "3", "", ERR_OK, true},
        {"", "", "", "agent_1", ERR_OK, true},
        {"group", "1", "", "", ERR_INVALID, false},
        {"user", "", "", "", ERR_INVALID, false},
        {"user", "a b", "", "", ERR_INVALID, false},
        {"skill", "1", "", "", ERR_INVALID, true},
        {"skill", "1", "x", "", ERR_INVALID, true},
        {"user", "1", "3", "", ERR_INVALID, false},
        {"", "", "", "a b", ERR_INVALID, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct upload_form form = {.read_only = false};
        struct api_fault fault;
        assert_int_equal(upload_form_take(&form, "kind", str_of(rows[i].kind), &fault), ERR_OK);
        assert_int_equal(upload_form_take(&form, "id", str_of(rows[i].id), &fault), ERR_OK);
        assert_int_equal(upload_form_take(&form, "version", str_of(rows[i].version), &fault), ERR_OK);
        assert_int_equal(upload_form_take(&form, "entity_id", str_of(rows[i].entity_id), &fault), ERR_OK);
        assert_int_equal(upload_form_take(&form, "unknown", STR("x"), &fault), ERR_OK);
        assert_int_equal(upload_form_check(&form, &fault), rows[i].e);
        assert_int_equal(upload_form_shared(&form), rows[i].shared);
    }
    struct upload_form form = {.read_only = false};
    struct api_fault fault;
    assert_int_equal(upload_form_take(&form, "kind", STR("a kind that is far too long"), &fault),
                     ERR_INVALID);
    assert_int_equal(upload_form_take(&form, "session_id", STR("short"), &fault), ERR_INVALID);
    assert_int_equal(upload_form_take(&form, "id", (struct str){"a\0b", 3}, &fault), ERR_INVALID);
    assert_int_equal(upload_form_take(&form, "read_only", STR("TRUE"), &fault), ERR_OK);
    assert_true(form.read_only);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_what_is_written),
        cmocka_unit_test(test_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
