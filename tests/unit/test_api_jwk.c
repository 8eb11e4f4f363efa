/* SPDX-License-Identifier: Apache-2.0 */
#include "api/jwk.h"
#include "base/base64.h"
#include "tokens.h"
#include "unit.h"

#include <string.h>

#define ED_JWK  "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\""
#define RSA_JWK "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"" RSA_N "\""

enum { MOST = 2 };

/* How many keys `text` gave, -1: it was refused with `says`. */
static int read_keys(const char *text, enum signature_algorithm algorithm, struct public_key *keys[MOST],
                     const char *says)
{
    size_t count = 0;
    struct errinfo info = {.text = ""};
    keys[0] = keys[1] = NULL;
    if (jwk_read(str_of(text), algorithm, keys, MOST, &count, &info) == ERR_OK)
        return (int)count;
    if (says == NULL || strstr(info.text, says) == NULL)
        fail_msg("%s: %s", text, info.text);
    for (size_t i = 0; i < count; i++)
        public_key_free(keys[i]);
    return -1;
}

static bool verifies(const struct public_key *key, const char *token)
{
    auto_buf signature = BUF_INIT(1024);
    const char *dot = strrchr(token, '.');
    assert_int_equal(base64url_decode(&signature, str_of(dot + 1)), ERR_OK);
    return public_key_verify(key, (struct str){token, (size_t)(dot - token)}, buf_str(&signature));
}

static void test_one_key(void **state)
{
    (void)state;
    static const struct {
        const char *text, *token;
        enum signature_algorithm algorithm;
    } rows[] = {
        {ED_JWK "}", ED_TOKEN, SIGNATURE_EDDSA},
        {ED_JWK ",\"alg\":\"EdDSA\",\"use\":\"sig\",\"kid\":\"a\",\"key_ops\":[\"verify\"]}", ED_TOKEN,
         SIGNATURE_EDDSA},
        {RSA_JWK "}", RSA_TOKEN, SIGNATURE_RS256},
        {" {\"keys\": [" RSA_JWK "}]} ", RSA_TOKEN, SIGNATURE_RS256},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct public_key *keys[MOST];
        assert_int_equal(read_keys(rows[i].text, rows[i].algorithm, keys, NULL), 1);
        assert_true(verifies(keys[0], rows[i].token));
        assert_false(verifies(keys[0], rows[i].algorithm == SIGNATURE_EDDSA ? RSA_TOKEN : ED_TOKEN));
        public_key_free(keys[0]);
    }
}

/* What is for something else is passed over. */
static void test_a_set(void **state)
{
    (void)state;
    struct public_key *keys[MOST];
    static const char set[] =
        "{\"keys\":[" RSA_JWK "}," ED_JWK ",\"use\":\"enc\"},{\"kty\":\"EC\",\"crv\":\"P-256\"}," ED_JWK
        ",\"key_ops\":[\"sign\"]}," ED_JWK "}]}";
    assert_int_equal(read_keys(set, SIGNATURE_EDDSA, keys, NULL), 1);
    assert_true(verifies(keys[0], ED_TOKEN));
    public_key_free(keys[0]);
    assert_int_equal(read_keys(set, SIGNATURE_RS256, keys, NULL), 1);
    public_key_free(keys[0]);
    assert_int_equal(read_keys("{\"keys\":[" ED_JWK "}," ED_JWK "}," ED_JWK "}]}", SIGNATURE_EDDSA, keys,
                               "more than 2 keys"),
                     -1);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "empty"},
        {"{", "JSON"},
        {"[]", "must be an object"},
        {"{}", "kty"},
        {"{\"keys\":[]}", "no key for EdDSA"},
        {"{\"keys\":[7]}", "must be an object"},
        {RSA_JWK "}", "kty"},
        {"{\"keys\":[" RSA_JWK "}]}", "no key for EdDSA"},
        {ED_JWK ",\"d\":\"AAAA\"}", "private"},
        {"{\"kty\":\"oct\",\"k\":\"AAAA\"}", "private"},
        {"{\"keys\":[" RSA_JWK ",\"d\":\"AA\"}," ED_JWK "}]}", "private"},
        {ED_JWK ",\"alg\":\"RS256\"}", "alg"},
        {ED_JWK ",\"use\":\"enc\"}", "use"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}", "x:"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}", "not a public key"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "=\"}", "base64url"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed448\",\"x\":\"" ED_X "\"}", "curve"},
    };
    struct public_key *keys[MOST];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(read_keys(rows[i].text, SIGNATURE_EDDSA, keys, rows[i].says), -1);
    assert_int_equal(
        read_keys("{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", SIGNATURE_RS256, keys, "2048 bits"), -1);
    assert_int_equal(read_keys("{\"kty\":\"RSA\",\"n\":\"" RSA_N "\"}", SIGNATURE_RS256, keys, "e:"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_key),
        cmocka_unit_test(test_a_set),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
