/* SPDX-License-Identifier: Apache-2.0 */
/* The connection over a transport of memory: each input whole, byte by byte, and split at every position. */
#include "base/clock.h"
#include "io/http/conn.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

struct scene {
    struct conn_env env;
    struct http_conn *conn;
    struct buf sent;   /* what the peer got */
    struct buf called; /* "GET /a;" for each request that a handler saw */
    struct http_request *later;
    bool closed, fin, reading, blocked, want_writable, reply_in_head, broken, pause_body;
    unsigned gone;
    size_t accept; /* bytes after which the transport blocks; 0: never */
};

static bool wire_write(void *wire, char *bytes, size_t n, bool *ret_blocked)
{
    struct scene *s = wire;
    if (s->broken)
        return false;
    assert_false(s->blocked);
    buf_append(&s->sent, bytes, n);
    if (s->accept != 0 && s->sent.len >= s->accept)
        s->blocked = true;
    *ret_blocked = s->blocked;
    return true;
}

static void wire_want(void *wire)
{
    ((struct scene *)wire)->want_writable = true;
}

static void wire_read_on(void *wire, bool on)
{
    ((struct scene *)wire)->reading = on;
}

static void wire_fin(void *wire)
{
    ((struct scene *)wire)->fin = true;
}

static void wire_close(void *wire)
{
    ((struct scene *)wire)->closed = true;
}

static const struct conn_wire ops = {wire_write, wire_want, wire_read_on, wire_fin, wire_close};

static void on_gone(void *user, struct http_request *r)
{
    (void)r;
    ((struct scene *)user)->gone++;
}

/* "<piece>" for each; a scene may pause at each, "!" is answered. */
static void on_piece(void *user, struct http_request *r, struct str bytes)
{
    struct scene *s = user;
    buf_printf(&s->called, "<" STR_FMT ">", STR_ARG(bytes));
    if (s->pause_body) {
        s->later = r;
        http_body_pause(r, true);
    }
    if (memchr(bytes.p, '!', bytes.n) != NULL)
        http_reply(r, 413, "text/plain", NULL, STR("no"));
}

static void on_head(void *arg, struct http_request *r)
{
    struct scene *s = arg;
    if (str_eq(http_path(r), STR("/pieces"))) {
        http_set_user(r, s);
        http_on_gone(r, on_gone);
        http_body_stream(r, on_piece);
    }
    if (s->reply_in_head)
        http_reply(r, 401, "text/plain", NULL, STR("no\n"));
}

static void on_request(void *arg, struct http_request *r)
{
    struct scene *s = arg;
    struct str path = http_path(r);
    buf_printf(&s->called, STR_FMT " " STR_FMT "[" STR_FMT "];", STR_ARG(http_method(r)), STR_ARG(path),
               STR_ARG(http_body(r)));
    if (str_eq(path, STR("/later"))) {
        s->later = r;
        http_set_user(r, s);
        http_on_gone(r, on_gone);
        return;
    }
    if (str_eq(path, STR("/sized")) || str_eq(path, STR("/short"))) {
        http_stream_begin_sized(r, 200, "text/plain", NULL, str_eq(path, STR("/sized")) ? 3 : 4);
        http_stream_write(r, STR("abc"));
        http_stream_end(r);
        return;
    }
    if (str_eq(path, STR("/stream"))) {
        http_stream_begin(r, 200, "text/plain", NULL);
        http_stream_write(r, STR("abc"));
        http_stream_end(r);
        return;
    }
    http_reply(r, 200, "text/plain", NULL, path);
}

static void open_scene(struct scene *s)
{
    *s = (struct scene){.reading = true};
    buf_init(&s->sent, 1 << 24);
    buf_init(&s->called, 1 << 20);
    s->env = (struct conn_env){.ops = &ops};
    s->env.options = (struct http_server_options){.max_body = 1000,
                                                  .head_timeout_ms = 1000,
                                                  .body_timeout_ms = 1000,
                                                  .idle_timeout_ms = 1000,
                                                  .write_timeout_ms = 1000,
                                                  .on_head = on_head,
                                                  .on_request = on_request,
                                                  .arg = s};
    list_init(&s->env.conns);
    s->conn = conn_new(&s->env, s, "192.0.2.1");
    assert_non_null(s->conn);
}

