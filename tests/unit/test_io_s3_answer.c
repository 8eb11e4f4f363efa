/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store/s3_answer.h"
#include "io/store/xml.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

/* The events as text: <a><b>text</b></a>, or "bad". */
static void read_all(const char *text, struct buf *out)
{
    struct xml x;
    enum xml_event e;
    buf_reset(out);
    xml_init(&x, str_of(text));
    while ((e = xml_next(&x)) == XML_OPEN || e == XML_CLOSE) {
        if (e == XML_CLOSE)
            buf_append_str(out, buf_str(&x.text));
        buf_printf(out, e == XML_OPEN ? "<" STR_FMT ">" : "</" STR_FMT ">", STR_ARG(xml_name(&x, e)));
    }
    if (e == XML_BAD) {
        buf_reset(out);
        buf_append_cstr(out, "bad");
    }
    assert_int_equal(xml_next(&x), e);
    xml_free(&x);
}

static void test_xml(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"<a/>", "<a></a>"},
        {"<?xml version=\"1.0\" encoding='utf-8'?>\n<a x=\"1\" y = '>'><b>t</b> \n<b/></a >\n",
         "<a><b>t</b><b></b></a>"},
        {"\xef\xbb\xbf<a>x &amp;&lt;&gt;&quot;&apos; &#65;&#x20ac;</a>", "<a>x &<>\"' A\xe2\x82\xac</a>"},
        {"<a><b> t </b></a>", "<a><b> t </b></a>"},
        {"", "bad"},
        {"<a>", "bad"},
        {"<a></b>", "bad"},
        {"<a/><b/>", "bad"},
        {"<a/>x", "bad"},
        {"x<a/>", "bad"},
        {"<a>x<b/></a>", "bad"},
        {"<a><b/>x</a>", "bad"},
        {"<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>", "bad"},
        {"<a>&x;</a>", "bad"},
        {"<a>&#0;</a>", "bad"},
        {"<a>&#xd800;</a>", "bad"},
        {"<a>&#1114112;</a>", "bad"},
        {"<a>&#;</a>", "bad"},
        {"<a>&amp</a>", "bad"},
        {"<a><![CDATA[x]]></a>", "bad"},
        {"<a><!-- x --></a>", "bad"},
        {"<a><?x y?></a>", "bad"},
        {"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a/>", "bad"},
        {"<a x=1/>", "bad"},
        {"<a x=\"1\"y=\"2\"/>", "bad"},
        {"<a x=\"<\"/>", "bad"},
        {"<a>\x01</a>", "bad"},
        {"<a>\xff</a>", "bad"},
        {"</a>", "bad"},
        {"<a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a>", "bad"},
    };
    auto_buf out = BUF_INIT(1 << 16);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        read_all(rows[i][0], &out);
        assert_string_equal(buf_cstr(&out), rows[i][1]);
    }
}

static void test_values(void **state)
{
    (void)state;
    char out[16];
    const char *good = "<Init><UploadId>a&amp;b</UploadId><Other><UploadId>x</UploadId></Other></Init>";
    assert_int_equal(s3_read_value(str_of(good), "Init", "UploadId", out, sizeof out), ERR_OK);
    assert_string_equal(out, "a&b");
    assert_int_equal(s3_read_value(str_of(good), "Other", "UploadId", out, sizeof out), ERR_PROTOCOL);
    assert_int_equal(s3_read_value(str_of(good), "Init", "None", out, sizeof out), ERR_PROTOCOL);
    assert_int_equal(s3_read_value(str_of(good), "Init", "UploadId", out, 3), ERR_PROTOCOL);
    assert_int_equal(s3_read_value(STR("<a><b>1</b><b>2</b></a>"), "a", "b", out, sizeof out), ERR_PROTOCOL);
    struct s3_error error;
    assert_true(s3_read_error(STR("<Error><Code>SlowDown</Code><Message>a\nb</Message><Key>k</Key></Error>"),
                              &error));
    assert_string_equal(error.code, "SlowDown");
    assert_string_equal(error.message, "a b");
    assert_false(s3_read_error(STR("<Erro><Code>SlowDown</Code></Erro>"), &error));
    assert_false(s3_read_error(STR("<html>"), &error));
    assert_false(s3_read_error(STR(""), &error));
}

static enum err on_entry(void *arg, const struct s3_listed *l)
{
    buf_printf(arg, "%s %llu %lld %s;", l->key, (unsigned long long)l->size, (long long)l->time_ms,
               l->upload_id);
    return ERR_OK;
}

#define ENTRY(key, size, time)                                                                               \
    "<Contents><Key>" key "</Key><LastModified>" time "</LastModified><Size>" size "</Size></Contents>"

static void test_lists(void **state)
{
    (void)state;
    auto_buf out = BUF_INIT(1 << 16);
    bool truncated = false;
    const char *head = "<ListBucketResult xmlns=\"x\"><Name>b</Name><IsTruncated>true</IsTruncated>";
    char text[2048];
    snprintf(text, sizeof text, "%s%s</ListBucketResult>", head,
             ENTRY("a/b", "12", "2013-05-24T00:00:00.123Z") ENTRY("foreign key", "1", "2013-05-24T00:00:00Z")
                 ENTRY("c", "0", "2013-05-24T00:00:01Z"));
    assert_int_equal(s3_read_list(str_of(text), &truncated, on_entry, &out), ERR_OK);
    assert_true(truncated);
    assert_string_equal(buf_cstr(&out), "a/b 12 1369353600123 ;c 0 1369353601000 ;");
    buf_reset(&out);
    assert_int_equal(
        s3_read_list(STR("<ListMultipartUploadsResult><Upload><Key>k</Key><UploadId>u</UploadId><Initiated>"
                         "2013-05-24T00:00:00Z</Initiated></Upload><IsTruncated>false</IsTruncated>"
                         "</ListMultipartUploadsResult>"),
                     &truncated, on_entry, &out),
        ERR_OK);
    assert_false(truncated);
    assert_string_equal(buf_cstr(&out), "k 0 1369353600000 u;");
    static const char *const bad[] = {
        "",
        "<ListBucketResult></ListBucketResult>",
        "<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>",
        "<Other><IsTruncated>false</IsTruncated></Other>",
        "<ListBucketResult><IsTruncated>false</IsTruncated>" ENTRY(
            "a", "-1", "2013-05-24T00:00:00Z") "</ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated>" ENTRY("a", "1",
                                                                   "yesterday") "</ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated>" ENTRY("a", "1", "2013-05-24T00:00:00Z"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(s3_read_list(str_of(bad[i]), &truncated, on_entry, &out), ERR_PROTOCOL);
}

static void test_times(void **state)
{
    (void)state;
    int64_t t = 0;
    assert_int_equal(s3_read_http_time(STR("Fri, 24 May 2013 00:00:00 GMT"), &t), ERR_OK);
    assert_int_equal(t, 1369353600000);
    assert_int_equal(s3_read_http_time(STR("Fri, 24 Foo 2013 00:00:00 GMT"), &t), ERR_PROTOCOL);
    assert_int_equal(s3_read_http_time(STR("Fri"), &t), ERR_PROTOCOL);
    assert_int_equal(s3_read_time(STR(""), &t), ERR_PROTOCOL);
    assert_int_equal(s3_read_time(STR("2013-13-24T00:00:00Z"), &t), ERR_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xml),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
