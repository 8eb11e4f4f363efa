/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http/head.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

/* 0: accepted; else the status of the refusal; -1: not complete. */
static int parse(const char *text, struct http_head *head)
{
    struct http_refusal refusal = {0};
    size_t scanned = 0, length = 0;
    struct str in = str_of(text);
    enum err e = http_head_end(in, &scanned, &length, &refusal);
    if (e == ERR_AGAIN)
        return -1;
    if (e == ERR_OK)
        e = http_head_parse((struct str){text, length}, head, &refusal);
    assert_true(e == ERR_OK || refusal.details != NULL);
    return e == ERR_OK ? 0 : refusal.status;
}

#define LINE "GET / HTTP/1.1\r\nHost: a\r\n"

static void test_heads(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } table[] = {
        {LINE "\r\n", 0},
        {"GET / HTTP/1.1\r\nHost: a", -1},
        {"GET / HTTP/1.1\nHost: a\n\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400},
        {"\r\nGET / HTTP/1.1\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.0\r\n\r\n", 0},
        {LINE "Host: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
        {LINE "X : y\r\n\r\n", 400},
        {LINE " folded\r\n\r\n", 400},
        {LINE "X: y\r\n folded\r\n\r\n", 400},
        {LINE "no colon\r\n\r\n", 400},
        {LINE ": empty\r\n\r\n", 400},
        {LINE "X: a\tb\r\n\r\n", 0},
        {LINE "X: a\x01\r\n\r\n", 400},
        {LINE "X: a\x7f\r\n\r\n", 400},
        {LINE "X: \xff\r\n\r\n", 0},
        {LINE "X\xff: a\r\n\r\n", 400},
        {LINE "Content-Length: 5\r\n\r\n", 0},
        {LINE "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
        {LINE "Content-Length: 5, 5\r\n\r\n", 400},
        {LINE "Content-Length: -1\r\n\r\n", 400},
        {LINE "Content-Length: +5\r\n\r\n", 400},
        {LINE "Content-Length: 0x5\r\n\r\n", 400},
        {LINE "Content-Length: 5 5\r\n\r\n", 400},
        {LINE "Content-Length: \r\n\r\n", 400},
        {LINE "Content-Length: 5;\r\n\r\n", 400},
        {LINE "Content-Length: 99999999999999999999\r\n\r\n", 400},
        {LINE "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {LINE "Transfer-Encoding: chunked\r\n\r\n", 0},
        {LINE "Transfer-Encoding: Chunked\r\n\r\n", 0},
        {LINE "Transfer-Encoding: chunked, identity\r\n\r\n", 501},
        {LINE "Transfer-Encoding: identity, chunked\r\n\r\n", 501},
        {LINE "Transfer-Encoding: chunked, chunked\r\n\r\n", 501},
        {LINE "Transfer-Encoding: xchunked\r\n\r\n", 501},
        {LINE "Transfer-Encoding: \x0b"
              "chunked\r\n\r\n",
         400},
        {LINE "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET / HTTP/0.9\r\n\r\n", 505},
        {"GET /\r\n\r\n", 400},
        {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505},
        {"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400},
        {"GET / http/1.1\r\nHost: a\r\n\r\n", 400},
        {"PRI * HTTP/2.0\r\n\r\n", 505},
        {"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {LINE "Expect: 200-ok\r\n\r\n", 417},
        {"\x16\x03\x01", 400},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct http_head head;
        int status = parse(table[i].text, &head);
        if (status != table[i].status)
            fail_msg("row %zu: %d instead of %d: %s", i, status, table[i].status, table[i].text);
    }
}

static void test_nul(void **state)
{
    (void)state;
    struct http_refusal refusal = {0};
    size_t scanned = 0, length = 0;
    struct str in = STR("GET / HTTP/1.1\r\nX: a\0b\r\n\r\n");
    assert_int_equal(http_head_end(in, &scanned, &length, &refusal), ERR_PROTOCOL);
    assert_int_equal(refusal.status, 400);
}

static void test_long(void **state)
{
    (void)state;
    static char text[HTTP_HEAD_MAX + 10];
    struct http_refusal refusal = {0};
    size_t scanned = 0, length = 0;
    memset(text, 'a', sizeof text);
    assert_int_equal(http_head_end((struct str){text, HTTP_LINE_MAX}, &scanned, &length, &refusal),
                     ERR_PROTOCOL);
    assert_int_equal(refusal.status, 414);
    size_t n = (size_t)snprintf(text, sizeof text, LINE "X: ");
    text[n] = 'a';
    scanned = 0;
    assert_int_equal(http_head_end((struct str){text, sizeof text}, &scanned, &length, &refusal),
                     ERR_PROTOCOL);
    assert_int_equal(refusal.status, 431);
}

static void test_many_headers(void **state)
{
    (void)state;
    auto_buf text = BUF_INIT(HTTP_HEAD_MAX);
    buf_append_cstr(&text, LINE);
    for (int i = 0; i < 200; i++)
        buf_append_cstr(&text, "A: b\r\n");
    buf_append_cstr(&text, "\r\n");
    struct http_head head;
    assert_int_equal(parse(buf_cstr(&text), &head), 431);
}

static void test_meaning(void **state)
{
    (void)state;
    struct http_head head;
    assert_int_equal(
        parse("POST /x?y HTTP/1.1\r\nhost: a\r\nCONTENT-LENGTH: 7\r\nX: \t v \r\nx: w\r\n\r\n", &head), 0);
    assert_true(str_eq(head.method, STR("POST")) && str_eq(head.target, STR("/x?y")));
    assert_int_equal(head.framing, HTTP_BODY_LENGTH);
    assert_int_equal(head.content_length, 7);
    unsigned count;
    assert_true(str_eq(http_head_find(&head, STR("X"), &count), STR("v")));
    assert_int_equal(count, 2);
    assert_true(head.keep_alive);
    assert_int_equal(parse(LINE "Connection: foo, Close\r\n\r\n", &head), 0);
    assert_false(head.keep_alive);
    assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n", &head), 0);
    assert_false(head.keep_alive);
    assert_int_equal(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &head), 0);
    assert_true(head.keep_alive);
    assert_int_equal(parse(LINE "Connection: keep-alive, Upgrade\r\nContent-Length: 0\r\n\r\n", &head), 0);
    assert_true(head.connection_upgrade && head.framing == HTTP_BODY_NONE);
}

static void test_split_anywhere(void **state)
{
    (void)state;
    struct str text = STR(LINE "X: y\r\n\r\nrest");
    size_t head_length = text.n - 4;
    for (size_t cut = 0; cut < head_length; cut++) {
        struct http_refusal refusal;
        size_t scanned = 0, length = 0;
        assert_int_equal(http_head_end((struct str){text.p, cut}, &scanned, &length, &refusal), ERR_AGAIN);
        assert_int_equal(http_head_end(text, &scanned, &length, &refusal), ERR_OK);
        assert_int_equal(length, head_length);
    }
}

/* ---- targets ---- */

static void test_targets(void **state)
{
    (void)state;
    static const struct {
        const char *target, *path; /* NULL: 400 */
    } table[] = {
        {"/exec", "/exec"},
        {"//exec", "/exec"},
        {"/v1//jobs///x", "/v1/jobs/x"},
        {"/", "/"},
        {"/a/", "/a/"},
        {"/%65xec", "/exec"},
        {"/a%20b", "/a b"},
        {"/%2565xec", "/%65xec"},
        {"http://evil/exec", "/exec"},
        {"HTTPS://evil", "/"},
        {"/exec;x", "/exec;x"},
        {"/%c3%a4", "\xc3\xa4"},
        {"//evil", "/evil"},
        {"/../etc/passwd", NULL},
        {"/%2e%2e/", NULL},
        {"/a/./b", NULL},
        {"/a/..", NULL},
        {"/health/../exec", NULL},
        {"/health%2f..%2fexec", NULL},
        {"/exec%00", NULL},
        {"/%c0%ae%c0%ae/", NULL},
        {"/%zz", NULL},
        {"/%", NULL},
        {"/%4", NULL},
        {"*", NULL},
        {"exec", NULL},
        {"ftp://a/b", NULL},
        {"/%0a", NULL},
        {"/%ff", NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        auto_arena arena = ARENA_INIT(1 << 16);
        struct http_target t;
        struct http_refusal refusal;
        enum err e = http_target_parse(str_of(table[i].target), &arena, &t, &refusal);
        if ((e == ERR_OK) != (table[i].path != NULL))
            fail_msg("%s: %d", table[i].target, e);
        if (e == ERR_OK && strcmp(table[i].target, "/%c3%a4") != 0)
            assert_true(str_eq(t.path, str_of(table[i].path)));
    }
}

static void test_query(void **state)
{
    (void)state;
    auto_arena arena = ARENA_INIT(1 << 16);
    struct http_target t;
    struct http_refusal refusal;
    assert_int_equal(http_target_parse(STR("/x?a=1&b=%20+&&c&d=x=y"), &arena, &t, &refusal), ERR_OK);
    assert_int_equal(t.query_count, 4);
    assert_true(str_eq(t.query[1].value, STR("  ")));
    assert_true(str_eq(t.query[2].name, STR("c")) && t.query[2].value.n == 0);
    assert_true(str_eq(t.query[3].value, STR("x=y")));
    assert_int_equal(http_target_parse(STR("/x?a=%"), &arena, &t, &refusal), ERR_PROTOCOL);
    assert_int_equal(http_target_parse(STR("/x?a=%00"), &arena, &t, &refusal), ERR_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),   cmocka_unit_test(test_nul),
        cmocka_unit_test(test_long),    cmocka_unit_test(test_many_headers),
        cmocka_unit_test(test_meaning), cmocka_unit_test(test_split_anywhere),
        cmocka_unit_test(test_targets), cmocka_unit_test(test_query),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
