/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/env_names.h"
#include "schema/errors.h"
#include "schema/languages.h"
#include "schema/limits.h"
#include "schema/reasons.h"
#include "json/json.h"

#include "unit.h"

#include <string.h>

static void languages_by_every_name(void **state)
{
    static const struct {
        const char *name;
        enum language lang;
    } rows[] = {{"py", LANG_PY},         {"Python", LANG_PY},   {"PYTHON3", LANG_PY}, {"js", LANG_JS},
                {"JavaScript", LANG_JS}, {"node", LANG_JS},     {"nodejs", LANG_JS},  {"bash", LANG_BASH},
                {"sh", LANG_BASH},       {"R", LANG_R},         {"C++", LANG_CPP},    {"golang", LANG_GO},
                {"rust", LANG_RS},       {"fortran", LANG_F90}, {"dlang", LANG_D},    {"Java", LANG_JAVA},
                {"typescript", LANG_TS}, {"php", LANG_PHP},     {"c", LANG_C}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum language lang = LANG_COUNT;
        assert_int_equal(language_parse(str_of(rows[i].name), &lang, NULL), ERR_OK);
        assert_int_equal(lang, rows[i].lang);
    }
    static const char *const unknown[] = {"", "p", "python4", "py ", "py|python", "|"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        enum language lang = LANG_COUNT;
        struct errinfo info = {0};
        assert_int_equal(language_parse(str_of(unknown[i]), &lang, &info), ERR_NOT_FOUND);
        assert_int_equal(lang, LANG_COUNT);
        assert_non_null(strstr(info.text, "send one of py, js, bash"));
    }
}

static void language_rows_are_whole(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LANG_COUNT; i++) {
        const struct language_row *row = language_row((enum language)i);
        enum language back = LANG_COUNT;
        /* never looked up on a PATH */
        assert_true(row->run[0][0] == '/' || strcmp(row->run[0], "{out}") == 0);
        assert_true(row->compile == NULL || row->compile[0][0] == '/');
        assert_true(row->text != NULL && row->packages != NULL && row->warm != NULL && row->aliases != NULL);
        for (size_t k = 0; row->env != NULL && row->env[k] != NULL; k++)
            assert_non_null(strchr(row->env[k], '='));
        for (size_t k = 0; row->etc != NULL && row->etc[k] != NULL; k++)
            assert_memory_equal(row->etc[k], "/etc/", 5);
        assert_int_equal(language_of_file(str_of(row->source_name), &back), ERR_OK);
        assert_int_equal(back, i);
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(row->id, language_row((enum language)j)->id);
    }
    enum language lang = LANG_COUNT;
    assert_int_equal(language_of_file(STR("/a.b/prog.PY"), &lang), ERR_OK);
    assert_int_equal(lang, LANG_PY);
    assert_int_equal(language_of_file(STR("a.cc"), &lang), ERR_OK);
    assert_int_equal(lang, LANG_CPP);
    assert_int_equal(language_of_file(STR("a.R"), &lang), ERR_OK);
    assert_int_equal(lang, LANG_R);
    assert_int_equal(language_of_file(STR("a.mjs"), &lang), ERR_OK);
    assert_int_equal(lang, LANG_JS);
    assert_int_equal(language_of_file(STR("a."), &lang), ERR_NOT_FOUND);
    assert_int_equal(language_of_file(STR("prog"), &lang), ERR_NOT_FOUND);
    assert_int_equal(language_of_file(STR("prog.xyz"), &lang), ERR_NOT_FOUND);
}

static void limits_are_checked(void **state)
{
    struct config cfg = {0};
    struct limit_bounds bounds;
    struct errinfo info = {0};
    int64_t out = -1;
    (void)state;
    assert_int_equal(config_begin(&config_table, &cfg.base), ERR_OK);
    limits_configure(&cfg, &bounds);
    for (unsigned i = 0; i < LIMIT_COUNT; i++) { /* the documented default is the one there is */
        const struct limit_row *row = limit_row((enum limit)i);
        assert_int_equal(bounds.fallback[i], row->fallback * row->scale);
        assert_true(limit_min((enum limit)i) > 0);
        assert_true(limit_max(&bounds, (enum limit)i) <= row->max);
    }
    assert_int_equal(limit_check(&bounds, LIMIT_MEMORY, 64, &out, &info), ERR_OK);
    assert_int_equal(out, 64 << 20);
    assert_int_equal(limit_check(&bounds, LIMIT_TIMEOUT, 30000, &out, &info), ERR_OK);
    static const int64_t bad[] = {0, -1, 30001, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(limit_check(&bounds, LIMIT_TIMEOUT, bad[i], &out, &info), ERR_RANGE);
        assert_int_equal(out, 30000);
        assert_non_null(strstr(info.text, "timeout_ms: "));
        assert_non_null(strstr(info.text, "must be an integer from 1 to 30000 ms"));
    }
    assert_int_equal(limit_clamp(&bounds, LIMIT_TIMEOUT, 0), 1);
    assert_int_equal(limit_clamp(&bounds, LIMIT_TIMEOUT, INT64_MAX), 30000);
    assert_int_equal(limit_clamp(&bounds, LIMIT_TIMEOUT, 5), 5);
    config_release(&cfg.base);
}