static void close_scene(struct scene *s)
{
    conn_gone(s->conn);
    buf_free(&s->sent);
    buf_free(&s->called);
}

static void feed(struct scene *s, struct str in, size_t cut, size_t step)
{
    for (size_t at = 0; at < in.n && !s->closed;) {
        size_t piece = at < cut ? cut - at : step;
        piece = piece < in.n - at ? piece : in.n - at;
        conn_received(s->conn, (struct str){in.p + at, piece});
        at += piece;
    }
}

static unsigned count_of(const struct buf *b, const char *needle)
{
    unsigned n = 0;
    size_t length = strlen(needle);
    for (size_t at = 0; at + length <= b->len;) {
        const char *p = memmem(b->data + at, b->len - at, needle, length);
        if (p == NULL)
            break;
        n++;
        at = (size_t)(p - b->data) + 1;
    }
    return n;
}

/* `called`: requests that handlers saw; `status`: of the last answer; `fin`: nothing more is read. */
static void expect(struct str in, const char *called, const char *status, unsigned answers, bool fin)
{
    for (size_t cut = 0; cut <= in.n + 1; cut++) {
        struct scene s;
        open_scene(&s);
        feed(&s, in, cut == in.n + 1 ? 0 : cut, cut == in.n + 1 ? 1 : in.n);
        assert_string_equal(buf_cstr(&s.called), called);
        assert_int_equal(count_of(&s.sent, "HTTP/1.1 "), answers);
        if (status[0] != '\0')
            assert_non_null(strstr(buf_cstr(&s.sent), status));
        assert_int_equal(s.fin, fin);
        close_scene(&s);
    }
}

#define HEAD   " HTTP/1.1\r\nHost: a\r\n"
#define POISON "GET /poison" HEAD "\r\n"

static void test_plain(void **state)
{
    (void)state;
    expect(STR("GET /a" HEAD "\r\n"), "GET /a[];", "200 OK", 1, false);
    expect(STR("GET /a" HEAD "\r\nGET /b" HEAD "\r\n"), "GET /a[];GET /b[];", "200 OK", 2, false);
    expect(STR("POST /a" HEAD "Content-Length: 3\r\n\r\nabcGET /b" HEAD "\r\n"), "POST /a[abc];GET /b[];",
           "200", 2, false);
    expect(STR("POST /a" HEAD
               "Transfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nHost: evil\r\n\r\nGET /b" HEAD "\r\n"),
           "POST /a[abc];GET /b[];", "200", 2, false);
    expect(STR("GET /a" HEAD "Connection: close\r\n\r\n" POISON), "GET /a[];", "Connection: close", 1, true);
    expect(STR("GET /a HTTP/1.0\r\n\r\n" POISON), "GET /a[];", "Connection: close", 1, true);
    expect(STR("GET /stream" HEAD "\r\nGET /b" HEAD "\r\n"), "GET /stream[];GET /b[];",
           "3\r\nabc\r\n0\r\n\r\n", 2, false);
    expect(STR("GET /stream HTTP/1.0\r\n\r\n"), "GET /stream[];", "\r\n\r\nabc", 1, true);
}

static void test_head_has_no_body(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    feed(&s, STR("HEAD /abc" HEAD "\r\n"), 0, 1);
    assert_non_null(strstr(buf_cstr(&s.sent), "Content-Length: 4\r\n"));
    assert_string_equal(s.sent.data + s.sent.len - 4, "\r\n\r\n");
    close_scene(&s);
}

