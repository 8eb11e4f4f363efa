/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http/multipart.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What was told, as text: "(name|filename|type)data;" */
struct told {
    struct buf text;
    unsigned open;
};

static enum err on_begin(void *arg, const struct multipart_part *p)
{
    struct told *t = arg;
    assert_int_equal(t->open++, 0);
    buf_printf(&t->text, "(%s|%s|%s)", p->name, p->has_filename ? p->filename : "-", p->type);
    return ERR_OK;
}

static enum err on_data(void *arg, struct str bytes)
{
    struct told *t = arg;
    assert_int_equal(t->open, 1);
    assert_true(bytes.n > 0);
    buf_append_str(&t->text, bytes);
    return ERR_OK;
}

static enum err on_end(void *arg)
{
    struct told *t = arg;
    assert_int_equal(t->open--, 1);
    buf_append_char(&t->text, ';');
    return ERR_OK;
}

static enum err parse(struct str in, size_t cut, size_t step, struct told *t, char why[160])
{
    struct multipart_events events = {.begin = on_begin, .data = on_data, .end = on_end, .arg = t};
    struct multipart m;
    multipart_init(&m, "B-x", 4, &events);
    buf_init(&t->text, 1 << 20);
    t->open = 0;
    enum err e = ERR_AGAIN;
    for (size_t at = 0; (e == ERR_AGAIN || e == ERR_OK) && at < in.n;) {
        size_t n = at < cut ? cut - at : step;
        n = n < in.n - at ? n : in.n - at;
        e = multipart_feed(&m, (struct str){in.p + at, n});
        at += n;
    }
    if (e == ERR_OK || e == ERR_AGAIN)
        e = multipart_end(&m);
    snprintf(why, 160, "%s", m.why);
    multipart_free(&m);
    return e;
}

/* Whole, byte by byte, and split at every position. */
static void expect(struct str in, enum err wanted, const char *told)
{
    for (size_t cut = 0; cut <= in.n + 1; cut++) {
        struct told t;
        char why[160];
        enum err e = parse(in, cut == in.n + 1 ? 0 : cut, cut == in.n + 1 ? 1 : in.n + 1, &t, why);
        assert_int_equal(e, wanted);
        if (wanted)
            assert_non_null(strstr(why, told));
        else
            assert_string_equal(buf_cstr(&t.text), told);
        buf_free(&t.text);
    }
}

#define GOOD(text, told) expect(STR(text), ERR_OK, told)
#define BAD(text, why)   expect(STR(text), ERR_PROTOCOL, why)
#define CD               "Content-Disposition: form-data; name=\"f\""
#define PART(head, data) "--B-x\r\n" head "\r\n\r\n" data "\r\n"
#define END              "--B-x--\r\n"

static void test_good(void **state)
{
    (void)state;
    GOOD("--B-x--", "");
    GOOD("\r\n--B-x--\r\n\r\n", "");
    GOOD(PART(CD, "hello") END, "(f|-|)hello;");
    GOOD(PART(CD, "") END, "(f|-|);");
    GOOD(PART(CD "; filename=\"a/b c.csv\"\r\nContent-Type: text/csv; charset=utf-8", "1,2\r\n") END,
         "(f|a/b c.csv|text/csv; charset=utf-8)1,2\r\n;");
}

static void test_parts(void **state)
{
    (void)state;
    GOOD(PART(CD, "1") PART("content-disposition:form-data;name=g;filename=x.y", "2") END,
         "(f|-|)1;(g|x.y|)2;");
    GOOD(PART(CD "; filename=\"\"\r\nContent-Length: 1\r\nX-Other: \"\r\nContent-Transfer-Encoding: 8bit",
              "2") END,
         "(f||)2;");
}

/* What only looks like a delimiter is data. */
static void test_near_delimiters(void **state)
{
    (void)state;
    GOOD(PART(CD, "\r\n--B-\r\r\n\r\n--B-y\r\n--b-x--B-x\n--B-x\r--B-x\r\n-") END,
         "(f|-|)\r\n--B-\r\r\n\r\n--B-y\r\n--b-x--B-x\n--B-x\r--B-x\r\n-;");
    GOOD(PART(CD, "\r\r\n\r") END, "(f|-|)\r\r\n\r;");
}