static void environment_names(void **state)
{
    static const struct {
        const char *name;
        enum err e;
    } rows[] = {
        {"A", ERR_OK},
        {"_a1", ERR_OK},
        {"NODE_ENV", ERR_OK},
        {"GOOGLE_API_KEY", ERR_OK},
        {"ENV", ERR_OK},
        {"RUST_LOG", ERR_OK},
        {"LDFLAGS", ERR_OK},
        {"PATH", ERR_OK},
        {"TZ", ERR_OK},
        {"LANG", ERR_OK},
        {"ld_preload", ERR_OK},
        {"", ERR_INVALID},
        {"1A", ERR_INVALID},
        {"A-B", ERR_INVALID},
        {"A=B", ERR_INVALID},
        {"A B", ERR_INVALID},
        {"\xc3\xa9", ERR_INVALID},
        {"A\n", ERR_INVALID},
        {"LD_PRELOAD", ERR_DENIED},
        {"LD_LIBRARY_PATH", ERR_DENIED},
        {"PYTHONSTARTUP", ERR_DENIED},
        {"PYTHONPATH", ERR_DENIED},
        {"NODE_OPTIONS", ERR_DENIED},
        {"BASH_ENV", ERR_DENIED},
        {"BASH_FUNC_ls%%", ERR_INVALID},
        {"JAVA_TOOL_OPTIONS", ERR_DENIED},
        {"PERL5OPT", ERR_DENIED},
        {"RUBYOPT", ERR_DENIED},
        {"GODEBUG", ERR_DENIED},
        {"GLIBC_TUNABLES", ERR_DENIED},
        {"MILLRACE_X", ERR_DENIED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct errinfo info = {0};
        if (env_name_check(str_of(rows[i].name), &info) != rows[i].e)
            fail_msg("%s: %s", rows[i].name, info.text);
    }
    char longest[ENV_NAME_MAX + 2];
    memset(longest, 'A', sizeof longest);
    assert_int_equal(env_name_check((struct str){.p = longest, .n = ENV_NAME_MAX}, NULL), ERR_OK);
    assert_int_equal(env_name_check((struct str){.p = longest, .n = ENV_NAME_MAX + 1}, NULL), ERR_INVALID);
}

static void error_bodies(void **state)
{
    static const struct {
        enum client_error error;
        const char *detail;
        int retry;
        const char *body;
    } rows[] = {
        {CE_INVALID_FIELD, "timeout_ms: 0 is out of range", 0,
         "{\"error\":\"timeout_ms: 0 is out of "
         "range\",\"error_type\":\"validation\",\"details\":[{\"field\":\"timeout_ms\","
         "\"message\":\"0 is out of range\",\"code\":\"validation\"}],\"request_id\":\"r1\"}\n"},
        {CE_BAD_JSON, "not valid JSON: x", 0,
         "{\"error\":\"not valid JSON: "
         "x\",\"error_type\":\"bad_json\",\"details\":[{\"field\":null,\"message\":"
         "\"not valid JSON: x\",\"code\":\"bad_json\"}],\"request_id\":\"r1\"}\n"},
        {CE_QUEUE_FULL, NULL, 7,
         "{\"error\":\"rate_limited\",\"message\":\"the queue is full; retry after the seconds of Retry-After\","
         "\"error_type\":\"queue_full\",\"details\":[{\"field\":null,\"message\":"
         "\"the queue is "
         "full; retry after the seconds of Retry-After\",\"code\":\"queue_full\"}],\"request_id\":\"r1\","
         "\"retry_after_seconds\":7}\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        auto_buf out = BUF_INIT(1000);
        client_error_write(rows[i].error, rows[i].detail, "r1", rows[i].retry, &out);
        assert_string_equal(buf_cstr(&out), rows[i].body);
    }
    for (unsigned i = 0; i < CE_COUNT;
         i++) { /* every row makes a body that is JSON and tells how to mend it */
        auto_buf out = BUF_INIT(2000);
        auto_json value = NULL;
        client_error_write((enum client_error)i, NULL, "r", 0, &out);
        assert_int_equal(json_parse(buf_str(&out), &value, NULL), ERR_OK);
        assert_true(client_error_row((enum client_error)i)->status >= 400);
        assert_true(client_error_row((enum client_error)i)->fix[0] != '\0');
    }
}

static void reasons_by_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        enum reason back = REASON_COUNT;
        assert_int_equal(reason_parse(str_of(reason_row((enum reason)i)->name), &back), ERR_OK);
        assert_int_equal(back, i);
    }
    enum reason reason;
    assert_int_equal(reason_parse(STR("no such"), &reason), ERR_NOT_FOUND);
    assert_false(reason_row(REASON_OOM)->retryable);
    assert_true(reason_row(REASON_POD_LOST)->retryable);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(languages_by_every_name),
        cmocka_unit_test(language_rows_are_whole),
        cmocka_unit_test(limits_are_checked),
        cmocka_unit_test(environment_names),
        cmocka_unit_test(error_bodies),
        cmocka_unit_test(reasons_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