static void test_poison_is_never_run(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        "Content-Length: 5, 6\r\n\r\nabcde",
        "Content-Length: -1\r\n\r\n",
        "Content-Length : 5\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        "X: y\nContent-Length: 5\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        auto_buf in = BUF_INIT(1 << 12);
        buf_printf(&in, "POST /a" HEAD "%s" POISON, heads[i]);
        expect(buf_str(&in), "", "", 1, true);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    expect(STR("POST /a" HEAD "Content-Length: 1001\r\n\r\n"), "", "413 ", 1, true);
    expect(STR("GET /../x" HEAD "\r\n" POISON), "", "400 ", 1, true);
    expect(STR("GET /%zz" HEAD "\r\n" POISON), "", "400 ", 1, true);
}

static void test_chunked_body_over_the_limit(void **state)
{
    (void)state;
    auto_buf in = BUF_INIT(1 << 12);
    buf_append_cstr(&in, "POST /a" HEAD "Transfer-Encoding: chunked\r\n\r\n3e9\r\n");
    for (int i = 0; i < 1001; i++)
        buf_append_char(&in, 'x');
    buf_append_cstr(&in, "\r\n0\r\n\r\n" POISON);
    expect(buf_str(&in), "", "413 ", 1, true);
}

static void test_reply_before_the_body_ends_the_connection(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    s.reply_in_head = true;
    feed(&s, STR("POST /a" HEAD "Content-Length: 100\r\n\r\n" POISON), 0, 7);
    assert_int_equal(count_of(&s.sent, "HTTP/1.1 "), 1);
    assert_true(s.fin);
    close_scene(&s);
    open_scene(&s);
    s.reply_in_head = true; /* without a body the connection goes on */
    feed(&s, STR("GET /a" HEAD "\r\nGET /b" HEAD "\r\n"), 0, 5);
    assert_int_equal(count_of(&s.sent, "401 "), 2);
    assert_false(s.fin);
    close_scene(&s);
}

static void test_continue(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    feed(&s, STR("POST /a" HEAD "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"), 0, 4096);
    assert_string_equal(buf_cstr(&s.sent), "HTTP/1.1 100 Continue\r\n\r\n");
    feed(&s, STR("hi"), 0, 1);
    assert_string_equal(buf_cstr(&s.called), "POST /a[hi];");
    close_scene(&s);
}

static void test_later_reply_keeps_the_order(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    feed(&s, STR("GET /later" HEAD "\r\nGET /b" HEAD "\r\n"), 0, 4096);
    assert_string_equal(buf_cstr(&s.called), "GET /later[];");
    assert_int_equal(s.sent.len, 0);
    http_reply(s.later, 200, "text/plain", NULL, STR("first"));
    assert_string_equal(buf_cstr(&s.called), "GET /later[];GET /b[];");
    assert_true(strstr(s.sent.data, "first") < strstr(s.sent.data, "/b"));
    assert_int_equal(s.gone, 0);
    close_scene(&s);
}

static void test_gone_is_told_once(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    feed(&s, STR("GET /later" HEAD "\r\n"), 0, 4096);
    close_scene(&s);
    assert_int_equal(s.gone, 1);
}

/* The earlier of the two, 0: there is none. */
static int64_t next_deadline(const struct scene *s)
{
    int64_t one = s->conn->deadline_ns, two = s->conn->write_deadline_ns;
    return one == 0 || (two != 0 && two < one) ? two : one;
}

static void test_deadlines(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        const char *status; /* "" : closed without a word */
    } table[] = {{"", ""},
                 {"GET / HT", "408 "},
                 {"POST /a" HEAD "Content-Length: 5\r\n\r\nab", "408 "},
                 {"GET /a" HEAD "\r\n", "200 OK"}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct scene s;
        int64_t second = 1000 * 1000000LL, before = clock_mono_ns();
        open_scene(&s);
        feed(&s, str_of(table[i].in), 0, 1);
        assert_true(next_deadline(&s) >= before + second && next_deadline(&s) <= clock_mono_ns() + second);
        conn_tick(s.conn, next_deadline(&s) - 1);
        assert_false(s.closed || s.fin);
        conn_tick(s.conn, next_deadline(&s) + 1);
        assert_true(s.closed || s.fin);
        assert_non_null(strstr(buf_cstr(&s.sent), table[i].status));
        close_scene(&s);
    }
}