static void test_names(void **state)
{
    (void)state;
    GOOD(PART(CD "; filename=\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80.txt\"", "") END,
         "(f|\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80.txt|);");
    GOOD(PART(CD "; filename=\"a\\\"b\\\\c\\d%22;x=y.txt\"", "") END, "(f|a\"b\\c\\d%22;x=y.txt|);");
    GOOD(PART(CD "; filename=\"x\"; filename*=UTF-8''a%20%c3%A4.txt", "") END, "(f|a \xc3\xa4.txt|);");
    GOOD(PART(CD "; filename*=utf-8'en'%E2%82%AC; filename=\"x\"", "") END, "(f|\xe2\x82\xac|);");
    GOOD(PART(CD "; filename*=iso-8859-1''%e4b", "") END, "(f|\xc3\xa4"
                                                          "b|);");
    GOOD(PART(CD " ; foo=\"a;b\" ; filename=x ;", "") END, "(f|x|);");
    BAD(PART(CD "; filename*=UTF-8''a%0d%0aX", "") END, "filename*");
    BAD(PART(CD "; filename*=UTF-8''a%00", "") END, "filename*");
    BAD(PART(CD "; filename*=UTF-8''%c3", "") END, "filename*");
    BAD(PART(CD "; filename*=UTF-8''%e", "") END, "filename*");
    BAD(PART(CD "; filename*=UTF-8''%zz", "") END, "filename*");
    BAD(PART(CD "; filename*=UTF-16''a", "") END, "filename*");
    BAD(PART(CD "; filename*=UTF-8'a", "") END, "filename*");
    BAD(PART(CD "; filename*=\"UTF-8''a b\"", "") END, "filename*");
    BAD(PART(CD "; filename=\"\xff.txt\"", "") END, "UTF-8");
    BAD(PART(CD "; filename=\"a\tb\"", "") END, "control");
    BAD(PART(CD "; filename=\"a\x01\"", "") END, "control");
    BAD(PART(CD "; filename=\"a\0b\"", "") END, "control");
    BAD(PART(CD "; filename=\"a\rb\"", "") END, "control");
    BAD(PART(CD "; filename=\"a\r\nb\"", "") END, "malformed");
    BAD(PART(CD "; filename=\"a\nb\"", "") END, "CRLF");
    BAD(PART(CD "; filename=a; filename=b", "") END, "two file names");
    BAD(PART(CD "; filename*=UTF-8''a; filename*=UTF-8''b", "") END, "two file names");
    BAD(PART(CD "; name=g", "") END, "two names");
    BAD(PART("Content-Disposition: form-data; name=\"\"", "") END, "its name");
    BAD(PART("Content-Disposition: form-data", "") END, "with a name");
    BAD(PART("Content-Disposition: attachment; name=f", "") END, "must be form-data");
    BAD(PART(CD "; filename=\"a", "") END, "malformed");
    BAD(PART(CD "; filename", "") END, "malformed");
    BAD(PART(CD "; filename=", "") END, "malformed");
    BAD(PART(CD "x", "") END, "malformed");
}

static void test_heads(void **state)
{
    (void)state;
    BAD("--B-x\r\n\r\nx\r\n" END, "with a name");
    BAD(PART(CD "\r\n folded", "") END, "without a name");
    BAD(PART(CD "\r\nX y: z", "") END, "without a name");
    BAD(PART(CD "\r\n: z", "") END, "without a name");
    BAD(PART(CD "\nX: y", "") END, "CRLF");
    BAD(PART(CD "\r\n" CD, "") END, "two Content-Disposition");
    BAD(PART(CD "\r\nContent-Type: a\r\nContent-Type: b", "") END, "two Content-Type");
    BAD(PART(CD "\r\nContent-Transfer-Encoding: base64", "") END, "Content-Transfer-Encoding");
}

static void test_framing(void **state)
{
    (void)state;
    BAD("", "ends before");
    BAD("x" PART(CD, "1") END, "does not begin");
    BAD("preamble\r\n" PART(CD, "1") END, "does not begin");
    BAD("--B-y\r\n", "does not begin");
    BAD("--B-x \r\n" CD "\r\n\r\n" END, "behind a boundary");
    BAD("--B-x\n" CD "\r\n\r\n" END, "behind a boundary");
    BAD("--B-x\rx", "no line end");
    BAD("--B-x-x", "behind a boundary");
    BAD("--B-x--x", "behind the last");
    BAD(PART(CD, "1"), "ends before");
    BAD(PART(CD, "1") "--B-x-", "ends before");
    BAD("--B-x\r\n" CD "\r\n\r\nhalf", "ends before");
    BAD("--B-x\r\n" CD, "ends before");
    expect(STR(PART(CD, "1") PART(CD, "2") PART(CD, "3") PART(CD, "4") PART(CD, "5") END), ERR_FULL,
           "part 4");
}

