/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "worker/frame.h"
#include "worker/spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void whole_frames_come_back(void **state)
{
    (void)state;
    auto_buf b = BUF_INIT(1 << 20);
    frame_append(&b, FRAME_STDOUT, "hello", 5);
    frame_append(&b, FRAME_STDIN_EOF, NULL, 0);
    frame_append_u32(&b, FRAME_SIGNAL, 0x01020304);
    struct str rest = buf_str(&b);
    struct frame f;
    size_t used = 0;
    assert_int_equal(frame_take(rest, &f, &used), ERR_OK);
    assert_int_equal(f.type, FRAME_STDOUT);
    assert_true(str_eq(f.payload, STR("hello")));
    rest = (struct str){rest.p + used, rest.n - used};
    assert_int_equal(frame_take(rest, &f, &used), ERR_OK);
    assert_int_equal(f.type, FRAME_STDIN_EOF);
    assert_int_equal(f.payload.n, 0);
    rest = (struct str){rest.p + used, rest.n - used};
    uint32_t v = 0;
    assert_int_equal(frame_take(rest, &f, &used), ERR_OK);
    assert_int_equal(frame_get_u32(f.payload, &v), ERR_OK);
    assert_int_equal(v, 0x01020304);
    assert_int_equal(used, rest.n);
}

static void every_cut_of_a_frame_asks_for_more(void **state)
{
    (void)state;
    auto_buf b = BUF_INIT(1 << 20);
    frame_append(&b, FRAME_STDERR, "abcdef", 6);
    struct frame f;
    size_t used = 0;
    for (size_t n = 0; n < b.len; n++)
        assert_int_equal(frame_take((struct str){b.data, n}, &f, &used), ERR_AGAIN);
}

static void a_header_over_its_bound_is_refused(void **state)
{
    (void)state;
    uint8_t h[FRAME_HEADER_SIZE] = {1, 0, 1, 0, FRAME_STDOUT}; /* 65,537 bytes */
    struct frame f;
    size_t used = 0;
    assert_int_equal(frame_take((struct str){(const char *)h, sizeof h}, &f, &used), ERR_PROTOCOL);
    memset(h, 0, sizeof h);
    h[6] = 1;
    assert_int_equal(frame_take((struct str){(const char *)h, sizeof h}, &f, &used), ERR_PROTOCOL);
}

static void a_long_payload_is_split(void **state)
{
    (void)state;
    auto_buf b = BUF_INIT(1 << 20);
    auto_free char *big = calloc(1, FRAME_PAYLOAD_MAX + 1);
    assert_non_null(big);
    frame_append(&b, FRAME_SPEC, big, FRAME_PAYLOAD_MAX + 1);
    assert_int_equal(b.len, FRAME_PAYLOAD_MAX + 1 + 2 * FRAME_HEADER_SIZE);
}

static void an_exit_comes_back_whole(void **state)
{
    (void)state;
    struct frame_exit in = {.exit_code = -1,
                            .signal = 9,
                            .end = PE_WALL,
                            .processes = 3,
                            .wall_ns = 1ULL << 40,
                            .user_ns = 5,
                            .system_ns = 6,
                            .max_rss_bytes = UINT64_MAX};
    struct frame_exit out;
    uint8_t bytes[FRAME_EXIT_SIZE];
    frame_put_exit(bytes, &in);
    assert_int_equal(frame_get_exit((struct str){(char *)bytes, sizeof bytes}, &out), ERR_OK);
    assert_memory_equal(&in, &out, sizeof in);
    assert_int_equal(frame_get_exit((struct str){(char *)bytes, sizeof bytes - 1}, &out), ERR_PROTOCOL);
}

static void a_spec_comes_back(void **state)
{
    (void)state;
    auto_buf b = BUF_INIT(SPEC_SIZE_MAX);
    spec_put(&b, SPEC_ARGV, STR("/usr/bin/python3"));
    spec_put(&b, SPEC_ARGV, STR(""));
    spec_put(&b, SPEC_ENV, STR("A=b=c"));
    spec_put(&b, SPEC_SOURCE_NAME, STR("main.py"));
    spec_put(&b, SPEC_SOURCE, STR("a\0b"));
    spec_put_u64(&b, SPEC_LIMIT_WALL_MS, 1ULL << 33);
    spec_put_u64(&b, SPEC_STDIN_OPEN, 1);
    struct spec s;
    assert_int_equal(spec_scan(buf_str(&b), &s), ERR_OK);
    assert_int_equal(s.argv.n, 2);
    assert_true(s.wall_ms == 1ULL << 33);
    assert_null(s.source_name);
    assert_int_equal(spec_parse(b.data, b.len, &s), ERR_OK);
    assert_int_equal(s.argv.n, 2);
    assert_string_equal(s.argv.at[0], "/usr/bin/python3");
    assert_string_equal(s.argv.at[1], "");
    assert_null(s.argv.at[2]);
    assert_string_equal(s.env.at[0], "A=b=c");
    assert_string_equal(s.source_name, "main.py");
    assert_true(str_eq(s.source, STR("a\0b")));
    assert_true(s.wall_ms == 1ULL << 33);
    assert_true(s.stdin_open);
}

