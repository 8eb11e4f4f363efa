/* SPDX-License-Identifier: Apache-2.0 */
#include "api/auth.h"
#include "api/stream.h"
#include "base/base64.h"
#include "tokens.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

#define ALICE "alice-key-0123456789"
#define PLAIN "plain-key-0123456789"

/* `settings`: name, value, ..., NULL. */
static enum err try_configure(struct config *config, const char *const *settings, struct errinfo *info)
{
    *config = (struct config){.base = {.origins = NULL}};
    struct config_origin here = {.source = CONFIG_ENVIRONMENT};
    assert_int_equal(config_begin(&config_table, &config->base), ERR_OK);
    for (; settings[0] != NULL; settings += 2)
        config_apply(&config_table, &config->base, str_of(settings[0]), str_of(settings[1]), here);
    config_table.check(&config->base);
    return config_verdict(&config->base, info);
}

static void configure_with(struct config *config, const char *const *settings)
{
    struct errinfo info;
    if (try_configure(config, settings, &info) != ERR_OK)
        fail_msg("%s", info.text);
}

static void configure(struct config *config, const char *key, const char *keys, const char *enabled)
{
    configure_with(config,
                   (const char *const[]){"API_KEY", key, "API_KEYS", keys, "AUTH_ENABLED", enabled, NULL});
}

/* "tenant" or "tenant/user", "" when refused. */
static const char *asked(const struct auth *a, const struct auth_request *request)
{
    static char text[256];
    struct auth_identity who = {.user = ""};
    if (!auth_check(a, request, &who))
        return "";
    snprintf(text, sizeof text, STR_FMT "%s%s", STR_ARG(who.tenant), who.user[0] != '\0' ? "/" : "",
             who.user);
    return text;
}

static const char *who(const struct auth *a, const char *key, const char *authorization)
{
    struct auth_request request = {.key = str_of(key),
                                   .authorization = str_of(authorization),
                                   .peer = STR("192.0.2.1"),
                                   .now_ms = (TOKENS_FROM_S + 10) * 1000LL};
    return asked(a, &request);
}

