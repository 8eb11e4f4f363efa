/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"
#include "io/public_key.h"
#include "tokens.h"
#include "unit.h"

#include <string.h>

/* RFC 8037, appendix A.4. */
#define RFC_KEY                                                                                              \
    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"             \
    "-----END PUBLIC KEY-----\n"
#define RFC_TOKEN                                                                                            \
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6d"  \
    "WbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

static bool verifies(const char *pem, enum signature_algorithm algorithm, const char *token, char flip)
{
    struct public_key *key;
    struct errinfo info;
    auto_buf signature = BUF_INIT(1024);
    assert_int_equal(public_key_read(str_of(pem), algorithm, &key, &info), ERR_OK);
    const char *dot = strrchr(token, '.');
    assert_int_equal(base64url_decode(&signature, str_of(dot + 1)), ERR_OK);
    signature.data[3] = (char)(signature.data[3] ^ flip);
    bool good = public_key_verify(key, (struct str){token, (size_t)(dot - token)}, buf_str(&signature));
    public_key_free(key);
    return good;
}

static void test_verifies(void **state)
{
    (void)state;
    assert_true(verifies(RFC_KEY, SIGNATURE_EDDSA, RFC_TOKEN, 0));
    assert_false(verifies(RFC_KEY, SIGNATURE_EDDSA, RFC_TOKEN, 1));
    assert_true(verifies(ED_PUBLIC, SIGNATURE_EDDSA, ED_TOKEN, 0));
    assert_false(verifies(RFC_KEY, SIGNATURE_EDDSA, ED_TOKEN, 0));
    assert_true(verifies(RSA_PUBLIC, SIGNATURE_RS256, RSA_TOKEN, 0));
    assert_false(verifies(RSA_PUBLIC, SIGNATURE_RS256, RSA_TOKEN, 1));
    assert_false(verifies(RSA_PUBLIC, SIGNATURE_RS256, ED_TOKEN, 0));
}

static void test_bad_lengths(void **state)
{
    (void)state;
    struct public_key *key;
    struct errinfo info;
    char zero[600] = {0};
    assert_int_equal(public_key_read(STR(ED_PUBLIC), SIGNATURE_EDDSA, &key, &info), ERR_OK);
    for (size_t n = 0; n < sizeof zero; n += 8)
        assert_false(public_key_verify(key, STR("data"), (struct str){zero, n}));
    assert_false(public_key_verify(key, (struct str){NULL, 0}, (struct str){NULL, 0}));
    public_key_free(key);
}

static void test_keys_refused(void **state)
{
    (void)state;
    static const struct {
        const char *pem;
        enum signature_algorithm algorithm;
    } bad[] = {
        {ED_PUBLIC, SIGNATURE_RS256},
        {RSA_PUBLIC, SIGNATURE_EDDSA},
        {SMALL_PUBLIC, SIGNATURE_RS256},
        {"", SIGNATURE_EDDSA},
        {"nonsense", SIGNATURE_EDDSA},
        {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", SIGNATURE_EDDSA},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct public_key *key = NULL;
        struct errinfo info;
        assert_int_equal(public_key_read(str_of(bad[i].pem), bad[i].algorithm, &key, &info), ERR_INVALID);
        assert_null(key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verifies),
        cmocka_unit_test(test_bad_lengths),
        cmocka_unit_test(test_keys_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
