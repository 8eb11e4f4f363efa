/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http/chunked.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

/* Feeds `text` in pieces that end at `cut` and, after it, of `step` bytes. */
static enum err decode(const char *text, size_t n, size_t cut, size_t step, struct buf *out,
                       size_t *ret_taken)
{
    struct chunked c = {0};
    enum err e = ERR_AGAIN;
    size_t at = 0;
    while (e == ERR_AGAIN && at < n) {
        size_t piece = at < cut ? cut - at : step;
        piece = piece < n - at ? piece : n - at;
        size_t used = 0;
        e = chunked_decode(&c, (struct str){text + at, piece}, out, &used);
        if (e == ERR_AGAIN)
            assert_int_equal(used, piece);
        at += used;
    }
    *ret_taken = at;
    return e;
}

/* Whole, byte by byte, and split at every position. */
static void expect(const char *text, size_t n, enum err want, const char *body, size_t want_taken)
{
    for (size_t cut = 0; cut <= n + 1; cut++) {
        auto_buf out = BUF_INIT(1 << 20);
        size_t taken = 0;
        enum err e = decode(text, n, cut == n + 1 ? 0 : cut, cut == n + 1 ? 1 : n, &out, &taken);
        assert_int_equal(e, want);
        if (want == ERR_OK) {
            assert_string_equal(buf_cstr(&out), body);
            assert_int_equal(taken, want_taken);
        }
    }
}

static void good(const char *text, const char *body)
{
    expect(text, strlen(text), ERR_OK, body, strlen(text));
}

static void bad(const char *text)
{
    expect(text, strlen(text), ERR_PROTOCOL, NULL, 0);
}

static void test_good(void **state)
{
    (void)state;
    good("0\r\n\r\n", "");
    good("5\r\nhello\r\n0\r\n\r\n", "hello");
    good("5;a=\"b\"\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\nContent-Length: 9\r\n\r\n", "hello world");
    good("00000005\r\nhello\r\n000\r\n\r\n", "hello");
    good("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789");
}

static void test_stops_at_the_end(void **state)
{
    (void)state;
    const char *text = "1\r\nx\r\n0\r\n\r\nGET /next HTTP/1.1\r\n";
    expect(text, strlen(text), ERR_OK, "x", 11);
}

static void test_bad(void **state)
{
    (void)state;
    const char *table[] = {
        "-1\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5_0\r\n",
        "11111111111111111\r\n",
        "\r\nhello",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 ;\r\nhello",
        "5\nhello\n0\n\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\n",
        "5;a\nb\r\n",
        "5\rX",
        "g\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\n folded\r\n\r\n",
        "0\r\nX: \x01\r\n\r\n",
        "5;\x01\r\n",
        "0\r\n\rX",
        "0\rX",
        "+5\r\nhello\r\n",
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        bad(table[i]);
}

static void test_overhead_is_bounded(void **state)
{
    (void)state;
    struct chunked c = {0};
    auto_buf out = BUF_INIT(1 << 24);
    enum err e = ERR_AGAIN;
    size_t used, chunks = 0;
    for (; e == ERR_AGAIN && chunks < 100000; chunks++)
        e = chunked_decode(&c, STR("1\r\nx\r\n"), &out, &used);
    assert_int_equal(e, ERR_PROTOCOL);
    assert_true(chunks < 4000);
}

static void test_size_is_bounded(void **state)
{
    (void)state;
    struct chunked c = {0};
    auto_buf out = BUF_INIT(4);
    size_t used;
    assert_int_equal(chunked_decode(&c, STR("5\r\nhello\r\n"), &out, &used), ERR_FULL);
    /* The largest size that is read at all does not overflow. */
    struct chunked huge = {0};
    assert_int_equal(chunked_decode(&huge, STR("7ffffffffffffff\r\nx"), &out, &used), ERR_FULL);
    struct chunked over = {0};
    assert_int_equal(chunked_decode(&over, STR("ffffffffffffffff\r\nx"), &out, &used), ERR_PROTOCOL);
}

/* Whether the next bytes make it known that the body will have more than `max`. */
static bool exceeds_after(struct chunked *c, const char *text, uint64_t max)
{
    auto_buf out = BUF_INIT(64);
    size_t used = 0;
    assert_int_equal(chunked_decode(c, str_of(text), &out, &used), ERR_AGAIN);
    return chunked_exceeds(c, max);
}

static void test_a_size_counts_when_its_line_is_whole(void **state)
{
    (void)state;
    struct chunked c = {0};
    assert_false(exceeds_after(&c, "ffffff", 7));
    assert_false(exceeds_after(&c, "\r", 7));
    assert_true(exceeds_after(&c, "\n", 7));
    c = (struct chunked){0};
    assert_false(exceeds_after(&c, "4\r\nab", 7));
    assert_false(exceeds_after(&c, "cd\r\n", 7));
    assert_false(exceeds_after(&c, "3\r\n", 7));
    assert_true(chunked_exceeds(&c, 6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_stops_at_the_end),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_overhead_is_bounded),
        cmocka_unit_test(test_size_is_bounded),
        cmocka_unit_test(test_a_size_counts_when_its_line_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
