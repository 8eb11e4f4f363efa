/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of pods, and how many of each a worker keeps. */
#include "unit.h"

#include "schema/languages.h"
#include "worker/pool_plan.h"
#include "worker/spawner/kinds.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static struct config config;
static const char *absent; /* this file is not on the host */

static bool there(const char *path)
{
    return absent == NULL || strcmp(path, absent) != 0;
}

static int setup(void **state)
{
    (void)state;
    absent = NULL;
    return config_begin(&config_table, &config.base) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    config_release(&config.base);
    memset(&config, 0, sizeof config);
    return 0;
}

static struct pool_kind kind_of(const char *name)
{
    struct pool_kind kinds[POOL_KINDS_MAX];
    size_t n = pool_plan(&config, there, kinds);
    for (size_t i = 0; i < n; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return kinds[i];
    fail_msg("no kind %s", name);
    return kinds[0];
}

static void sizes_are_the_settings(void **state)
{
    (void)state;
    config.pod_pool_py = 7;
    config.pod_pool_py_science = 3;
    config.pod_pool_js = 0;
    assert_int_equal(kind_of("py").size, 7);
    assert_int_equal(kind_of("py-science").size, 3);
    assert_int_equal(kind_of("js").size, 0);
    assert_string_equal(kind_of("js").missing, "a pool"); /* its jobs are cold then */
    assert_null(kind_of("py").missing);
    config.pod_pool_py = 0;
    assert_null(kind_of("py").missing); /* a fork is quick on demand too */
    struct pool_kind kinds[POOL_KINDS_MAX];
    assert_int_equal(pool_plan(&config, there, kinds), KIND_COUNT);
    assert_string_equal(kinds[0].name, "py"); /* the one that /ready waits for */
}

static void without_pools_all_are_on_demand(void **state)
{
    (void)state;
    config.pod_pool_enabled = false;
    struct pool_kind kinds[POOL_KINDS_MAX];
    size_t n = pool_plan(&config, there, kinds);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(kinds[i].size, 0);
}

static void languages_without_a_kind_share_the_cold_one(void **state)
{
    (void)state;
    unsigned before = kind_of("cold").size;
    config.pod_pool_c += 4;
    assert_int_equal(kind_of("cold").size, before + 4);
    absent = language_row(LANG_C)->compile[0];
    assert_int_equal(kind_of("cold").size, before);
    config.pod_pool_bash += 3; /* whose pods it stands in for */
    assert_int_equal(kind_of("cold").size, before + 3);
    assert_int_equal(kind_of("bash").size, config.pod_pool_bash);
    assert_string_equal(kind_of("bash").fallback, "cold");
}

static void what_the_host_lacks_is_never_made(void **state)
{
    (void)state;
    absent = pod_kind_row(KIND_SCIENCE)->needs;
    assert_int_equal(kind_of("py-science").size, 0);
    assert_string_equal(kind_of("py-science").missing, absent);
    assert_string_equal(kind_of("py-science").fallback, "py");
}

static void every_language_has_its_setting_and_its_kind(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LANG_COUNT; i++) {
        const struct language_row *lang = language_row((enum language)i);
        char name[32];
        int n = snprintf(name, sizeof name, "POD_POOL_%s", lang->id);
        for (int c = 0; c < n; c++)
            name[c] = (char)toupper((unsigned char)name[c]);
        if (config_find(&config_table, str_of(name)) == NULL)
            fail_msg("config.def has no row %s", name);
        if (*lang->warm && pod_kind_named(lang->warm) == KIND_COUNT)
            fail_msg("kinds.def has no row \"%s\" of the language %s", lang->warm, lang->id);
    }
}

static void the_table_of_kinds_is_whole(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KIND_COUNT; i++) {
        const struct pod_kind_row *row = pod_kind_row((enum pod_kind)i);
        assert_int_equal(pod_kind_named(row->name), i);
        assert_true(strlen(row->name) < SPAWNER_KIND_MAX && strlen(row->set) < SPAWNER_KIND_MAX);
        if (row->fallback)
            assert_true(pod_kind_named(row->fallback) < i); /* so a chain of fallbacks ends */
        else
            assert_int_equal(row->how, HOW_COLD);
        if (row->setting)
            assert_non_null(config_find(&config_table, str_of(row->setting)));
    }
    assert_int_equal(pod_kind_named("nothing"), KIND_COUNT);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(sizes_are_the_settings),
        T(without_pools_all_are_on_demand),
        T(languages_without_a_kind_share_the_cold_one),
        T(what_the_host_lacks_is_never_made),
        T(every_language_has_its_setting_and_its_kind),
        T(the_table_of_kinds_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