static void test_keys(void **state)
{
    (void)state;
    struct config config;
    struct auth a;
    struct errinfo info;
    configure(&config, PLAIN, "alice:" ALICE, "true");
    assert_int_equal(auth_open(&a, &config, &info), ERR_OK);
    assert_string_equal(who(&a, PLAIN, NULL), "default");
    assert_string_equal(who(&a, ALICE, NULL), "alice");
    assert_string_equal(who(&a, NULL, "Bearer " ALICE), "alice");
    assert_string_equal(who(&a, NULL, "bearer  " ALICE), "alice");
    assert_string_equal(who(&a, NULL, "ApiKey " PLAIN), "default");
    assert_string_equal(who(&a, NULL, "Basic YWxpY2Uta2V5LTAxMjM0NTY3ODk="), "alice");     /* no colon */
    assert_string_equal(who(&a, NULL, "Basic YWxpY2Uta2V5LTAxMjM0NTY3ODk6"), "alice");     /* "key:" */
    assert_string_equal(who(&a, NULL, "Basic dTphbGljZS1rZXktMDEyMzQ1Njc4OQ=="), "alice"); /* "u:key" */
    assert_string_equal(who(&a, "wrong-key-0123456789", "Bearer " ALICE), "alice");        /* any valid one */
    static const char *const bad[] = {"", "x", (PLAIN "x"), "plain-key-012345678", ("alice:" ALICE), "alice"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_string_equal(who(&a, bad[i], NULL), "");
    static const char *const worse[] = {"Bearer",   "Bearer ",    ALICE,
                                        "Basic !!", "Basic Og==", ("Digest " ALICE)};
    for (size_t i = 0; i < sizeof worse / sizeof worse[0]; i++)
        assert_string_equal(who(&a, NULL, worse[i]), "");
    auth_close(&a);
    config_release(&config.base);
}

static void test_no_key_is_refused(void **state)
{
    (void)state;
    struct config config;
    struct auth a;
    struct errinfo info;
    configure(&config, "", "", "true");
    assert_int_equal(auth_open(&a, &config, &info), ERR_INVALID);
    assert_non_null(strstr(info.text, "API_KEY"));
    config_release(&config.base);
    configure(&config, "", "", "false");
    assert_int_equal(auth_open(&a, &config, &info), ERR_OK);
    assert_string_equal(who(&a, NULL, NULL), "default");
    auth_close(&a);
    config_release(&config.base);
}

static void test_key_in_a_body(void **state)
{
    (void)state;
    struct config config;
    struct auth a;
    struct errinfo info;
    struct auth_identity found = {.user = "x"};
    configure(&config, PLAIN, "alice:" ALICE, "true");
    assert_int_equal(auth_open(&a, &config, &info), ERR_OK);
    assert_true(
        auth_check_body(&a, STR("{\"code\":\"1\",\"LIBRECHAT_CODE_API_KEY\":\"" ALICE "\"}"), &found));
    assert_true(str_eq(found.tenant, STR("alice")) && found.user[0] == '\0');
    assert_true(auth_check_body(&a, STR("{\"apiKey\":\"wrong\",\"api_key\":\"" PLAIN "\"}"), &found));
    static const char *const bad[] = {"",
                                      "{",
                                      "[]",
                                      "{}",
                                      "{\"api_key\":5}",
                                      "{\"api_key\":\"\"}",
                                      "{\"key\":\"" PLAIN "\"}",
                                      "\"" PLAIN "\"",
                                      "{\"api_key\":[\"" PLAIN "\"]}",
                                      "{\"a\":{\"api_key\":\"" PLAIN "\"}}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(auth_check_body(&a, str_of(bad[i]), &found));
    auth_close(&a);
    config_release(&config.base);
}

static void test_trusted_networks(void **state)
{
    (void)state;
    struct config config;
    struct auth a;
    struct errinfo info;
    configure_with(&config, (const char *const[]){"AUTH_TRUSTED_NETWORKS", "10.0.0.0/8, ::1", "API_KEYS",
                                                  "alice:" ALICE, NULL});
    assert_int_equal(auth_open(&a, &config, &info), ERR_OK);
    struct auth_request request = {.peer = STR("10.1.2.3")};
    assert_string_equal(asked(&a, &request), "default");
    request.key = STR("wrong"); /* what it carries beside makes no difference, unless it is valid */
    assert_string_equal(asked(&a, &request), "default");
    request.key = STR(ALICE);
    assert_string_equal(asked(&a, &request), "alice");
    request = (struct auth_request){.peer = STR("11.1.2.3")};
    assert_string_equal(asked(&a, &request), "");
    auth_close(&a);
    config_release(&config.base);
    static const char *const bad[] = {"10.0.0.1/8", "everybody", "10.0.0.0/8;::1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(
            try_configure(&config, (const char *const[]){"AUTH_TRUSTED_NETWORKS", bad[i], NULL}, &info),
            ERR_INVALID);
        assert_non_null(strstr(info.text, "AUTH_TRUSTED_NETWORKS"));
        config_release(&config.base);
    }
}

/* ---- tokens ---- */

/* As a setting has it: line ends written as \n. */
static const char *written(const char *pem)
{
    static char text[4096];
    size_t n = 0;
    for (; *pem != '\0'; pem++) {
        assert_true(n + 3 < sizeof text);
        if (*pem == '\n')
            text[n++] = '\\';
        text[n++] = (char)(*pem == '\n' ? 'n' : *pem);
    }
    text[n] = '\0';
    return text;
}

static void open_tokens(struct auth *a, struct config *config, const char *key, const char *algorithm,
                        const char *tenants)
{
    struct errinfo info;
    configure_with(config, (const char *const[]){"CODEAPI_JWT_PUBLIC_KEY", written(key),
                                                 "CODEAPI_JWT_ALGORITHM", algorithm, "CODEAPI_JWT_TENANTS",
                                                 tenants, "API_KEYS", "alice:" ALICE, NULL});
    if (auth_open(a, config, &info) != ERR_OK)
        fail_msg("%s", info.text);
}

#define USER "665f0c2e9b1d4a0012ab34cd"

static void test_tokens(void **state)
{
    (void)state;
    struct config config;
    struct auth a;
    open_tokens(&a, &config, ED_PUBLIC, "EdDSA", "legacy:default");
    for (int i = 0; i < 2; i++) /* the second is remembered */
        assert_string_equal(who(&a, NULL, "Bearer " ED_TOKEN), "default/" USER);
    assert_string_equal(who(&a, NULL, "Bearer " ED_OTHER_TENANT), "jwt-acme/" USER);
    assert_string_equal(who(&a, ALICE, "Bearer " ED_TOKEN), "default/" USER); /* the token says who it is */
    assert_string_equal(who(&a, ALICE, "Bearer " HS_TOKEN), "alice");         /* any valid one is enough */
    assert_string_equal(who(&a, NULL, "Bearer " ALICE), "alice");
    static const char *const bad[] = {"Bearer " HS_TOKEN,
                                      "Bearer " RSA_TOKEN,
                                      "Bearer " RS_SIGNED_BY_ED,
                                      "Bearer " ED_TOKEN "A",
                                      "Basic " ED_TOKEN,
                                      "ApiKey " ED_TOKEN,
                                      ED_TOKEN,
                                      "Bearer eyJhbGciOiJub25lIn0.e30.",
                                      "Bearer a.b.c",
                                      "Bearer ...."};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_string_equal(who(&a, NULL, bad[i]), "");
    struct auth_request late = {.authorization = STR("Bearer " ED_TOKEN),
                                .now_ms = (TOKENS_FROM_S + TOKENS_TTL_S + 30) * 1000LL};
    assert_string_equal(asked(&a, &late), ""); /* although it is remembered */
    auth_close(&a);
    config_release(&config.base);
}

static void test_every_bit_of_a_token_counts(void **state)
{
    (void)state;
    struct config config;
    struct auth a;
    open_tokens(&a, &config, ED_PUBLIC, "EdDSA", "legacy:default");
    char text[] = "Bearer " ED_TOKEN;
    for (size_t i = 7; i < sizeof text - 1; i++) {
        text[i] = (char)(text[i] == 'A' ? 'B' : 'A');
        assert_string_equal(who(&a, NULL, text), "");
        text[i] = ("Bearer " ED_TOKEN)[i];
    }
    assert_string_equal(who(&a, NULL, text), "default/" USER);
    auth_close(&a);
    config_release(&config.base);
}

static void test_tokens_of_rsa_and_tenants(void **state)
{
    (void)state;
    struct config config;
    struct auth a;
    open_tokens(&a, &config, RSA_PUBLIC, "RS256", "*:everybody,acme:one");
    assert_string_equal(who(&a, NULL, "Bearer " RSA_TOKEN), "everybody/" USER);
    assert_string_equal(who(&a, NULL, "Bearer " ED_TOKEN), "");
    auth_close(&a);
    config_release(&config.base);
    open_tokens(&a, &config, ED_PUBLIC, "EdDSA", "*:everybody,acme:one");
    assert_string_equal(who(&a, NULL, "Bearer " ED_OTHER_TENANT), "one/" USER);
    auth_close(&a);
    config_release(&config.base);
}

static void test_forms_of_a_key(void **state)
{
    (void)state;
    struct config config;
    struct auth a;
    struct errinfo info;
    auto_buf encoded = BUF_INIT(4096);
    base64_encode(&encoded, STR(ED_PUBLIC));
    const char *const good[] = {ED_PUBLIC, buf_cstr(&encoded)};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        open_tokens(&a, &config, good[i], "EdDSA", "legacy:default");
        assert_string_equal(who(&a, NULL, "Bearer " ED_TOKEN), "default/" USER);
        auth_close(&a);
        config_release(&config.base);
    }
    static const char *const bad[] = {RSA_PUBLIC, "/nowhere/key.pem", "!!", "QUFB", SMALL_PUBLIC};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        configure_with(&config, (const char *const[]){"CODEAPI_JWT_PUBLIC_KEY", written(bad[i]), NULL});
        assert_int_equal(auth_open(&a, &config, &info), ERR_INVALID);
        assert_non_null(strstr(info.text, "CODEAPI_JWT_PUBLIC_KEY"));
        config_release(&config.base);
    }
    static const char *const jwk[][2] = {
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\"}]}", NULL},
        {"{\"kty\":\"OKP\"}", "CODEAPI_JWT_PUBLIC_JWK_JSON"},
        {"/nowhere/keys.json", "CODEAPI_JWT_PUBLIC_JWK_JSON"},
    };
    for (size_t i = 0; i < sizeof jwk / sizeof jwk[0]; i++) {
        configure_with(&config, (const char *const[]){"CODEAPI_JWT_PUBLIC_JWK_JSON", jwk[i][0],
                                                      "CODEAPI_JWT_TENANTS", "legacy:default", NULL});
        enum err e = auth_open(&a, &config, &info);
        assert_int_equal(e, jwk[i][1] == NULL ? ERR_OK : ERR_INVALID);
        if (e == ERR_OK) {
            assert_string_equal(who(&a, NULL, "Bearer " ED_TOKEN), "default/" USER);
            auth_close(&a);
        } else {
            assert_non_null(strstr(info.text, jwk[i][1]));
        }
        config_release(&config.base);
    }
    assert_int_equal(
        try_configure(&config, (const char *const[]){"CODEAPI_JWT_TENANTS", "legacy", NULL}, &info),
        ERR_INVALID);
    config_release(&config.base);
}

