/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"
#include "unit.h"

/* RFC 4648 section 10 and the bytes that need '+' and '/'. */
static const struct {
    struct str bytes;
    const char *text;
} vectors[] = {
    {STR(""), ""},
    {STR("f"), "Zg=="},
    {STR("fo"), "Zm8="},
    {STR("foo"), "Zm9v"},
    {STR("foob"), "Zm9vYg=="},
    {STR("fooba"), "Zm9vYmE="},
    {STR("foobar"), "Zm9vYmFy"},
    {STR("\0\xff\xfe"), "AP/+"},
    {STR("\xfb\xff\xbf"), "+/+/"},
};

static void encode_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        auto_buf out = BUF_INIT(64);
        base64_encode(&out, vectors[i].bytes);
        assert_string_equal(buf_cstr(&out), vectors[i].text);
    }
}

static void decode_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        auto_buf out = BUF_INIT(64);
        assert_int_equal(base64_decode(&out, str_of(vectors[i].text)), ERR_OK);
        assert_true(str_eq(buf_str(&out), vectors[i].bytes));
    }
}

static void decode_refuses(void **state)
{
    static const char *const bad[] = {"Z",    "Zg",     "Zg=",      "Zg===", "=Zg=", "Zh==", "Zm9=",
                                      "Zm 9", "Zm9v\n", "Zg==Zg==", "Zm-_",  "====", "Z===", "Zm9\xc3"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        auto_buf out = BUF_INIT(64);
        buf_append_cstr(&out, "before");
        assert_int_equal(base64_decode(&out, str_of(bad[i])), ERR_INVALID);
        assert_string_equal(buf_cstr(&out), "before");
    }
}

static void url_form(void **state)
{
    static const struct {
        const char *text, *bytes;
    } good[] = {{"", ""},        {"Zg", "f"},        {"Zm8", "fo"},
                {"Zm9v", "foo"}, {"Zm9vYg", "foob"}, {"-_-_", "\xfb\xff\xbf"}};
    static const char *const bad[] = {"Z", "Zg==", "Zh", "Zm9", "Zm9vY", "Zm+/", "Zg=", "Zm 9"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        auto_buf out = BUF_INIT(64);
        assert_int_equal(base64url_decode(&out, str_of(good[i].text)), ERR_OK);
        assert_true(str_eq(buf_str(&out), str_of(good[i].bytes)));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        auto_buf out = BUF_INIT(64);
        assert_int_equal(base64url_decode(&out, str_of(bad[i])), ERR_INVALID);
        assert_int_equal(out.len, 0);
    }
}

static void all_bytes_return(void **state)
{
    char all[256];
    (void)state;
    for (unsigned i = 0; i < sizeof all; i++)
        all[i] = (char)i;
    for (size_t n = 0; n <= sizeof all; n++) {
        auto_buf text = BUF_INIT(1024);
        auto_buf back = BUF_INIT(n);
        base64_encode(&text, (struct str){.p = all, .n = n});
        assert_int_equal(base64_decode(&back, buf_str(&text)), ERR_OK);
        assert_true(str_eq(buf_str(&back), (struct str){.p = all, .n = n}));
    }
}

static void bound_holds(void **state)
{
    auto_buf out = BUF_INIT(7);
    (void)state;
    base64_encode(&out, STR("fooba"));
    assert_int_equal(buf_status(&out), ERR_FULL);
    auto_buf back = BUF_INIT(2);
    assert_int_equal(base64_decode(&back, STR("Zm9v")), ERR_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encode_vectors), cmocka_unit_test(decode_vectors),
        cmocka_unit_test(decode_refuses), cmocka_unit_test(all_bytes_return),
        cmocka_unit_test(bound_holds),    cmocka_unit_test(url_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
