/* SPDX-License-Identifier: Apache-2.0 */
#include "api/jwt.h"
#include "base/base64.h"
#include "tokens.h"
#include "unit.h"

#include <string.h>

#define NOW  1000000
#define HEAD "{\"alg\":\"EdDSA\",\"typ\":\"JWT\"}"
#define BODY(more)                                                                                           \
    "{\"iss\":\"librechat\",\"aud\":\"codeapi\",\"sub\":\"u1\",\"iat\":999900,\"exp\":1000100" more "}"

static const struct jwt_rules rules = {.algorithm = "EdDSA",
                                       .issuer = "librechat",
                                       .audience = "codeapi",
                                       .key_id = "",
                                       .skew_s = 30,
                                       .max_ttl_s = 300};

static void append_part(struct buf *out, const char *text)
{
    auto_buf plain = BUF_INIT(4096);
    base64_encode(&plain, str_of(text));
    for (size_t i = 0; i < plain.len; i++)
        if (plain.data[i] != '=')
            buf_append_char(out, plain.data[i] == '+' ? '-' : plain.data[i] == '/' ? '_' : plain.data[i]);
}

/* What is wrong with it: the name before ':', "" for nothing. */
static const char *judge(const char *header, const char *claims, const struct jwt_rules *by)
{
    static struct errinfo info;
    auto_buf token = BUF_INIT(16 * 1024);
    append_part(&token, header);
    buf_append_char(&token, '.');
    append_part(&token, claims);
    buf_append_cstr(&token, ".AAAA");
    struct jwt jwt;
    struct jwt_facts facts;
    if (jwt_read(buf_str(&token), &jwt, &info) != ERR_OK)
        return "unreadable";
    enum err e = jwt_check_header(&jwt, by, &info);
    if (e == ERR_OK)
        e = jwt_check_claims(&jwt, by, NOW, &facts, &info);
    jwt_free(&jwt);
    if (e == ERR_OK)
        return "";
    assert_int_equal(e, ERR_DENIED);
    *strchr(info.text, ':') = '\0';
    return info.text;
}

static void test_good(void **state)
{
    (void)state;
    assert_string_equal(judge(HEAD, BODY(""), &rules), "");
    assert_string_equal(judge("{\"alg\":\"EdDSA\"}", BODY(",\"nbf\":999900.5,\"jti\":\"x\""), &rules), "");
    assert_string_equal(
        judge(HEAD,
              "{\"iss\":\"librechat\",\"aud\":[\"x\",\"codeapi\"],\"sub\":\"u\",\"iat\":999900,"
              "\"exp\":1000000,\"tenant_id\":\"t\"}",
              &rules),
        "");
}

static void test_facts(void **state)
{
    (void)state;
    struct jwt jwt;
    struct jwt_facts facts;
    struct errinfo info;
    assert_int_equal(jwt_read(STR(ED_TOKEN), &jwt, &info), ERR_OK);
    assert_int_equal(jwt_check_header(&jwt, &rules, &info), ERR_OK);
    assert_int_equal(jwt_check_claims(&jwt, &rules, TOKENS_FROM_S, &facts, &info), ERR_OK);
    assert_true(str_eq(facts.subject, STR("665f0c2e9b1d4a0012ab34cd")));
    assert_true(str_eq(facts.tenant, STR("legacy")));
    assert_int_equal(facts.expires_s, TOKENS_FROM_S + TOKENS_TTL_S + 30 - 1);
    /* The skew holds at both ends, and not a second more. */
    static const struct {
        int64_t at;
        enum err answer;
    } moments[] = {{-31, ERR_DENIED}, {-30, ERR_OK}, {329, ERR_OK}, {330, ERR_DENIED}};
    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++)
        assert_int_equal(jwt_check_claims(&jwt, &rules, TOKENS_FROM_S + moments[i].at, &facts, &info),
                         moments[i].answer);
    jwt_free(&jwt);
}

static void test_bad_headers(void **state)
{
    (void)state;
    static const char *const alg[] = {"{}",
                                      "{\"alg\":\"none\"}",
                                      "{\"alg\":\"None\"}",
                                      "{\"alg\":\"\"}",
                                      "{\"alg\":null}",
                                      "{\"alg\":5}",
                                      "{\"alg\":\"RS256\"}",
                                      "{\"alg\":\"HS256\"}",
                                      "{\"alg\":\"eddsa\"}",
                                      "{\"alg\":[\"EdDSA\"]}"};
    for (size_t i = 0; i < sizeof alg / sizeof alg[0]; i++)
        assert_string_equal(judge(alg[i], BODY(""), &rules), "alg");
    assert_string_equal(judge("{\"alg\":\"EdDSA\",\"typ\":\"JOSE\"}", BODY(""), &rules), "typ");
    assert_string_equal(judge("{\"alg\":\"EdDSA\",\"crit\":[\"b64\"],\"b64\":false}", BODY(""), &rules),
                        "crit");
    struct jwt_rules pinned = rules;
    pinned.key_id = "k1";
    assert_string_equal(judge(HEAD, BODY(""), &pinned), "kid");
    assert_string_equal(judge("{\"alg\":\"EdDSA\",\"kid\":\"k1\"}", BODY(""), &pinned), "");
}