/* ---- messages of a WebSocket ---- */

static void message(const char *text, enum event_type type, const char *bytes, const char *data)
{
    struct stream_message m = {.type = EV_COUNT};
    struct api_fault fault;
    if (stream_message_parse(str_of(text), &m, &fault) != ERR_OK)
        fail_msg("%s: %s", text, fault.detail);
    assert_int_equal(m.type, type);
    assert_string_equal(buf_cstr(&m.bytes), bytes);
    assert_string_equal(buf_cstr(&m.data), data);
    stream_message_free(&m);
}

static void test_messages(void **state)
{
    (void)state;
    message("{\"type\":\"stdin\",\"data\":\"hi\\n\"}", EV_INPUT, "hi\n", "");
    message("{\"type\":\"stdin\",\"data\":\"aGk=\",\"encoding\":\"base64\"}", EV_INPUT, "hi", "");
    message("{\"type\":\"eof\"}", EV_EOF, "", "");
    message("{\"type\":\"signal\",\"signal\":\"INT\"}", EV_SIGNAL, "", "{\"signal\":\"INT\"}");
    message("{\"type\":\"signal\",\"signal\":\"SIGTERM\"}", EV_SIGNAL, "", "{\"signal\":\"TERM\"}");
    message("{\"type\":\"cancel\"}", EV_CANCEL_REQUESTED, "", "{\"reason\":\"cancelled by the client\"}");
}

static void test_bad_messages(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "x",
        "[]",
        "1",
        "{}",
        "{\"type\":5}",
        "{\"type\":\"output\"}",
        "{\"type\":\"stdin\"}",
        "{\"type\":\"stdin\",\"data\":5}",
        "{\"type\":\"stdin\",\"data\":\"!\",\"encoding\":\"base64\"}",
        "{\"type\":\"stdin\",\"data\":\"\",\"encoding\":\"hex\"}",
        "{\"type\":\"signal\"}",
        "{\"type\":\"signal\",\"signal\":\"SEGVX\"}",
        "{\"type\":\"signal\",\"signal\":9}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct stream_message m;
        struct api_fault fault = {.error = CE_INTERNAL};
        assert_int_equal(stream_message_parse(str_of(bad[i]), &m, &fault), ERR_INVALID);
        assert_int_not_equal(fault.error, CE_INTERNAL);
        assert_int_not_equal(fault.detail[0], '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_no_key_is_refused),
        cmocka_unit_test(test_key_in_a_body),
        cmocka_unit_test(test_trusted_networks),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_every_bit_of_a_token_counts),
        cmocka_unit_test(test_tokens_of_rsa_and_tenants),
        cmocka_unit_test(test_forms_of_a_key),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_bad_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