static void test_slow_bytes_do_not_extend_a_head(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    feed(&s, STR("G"), 0, 1);
    int64_t deadline = s.conn->deadline_ns;
    feed(&s, STR("ET / "), 0, 1);
    assert_int_equal(s.conn->deadline_ns, deadline);
    close_scene(&s);
}

static void test_a_peer_that_does_not_read(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    s.accept = 1;
    feed(&s, STR("GET /a" HEAD "\r\nGET /b" HEAD "\r\n"), 0, 4096);
    assert_true(s.blocked && s.want_writable && !s.reading);
    conn_tick(s.conn, next_deadline(&s) - 1);
    assert_false(s.closed);
    s.blocked = false; /* it read on: a new deadline */
    s.accept = s.sent.len + 1;
    conn_writable(s.conn);
    assert_true(s.reading);
    feed(&s, STR("GET /c" HEAD "\r\n"), 0, 4096);
    assert_true(s.blocked);
    conn_tick(s.conn, next_deadline(&s) + 1);
    assert_true(s.closed);
    close_scene(&s);
}

static void test_large_reply(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    feed(&s, STR("GET /later" HEAD "\r\nGET /b" HEAD "\r\n"), 0, 4096);
    auto_buf large = BUF_INIT(1 << 22);
    while (large.len < 1 << 21)
        buf_append_cstr(&large, "0123456789abcdef");
    s.accept = 1; /* blocks after each write */
    http_reply(s.later, 200, "text/plain", NULL, buf_str(&large));
    for (int i = 0; i < 100 && s.conn->out.len > 0; i++) {
        s.blocked = false;
        conn_writable(s.conn);
    }
    assert_int_equal(count_of(&s.sent, "0123456789abcdef"), large.len / 16);
    assert_int_equal(count_of(&s.sent, "HTTP/1.1 200"), 2);
    close_scene(&s);
}

static void test_broken_transport(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    feed(&s, STR("GET /later" HEAD "\r\n"), 0, 4096);
    s.broken = true;
    http_reply(s.later, 200, "text/plain", NULL, STR("x"));
    assert_true(s.closed);
    close_scene(&s);
    assert_int_equal(s.gone, 0); /* it was answered */
}

static void test_drain(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    s.env.draining = true;
    conn_drain(s.conn);
    assert_true(s.closed); /* idle */
    close_scene(&s);
    open_scene(&s);
    feed(&s, STR("GET /later" HEAD "\r\n"), 0, 4096);
    s.env.draining = true;
    conn_drain(s.conn);
    assert_false(s.closed);
    http_reply(s.later, 200, "text/plain", NULL, STR("x"));
    assert_non_null(strstr(buf_cstr(&s.sent), "Connection: close"));
    assert_true(s.fin);
    close_scene(&s);
}

static void test_pipelined_flood_is_bounded(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    feed(&s, STR("GET /later" HEAD "\r\n"), 0, 4096);
    size_t fed = 0;
    while (s.reading && fed < 10 * CONN_IN_MAX) {
        feed(&s, STR("GET /b" HEAD "\r\n"), 0, 4096);
        fed += 32;
    }
    assert_false(s.reading);
    assert_true(s.conn->in.len < 2 * CONN_IN_MAX);
    http_reply(s.later, 200, "text/plain", NULL, STR("x"));
    assert_true(s.reading && s.conn->in.len == 0);
    close_scene(&s);
}

