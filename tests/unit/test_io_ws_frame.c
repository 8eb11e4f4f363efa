/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http/ws_frame.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

enum { MASKED = 0x80, FIN = 0x80 };

/* A client's frame: first byte as given, masked with 1 2 3 4. */
static void frame(struct buf *out, unsigned first, const char *payload, size_t n)
{
    buf_append_char(out, (char)first);
    if (n < 126) {
        buf_append_char(out, (char)(MASKED | n));
    } else {
        buf_append_char(out, (char)(MASKED | 126));
        buf_append_char(out, (char)(n >> 8));
        buf_append_char(out, (char)n);
    }
    buf_append(out, "\x01\x02\x03\x04", 4);
    for (size_t i = 0; i < n; i++)
        buf_append_char(out, (char)(payload[i] ^ (char)(1 + i % 4)));
}

/* Decodes `in` in pieces of `step`; what came is written as text: "M(hi) P() C1000 F1002". */
static void decode(struct str in, size_t step, size_t max, struct buf *told)
{
    struct ws_decoder d;
    struct ws_event e = {.kind = WS_MORE};
    ws_decoder_init(&d, max);
    for (size_t at = 0; at < in.n && e.kind != WS_FAIL;) {
        size_t piece = step < in.n - at ? step : in.n - at;
        at += ws_decode(&d, (struct str){in.p + at, piece}, &e);
        if (e.kind == WS_MESSAGE)
            buf_printf(told, "%c(" STR_FMT ")", e.text ? 'M' : 'B', STR_ARG(e.data));
        else if (e.kind == WS_GOT_PING || e.kind == WS_GOT_PONG)
            buf_printf(told, "%c(" STR_FMT ")", e.kind == WS_GOT_PING ? 'P' : 'O', STR_ARG(e.data));
        else if (e.kind == WS_GOT_CLOSE || e.kind == WS_FAIL)
            buf_printf(told, "%c%u", e.kind == WS_FAIL ? 'F' : 'C', e.code);
    }
    ws_decoder_free(&d);
}

static void expect(struct str in, const char *want)
{
    for (size_t step = 1; step <= in.n; step++) {
        auto_buf told = BUF_INIT(1 << 16);
        decode(in, step, 1000, &told);
        assert_string_equal(buf_cstr(&told), want);
    }
}

static void expect_frame(unsigned first, const char *payload, size_t n, const char *want)
{
    auto_buf in = BUF_INIT(1 << 17);
    frame(&in, first, payload, n);
    expect(buf_str(&in), want);
}

static void test_messages(void **state)
{
    (void)state;
    auto_buf in = BUF_INIT(1 << 16);
    frame(&in, FIN | WS_TEXT, "hi", 2);
    frame(&in, WS_TEXT, "a\xc3", 2);
    frame(&in, FIN | WS_PING, "p", 1);
    frame(&in, WS_CONTINUE, "\xa4", 1);
    frame(&in, FIN | WS_CONTINUE, "", 0);
    frame(&in, FIN | WS_BINARY, "x", 1);
    frame(&in, FIN | WS_TEXT, "", 0);
    frame(&in, FIN | WS_PONG, "", 0);
    frame(&in, FIN | WS_CLOSE,
          "\x03\xe8"
          "bye",
          5);
    expect(buf_str(&in), "M(hi)P(p)M(a\xc3\xa4)B(x)M()O()C1000");
}

static void test_length_of_16_bits(void **state)
{
    (void)state;
    char text[300];
    memset(text, 'a', sizeof text);
    auto_buf want = BUF_INIT(400);
    buf_printf(&want, "M(%.300s)", text);
    expect_frame(FIN | WS_TEXT, text, 300, buf_cstr(&want));
}

static void test_refused(void **state)
{
    (void)state;
    expect(STR("\x81\x02hi"), "F1002");                 /* not masked */
    expect_frame(FIN | 0x40 | WS_TEXT, "", 0, "F1002"); /* RSV1 */
    expect_frame(FIN | 0x20 | WS_TEXT, "", 0, "F1002");
    expect_frame(FIN | 0x10 | WS_TEXT, "", 0, "F1002");
    for (unsigned opcode = 3; opcode < 16; opcode++)
        if (opcode < 8 || opcode > 10)
            expect_frame(FIN | opcode, "", 0, "F1002");
    expect_frame(WS_PING, "", 0, "F1002");                    /* fragmented control */
    expect(STR("\x89\xfe\x00\x7e"), "F1002");                 /* ping of 126 bytes */
    expect_frame(FIN | WS_CONTINUE, "", 0, "F1002");          /* continues nothing */
    expect(STR("\x81\xfe\x00\x05\x01\x02\x03\x04"), "F1002"); /* length not minimal */
    expect(STR("\x81\xff\x00\x00\x00\x00\x00\x00\x00\x05\x01\x02\x03\x04"), "F1002");
    expect(STR("\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04"), "F1002");
    expect(STR("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04"), "F1009");
    expect_frame(FIN | WS_TEXT, "\xff", 1, "F1007");
    expect_frame(WS_TEXT, "ab\xc0\xae", 4, "F1007"); /* before the message ends */
    expect_frame(FIN | WS_TEXT, "\xc3", 1, "F1007"); /* cut */
    expect_frame(FIN | WS_CLOSE, "\x03", 1, "F1002");
    expect_frame(FIN | WS_CLOSE, "\x03\xe8\xff", 3, "F1007");
}

static void test_new_message_inside_another(void **state)
{
    (void)state;
    auto_buf in = BUF_INIT(1 << 10);
    frame(&in, WS_TEXT, "a", 1);
    frame(&in, FIN | WS_TEXT, "b", 1);
    expect(buf_str(&in), "F1002");
}

static void test_fragments_are_bounded_together(void **state)
{
    (void)state;
    char text[600];
    memset(text, 'a', sizeof text);
    auto_buf in = BUF_INIT(1 << 12);
    frame(&in, WS_TEXT, text, 600);
    frame(&in, FIN | WS_CONTINUE, text, 600);
    expect(buf_str(&in), "F1009");
}

static void test_close_codes(void **state)
{
    (void)state;
    static const unsigned bad[] = {0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char payload[2] = {(char)(bad[i] >> 8), (char)bad[i]};
        expect_frame(FIN | WS_CLOSE, payload, 2, "F1002");
    }
    expect_frame(FIN | WS_CLOSE, "", 0, "C1005");
    expect_frame(FIN | WS_CLOSE, "\x0b\xb8", 2, "C3000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_length_of_16_bits),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_new_message_inside_another),
        cmocka_unit_test(test_fragments_are_bounded_together),
        cmocka_unit_test(test_close_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