static void test_heads_are_bounded(void **state)
{
    (void)state;
    auto_buf in = BUF_INIT(1 << 20);
    struct told t;
    char why[160];
    buf_append_cstr(&in, "--B-x\r\n" CD "\r\n");
    for (int i = 0; i < 20; i++)
        buf_printf(&in, "X-%d: y\r\n", i);
    buf_append_cstr(&in, "\r\n\r\n" END);
    assert_int_equal(parse(buf_str(&in), 0, 1000, &t, why), ERR_PROTOCOL);
    assert_non_null(strstr(why, "too many header lines"));
    buf_free(&t.text);
    buf_reset(&in);
    buf_append_cstr(&in, "--B-x\r\nX: ");
    for (int i = 0; i < 9000; i++)
        buf_append_char(&in, 'x');
    assert_int_equal(parse(buf_str(&in), 0, 1000, &t, why), ERR_PROTOCOL);
    assert_non_null(strstr(why, "too long"));
    buf_free(&t.text);
    buf_reset(&in);
    buf_append_cstr(&in, "--B-x\r\n" CD "; filename=\"");
    for (int i = 0; i < MULTIPART_FILENAME_MAX + 1; i++)
        buf_append_char(&in, 'x');
    buf_append_cstr(&in, "\"\r\n\r\n\r\n" END);
    assert_int_equal(parse(buf_str(&in), 0, 1000, &t, why), ERR_PROTOCOL);
    assert_non_null(strstr(why, "1024"));
    buf_free(&t.text);
}

static enum err stop(void *arg, struct str bytes)
{
    (void)arg, (void)bytes;
    return ERR_RANGE;
}

static void test_a_callback_ends_it(void **state)
{
    (void)state;
    struct told t = {.text = BUF_INIT(100)};
    struct multipart_events events = {.begin = on_begin, .data = stop, .end = on_end, .arg = &t};
    struct multipart m;
    multipart_init(&m, "B-x", 4, &events);
    assert_int_equal(multipart_feed(&m, STR(PART(CD, "abc") END)), ERR_RANGE);
    assert_int_equal(multipart_feed(&m, STR("x")), ERR_RANGE);
    assert_int_equal(multipart_end(&m), ERR_RANGE);
    multipart_free(&m);
    buf_free(&t.text);
}

static void test_boundary(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        enum err e;
        const char *boundary;
    } rows[] = {
        {"multipart/form-data; boundary=abc", ERR_OK, "abc"},
        {"Multipart/Form-Data;charset=utf-8;BOUNDARY=\"a b=c\"", ERR_OK, "a b=c"},
        {"multipart/form-data; boundary=----formdata-undici-012345678901", ERR_OK,
         "----formdata-undici-012345678901"},
        {"multipart/form-data", ERR_INVALID, NULL},
        {"multipart/form-data; boundary=", ERR_INVALID, NULL},
        {"multipart/form-data; boundary=\"\"", ERR_INVALID, NULL},
        {"multipart/form-data; boundary=\"a \"", ERR_INVALID, NULL},
        {"multipart/form-data; boundary=\"a\\\"b\"", ERR_INVALID, NULL},
        {"multipart/form-data; boundary=a; boundary=b", ERR_INVALID, NULL},
        {"multipart/form-data; boundary=\xc3\xa4", ERR_INVALID, NULL},
        {"multipart/form-data boundary=a", ERR_INVALID, NULL},
        {"multipart/mixed; boundary=a", ERR_UNSUPPORTED, NULL},
        {"multipart/form-datas; boundary=a", ERR_UNSUPPORTED, NULL},
        {"application/json", ERR_UNSUPPORTED, NULL},
        {"", ERR_UNSUPPORTED, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char got[MULTIPART_BOUNDARY_MAX + 1] = "";
        assert_int_equal(multipart_boundary(str_of(rows[i].type), got), rows[i].e);
        if (rows[i].boundary)
            assert_string_equal(got, rows[i].boundary);
    }
    char longer[200] = "multipart/form-data; boundary=", got[MULTIPART_BOUNDARY_MAX + 1];
    size_t n = strlen(longer);
    memset(longer + n, 'x', MULTIPART_BOUNDARY_MAX + 1);
    longer[n + MULTIPART_BOUNDARY_MAX + 1] = '\0';
    assert_int_equal(multipart_boundary(str_of(longer), got), ERR_INVALID);
    longer[n + MULTIPART_BOUNDARY_MAX] = '\0';
    assert_int_equal(multipart_boundary(str_of(longer), got), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_near_delimiters),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_framing),
        cmocka_unit_test(test_heads_are_bounded),
        cmocka_unit_test(test_a_callback_ends_it),
        cmocka_unit_test(test_boundary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