static void refuse(enum spec_tag tag, struct str value)
{
    auto_buf b = BUF_INIT(SPEC_SIZE_MAX);
    struct spec s;
    spec_put(&b, tag, value);
    assert_int_equal(spec_parse(b.data, b.len, &s), ERR_PROTOCOL);
}

static void bad_specs_are_refused(void **state)
{
    (void)state;
    refuse(SPEC_SOURCE_NAME, STR("../x"));
    refuse(SPEC_SOURCE_NAME, STR(".."));
    refuse(SPEC_SOURCE_NAME, STR(""));
    refuse(SPEC_ARGV, STR("a\0b"));
    refuse(SPEC_ENV, STR("novalue"));
    refuse(SPEC_ENV, STR("=x"));
    refuse(SPEC_LIMIT_WALL_MS, STR("1234567"));
    refuse((enum spec_tag)14, STR("x"));
    refuse((enum spec_tag)0, STR("x"));
    auto_buf twice = BUF_INIT(SPEC_SIZE_MAX);
    spec_put_u64(&twice, SPEC_LIMIT_FSIZE, 1);
    spec_put_u64(&twice, SPEC_LIMIT_FSIZE, 1);
    struct spec s;
    assert_int_equal(spec_parse(twice.data, twice.len, &s), ERR_PROTOCOL);
}

static void every_cut_of_a_spec_is_refused(void **state)
{
    (void)state;
    auto_buf b = BUF_INIT(SPEC_SIZE_MAX);
    spec_put(&b, SPEC_SOURCE, STR("print(1)"));
    struct spec s;
    for (size_t n = 1; n < b.len; n++)
        assert_int_equal(spec_parse(b.data, n, &s), ERR_PROTOCOL);
}

static void a_list_has_its_bound(void **state)
{
    (void)state;
    auto_buf b = BUF_INIT(SPEC_SIZE_MAX);
    for (int i = 0; i <= SPEC_STRINGS_MAX; i++)
        spec_put(&b, SPEC_PROGRAM_ARGS, STR("x"));
    struct spec s;
    assert_int_equal(spec_parse(b.data, b.len, &s), ERR_FULL);
}

static void files_and_bounds_come_back(void **state)
{
    (void)state;
    auto_buf b = BUF_INIT(1024);
    struct frame_file file;
    struct frame_collect collect;
    frame_put_file(&b,
                   &(struct frame_file){.size = 1ULL << 40, .time_ms = -1, .flags = 3, .path = STR("a/b")});
    assert_int_equal(frame_get_file(buf_str(&b), &file), ERR_OK);
    assert_true(file.size == 1ULL << 40 && file.time_ms == -1 && file.flags == 3 &&
                str_eq(file.path, STR("a/b")));
    for (size_t n = 0; n < 20; n++)
        assert_int_equal(frame_get_file((struct str){b.data, n}, &file), ERR_PROTOCOL);
    buf_reset(&b);
    frame_put_collect(&b, &(struct frame_collect){1, 2, 3, true, STR("a\0bc\0")});
    assert_int_equal(frame_get_collect(buf_str(&b), &collect), ERR_OK);
    assert_true(collect.max_files == 1 && collect.max_file_bytes == 2 && collect.max_bytes == 3);
    assert_true(str_eq(collect.skip, STR("a\0bc\0")));
    assert_int_equal(frame_get_collect((struct str){b.data, b.len - 1}, &collect), ERR_PROTOCOL);
}

static void paths_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a\\b", "a\nb", "1/2/3/4/5/6/7/8/9/10/11"};
    assert_true(frame_path_ok(STR("1/2/3/4/5/6/7/8/9/10")) && frame_path_ok(STR("...")) &&
                frame_path_ok(STR(".a b")));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(frame_path_ok(str_of(bad[i])));
    char name[FRAME_PATH_MAX + 1];
    memset(name, 'x', sizeof name);
    assert_true(frame_path_ok((struct str){name, FRAME_PATH_MAX}));
    assert_false(frame_path_ok((struct str){name, FRAME_PATH_MAX + 1}));
    assert_false(frame_path_ok((struct str){"a\0b", 3}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_frames_come_back),
        cmocka_unit_test(every_cut_of_a_frame_asks_for_more),
        cmocka_unit_test(a_header_over_its_bound_is_refused),
        cmocka_unit_test(a_long_payload_is_split),
        cmocka_unit_test(an_exit_comes_back_whole),
        cmocka_unit_test(a_spec_comes_back),
        cmocka_unit_test(bad_specs_are_refused),
        cmocka_unit_test(every_cut_of_a_spec_is_refused),
        cmocka_unit_test(a_list_has_its_bound),
        cmocka_unit_test(files_and_bounds_come_back),
        cmocka_unit_test(paths_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
