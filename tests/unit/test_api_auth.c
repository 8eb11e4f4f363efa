/* SPDX-License-Identifier: Apache-2.0 */
#include "api/auth.h"
#include "api/stream.h"
#include "unit.h"

#include <string.h>

#define ALICE "alice-key-0123456789"
#define PLAIN "plain-key-0123456789"

static void configure(struct config *config, const char *key, const char *keys, const char *enabled)
{
    *config = (struct config){.base = {.origins = NULL}};
    struct config_origin here = {.source = CONFIG_ENVIRONMENT};
    assert_int_equal(config_begin(&config_table, &config->base), ERR_OK);
    config_apply(&config_table, &config->base, STR("API_KEY"), str_of(key), here);
    config_apply(&config_table, &config->base, STR("API_KEYS"), str_of(keys), here);
    config_apply(&config_table, &config->base, STR("AUTH_ENABLED"), str_of(enabled), here);
    struct errinfo info;
    if (config_verdict(&config->base, &info) != ERR_OK)
        fail_msg("%s", info.text);
}

static const char *who(const struct auth *a, const char *key, const char *authorization)
{
    static char tenant[80];
    struct str found = {NULL, 0};
    struct auth_headers headers = {.key = str_of(key), .authorization = str_of(authorization)};
    if (!auth_check(a, &headers, &found))
        return "";
    assert_true(found.n < sizeof tenant);
    memcpy(tenant, found.p, found.n);
    tenant[found.n] = '\0';
    return tenant;
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
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_bad_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
