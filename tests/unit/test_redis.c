/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and the codec; the connection itself is tested against a real server in tests/integration. */
#include "io/redis/codec.h"

#include "unit.h"

#include <string.h>

static void addresses_are_read(void **state)
{
    (void)state;
    struct redis_url u;
    assert_int_equal(redis_url_parse(STR("redis://me:p%40ss@h.example:7000/3"), &u, NULL), ERR_OK);
    assert_string_equal(u.host, "h.example");
    assert_string_equal(u.user, "me");
    assert_string_equal(u.password, "p@ss");
    assert_int_equal(u.port, 7000);
    assert_int_equal(u.db, 3);
    assert_int_equal(redis_url_parse(STR("rediss://[::1]"), &u, NULL), ERR_OK);
    assert_true(u.tls && u.port == 6379 && strcmp(u.host, "::1") == 0);
    assert_int_equal(redis_url_parse(STR("unix:///run/r.sock?db=2"), &u, NULL), ERR_OK);
    assert_true(u.local && u.db == 2 && strcmp(u.host, "/run/r.sock") == 0);
}

static void bad_addresses_are_refused_without_the_password(void **state)
{
    (void)state;
    static const struct str bad[] = {STR(""),
                                     STR("http://h"),
                                     STR("redis://"),
                                     STR("redis://h:0"),
                                     STR("redis://h:x"),
                                     STR("redis://h:65536"),
                                     STR("redis://h/x"),
                                     STR("redis://:secret%4@h"),
                                     STR("unix://relative"),
                                     STR("redis://[::1"),
                                     STR("redis://:secret%00@h")};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct redis_url u = {.port = 1};
        struct errinfo info = {0};
        assert_int_equal(redis_url_parse(bad[i], &u, &info), ERR_INVALID);
        assert_int_equal(u.port, 1);
        assert_null(strstr(info.text, "secret"));
    }
}

static const char stream[] =
    "+OK\r\n:42\r\n$-1\r\n*3\r\n$3\r\na\r\n\r\n*1\r\n:7\r\n$0\r\n\r\n-ERR no\r\n*0\r\n";

static void check_stream(struct redis_codec *c, size_t *at)
{
    struct redis_value *v;
    while (redis_codec_next(c, &v) == ERR_OK) {
        switch ((*at)++) {
        case 0:
            assert_true(v->type == REDIS_STATUS && str_eq(v->text, STR("OK")));
            break;
        case 1:
            assert_int_equal(redis_integer(v), 42);
            break;
        case 2:
            assert_int_equal(v->type, REDIS_NIL);
            break;
        case 3:
            assert_true(v->count == 3 && str_eq(redis_text(redis_item(v, 0)), STR("a\r\n")));
            assert_int_equal(redis_integer(redis_item(redis_item(v, 1), 0)), 7);
            assert_int_equal(redis_text(redis_item(v, 2)).n, 0);
            break;
        case 4:
            assert_true(v->type == REDIS_ERROR && str_eq(v->text, STR("ERR no")));
            break;
        default:
            assert_true(v->type == REDIS_ARRAY && v->count == 0);
        }
        redis_value_free(v);
    }
}

static void replies_are_the_same_however_they_are_cut(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < sizeof stream - 1; cut++) {
        struct redis_codec *c = redis_codec_new(1 << 20);
        size_t at = 0;
        assert_int_equal(redis_codec_feed(c, (struct str){stream, cut}), ERR_OK);
        check_stream(c, &at);
        assert_int_equal(redis_codec_feed(c, (struct str){stream + cut, sizeof stream - 1 - cut}), ERR_OK);
        check_stream(c, &at);
        assert_int_equal(at, 6);
        redis_codec_free(c);
    }
}

static void hostile_replies_end_the_stream(void **state)
{
    (void)state;
    static const struct str bad[] = {
        STR("!x\r\n"),
        STR("$x\r\n"),
        STR("*2000000\r\n"),
        STR(">2\r\n"),
        STR("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"),
        STR("HTTP/1.1 200 OK\r\n\r\n")};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct redis_codec *c = redis_codec_new(1 << 20);
        struct redis_value *v;
        enum err e = redis_codec_feed(c, bad[i]);
        if (!e)
            e = redis_codec_next(c, &v);
        assert_true(e == ERR_PROTOCOL || e == ERR_NOMEM);
        redis_codec_free(c);
    }
    struct redis_codec *c = redis_codec_new(64);
    struct redis_value *v;
    assert_int_equal(redis_codec_feed(c, STR("$536870912\r\n")), ERR_OK);
    assert_int_equal(redis_codec_next(c, &v), ERR_AGAIN);
    char much[100] = {0};
    assert_int_equal(redis_codec_feed(c, (struct str){much, sizeof much}), ERR_FULL);
    redis_codec_free(c);
}

static void commands_are_length_prefixed(void **state)
{
    (void)state;
    auto_buf out = BUF_INIT(1000);
    redis_format(&out, (struct str[]){STR("GET"), STR("a\r\n*1\r\n$8\r\nFLUSHALL\r\n")}, 2);
    assert_string_equal(buf_cstr(&out), "*2\r\n$3\r\nGET\r\n$21\r\na\r\n*1\r\n$8\r\nFLUSHALL\r\n\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read),
        cmocka_unit_test(bad_addresses_are_refused_without_the_password),
        cmocka_unit_test(replies_are_the_same_however_they_are_cut),
        cmocka_unit_test(hostile_replies_end_the_stream),
        cmocka_unit_test(commands_are_length_prefixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