#define TIMES "\"iat\":999900,\"exp\":1000100"
#define WHO   "\"iss\":\"librechat\",\"aud\":\"codeapi\",\"sub\":\"u1\""

static void test_bad_claims(void **state)
{
    (void)state;
    static const struct {
        const char *claims, *fault;
    } bad[] = {
        {"{\"aud\":\"codeapi\",\"sub\":\"u\"," TIMES "}", "iss"},
        {"{\"iss\":\"other\",\"aud\":\"codeapi\",\"sub\":\"u\"," TIMES "}", "iss"},
        {"{\"iss\":\"librechat\",\"sub\":\"u\"," TIMES "}", "aud"},
        {"{\"iss\":\"librechat\",\"aud\":\"other\",\"sub\":\"u\"," TIMES "}", "aud"},
        {"{\"iss\":\"librechat\",\"aud\":[],\"sub\":\"u\"," TIMES "}", "aud"},
        {"{\"iss\":\"librechat\",\"aud\":[[\"codeapi\"]],\"sub\":\"u\"," TIMES "}", "aud"},
        {"{\"iss\":\"librechat\",\"aud\":\"codeapi\"," TIMES "}", "sub"},
        {"{\"iss\":\"librechat\",\"aud\":\"codeapi\",\"sub\":\"\"," TIMES "}", "sub"},
        {"{\"iss\":\"librechat\",\"aud\":\"codeapi\",\"sub\":\"a b\"," TIMES "}", "sub"},
        {"{\"iss\":\"librechat\",\"aud\":\"codeapi\",\"sub\":\"a\\u0000\"," TIMES "}", "sub"},
        {"{" WHO "," TIMES ",\"tenant_id\":5}", "tenant_id"},
        {"{" WHO "," TIMES ",\"tenant_id\":\"\\n\"}", "tenant_id"},
        {"{" WHO "," TIMES ",\"jti\":7}", "jti"},
        {"{" WHO ",\"iat\":999900}", "exp"},
        {"{" WHO ",\"exp\":1000100}", "iat"},
        {"{" WHO ",\"iat\":\"999900\",\"exp\":1000100}", "iat"},
        {"{" WHO ",\"iat\":999900,\"exp\":1000300}", "exp"},
        {"{" WHO ",\"iat\":999900,\"exp\":999900}", "exp"},
        {"{" WHO ",\"iat\":999700,\"exp\":999970}", "exp"},
        {"{" WHO ",\"iat\":-1,\"exp\":1000100}", "iat"},
        {"{" WHO ",\"iat\":1000031,\"exp\":1000100}", "nbf, iat"},
        {"{" WHO "," TIMES ",\"nbf\":1000031}", "nbf, iat"},
        {"{" WHO "," TIMES ",\"nbf\":null}", "nbf"},
        {"[]", "unreadable"},
        {"{\"iss\":1,\"iss\":2}", "unreadable"},
        {"", "unreadable"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_string_equal(judge(HEAD, bad[i].claims, &rules), bad[i].fault);
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      ".",
                                      "..",
                                      "...",
                                      "a.b.c",
                                      "e30.e30",
                                      "e30.e30.",
                                      "e30.e30.AA==",
                                      ".e30.AA",
                                      "e30..AA",
                                      "e30.e30.AA.AA",
                                      "e30.e30.A",
                                      "e30.e30.A+",
                                      "e30=.e30.AA",
                                      " e30.e30.AA",
                                      "bnVsbA.e30.AA"};
    struct jwt jwt;
    struct errinfo info;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(jwt_read(str_of(bad[i]), &jwt, &info), ERR_INVALID);
    static char large[JWT_MAX + 2];
    memset(large, 'A', sizeof large - 1);
    assert_int_equal(jwt_read(str_of(large), &jwt, &info), ERR_INVALID);
    assert_int_equal(jwt_read(STR("e30.e30.AA"), &jwt, &info), ERR_OK);
    jwt_free(&jwt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_bad_headers), cmocka_unit_test(test_bad_claims),
        cmocka_unit_test(test_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