static void test_a_body_in_pieces(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    feed(&s, STR("POST /pieces" HEAD "Content-Length: 6\r\n\r\n"), 0, 4096);
    feed(&s, STR("abcdef"), 0, 2);
    feed(&s,
         STR("POST /pieces" HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\nGET /b" HEAD "\r\n"),
         0, 4096);
    assert_string_equal(buf_cstr(&s.called), "<ab><cd><ef>POST /pieces[];<xyz>POST /pieces[];GET /b[];");
    assert_int_equal(s.env.body_bytes, 0);
    close_scene(&s);
}

static void test_a_body_in_pieces_over_its_limit(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    feed(&s, STR("POST /pieces" HEAD "Transfer-Encoding: chunked\r\n\r\n"), 0, 4096);
    for (int i = 0; i < 20; i++)
        feed(
            &s,
            STR("64\r\n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n"),
            0, 4096);
    assert_non_null(strstr(buf_cstr(&s.sent), "413 "));
    assert_int_equal(count_of(&s.called, "<"), 10);
    assert_true(s.fin && s.gone == 1);
    close_scene(&s);
}

static void test_a_body_in_pieces_is_answered_early(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    feed(&s, STR("POST /pieces" HEAD "Content-Length: 6\r\n\r\n"), 0, 4096);
    feed(&s, STR("a!cdef" POISON), 0, 2);
    assert_string_equal(buf_cstr(&s.called), "<a!>");
    assert_non_null(strstr(buf_cstr(&s.sent), "Connection: close"));
    assert_true(s.fin);
    close_scene(&s);
}

static void test_a_paused_body_makes_the_client_wait(void **state)
{
    (void)state;
    static char many[4096];
    memset(many, 'x', sizeof many);
    struct scene s;
    open_scene(&s);
    s.pause_body = true;
    s.env.options.max_body = 1 << 20;
    feed(&s, STR("POST /pieces" HEAD "Content-Length: 1000000\r\n\r\na"), 0, 4096);
    size_t fed = 0;
    for (; s.reading && fed < 500000; fed += sizeof many)
        feed(&s, (struct str){many, sizeof many}, 0, sizeof many);
    assert_false(s.reading);
    assert_int_equal(count_of(&s.called, "<"), 1);
    conn_tick(s.conn, clock_mono_ns() + 3600 * 1000000000LL); /* its deadline rests */
    assert_false(s.closed);
    s.pause_body = false;
    http_body_pause(s.later, false);
    assert_true(s.reading && s.conn->in.len == 0);
    assert_int_equal(count_of(&s.called, "<"), 2);
    conn_tick(s.conn, clock_mono_ns() + 3600 * 1000000000LL);
    assert_non_null(strstr(buf_cstr(&s.sent), "408 "));
    close_scene(&s);
}

static void test_a_reply_with_a_length(void **state)
{
    (void)state;
    expect(STR("GET /sized" HEAD "\r\nGET /b" HEAD "\r\n"), "GET /sized[];GET /b[];", "Content-Length: 3\r\n",
           2, false);
    expect(STR("GET /sized HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b" HEAD "\r\n"),
           "GET /sized[];GET /b[];", "\r\n\r\nabc", 2, false);
    expect(STR("HEAD /short" HEAD "\r\nGET /b" HEAD "\r\n"), "HEAD /short[];GET /b[];",
           "Content-Length: 4\r\n", 2, false);
    struct scene s;
    open_scene(&s);
    feed(&s, STR("GET /short" HEAD "\r\nGET /b" HEAD "\r\n"), 0, 4096);
    assert_true(s.closed); /* one byte is missing: nobody may take it for whole */
    assert_string_equal(buf_cstr(&s.called), "GET /short[];");
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_head_has_no_body),
        cmocka_unit_test(test_poison_is_never_run),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_chunked_body_over_the_limit),
        cmocka_unit_test(test_reply_before_the_body_ends_the_connection),
        cmocka_unit_test(test_continue),
        cmocka_unit_test(test_later_reply_keeps_the_order),
        cmocka_unit_test(test_gone_is_told_once),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_slow_bytes_do_not_extend_a_head),
        cmocka_unit_test(test_a_peer_that_does_not_read),
        cmocka_unit_test(test_large_reply),
        cmocka_unit_test(test_broken_transport),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_pipelined_flood_is_bounded),
        cmocka_unit_test(test_a_body_in_pieces),
        cmocka_unit_test(test_a_body_in_pieces_over_its_limit),
        cmocka_unit_test(test_a_body_in_pieces_is_answered_early),
        cmocka_unit_test(test_a_paused_body_makes_the_client_wait),
        cmocka_unit_test(test_a_reply_with_a_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
