/* SPDX-License-Identifier: Apache-2.0 */
#include "api/offers.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>

static char full[4096], lacking[4096];

/* What a worker tells that has all, and one that has no PHP. */
static void make_texts(void)
{
    size_t n = 0, m = 0;
    for (enum language l = 0; l < LANG_COUNT; l++) {
        const char *id = language_row(l)->id;
        n += (size_t)snprintf(full + n, sizeof full - n,
                              "%s\"%s\":{\"version\":\"1.%d\",\"libraries\":{\"x\":\"2\"}}",
                              l == 0 ? "{" : ",", id, (int)l);
        m += (size_t)snprintf(lacking + m, sizeof lacking - m, "%s\"%s\":%s", l == 0 ? "{" : ",", id,
                              l == LANG_PHP ? "{\"missing\":\"/usr/bin/php\"}"
                                            : "{\"version\":null,\"libraries\":{}}");
    }
    snprintf(full + n, sizeof full - n, "}");
    snprintf(lacking + m, sizeof lacking - m, "}");
}

static struct queue_offered offered(const char *worker, const char *text)
{
    return (struct queue_offered){.worker = str_of(worker), .text = str_of(text)};
}

static json_t *written(const struct offers *o)
{
    auto_buf out = BUF_INIT(65536);
    json_t *root = NULL;
    offers_write(o, &out);
    assert_int_equal(json_parse(buf_str(&out), &root, NULL), ERR_OK);
    return root;
}

static const json_t *row(const json_t *root, enum language lang)
{
    return json_array_get(json_object_get(root, "languages"), lang);
}

static void nothing_is_refused_before_a_worker_told(void **state)
{
    struct offers o = {.told = false};
    (void)state;
    offers_update(&o, NULL, 0);
    for (enum language l = 0; l < LANG_COUNT; l++)
        assert_null(o.refused[l]);
    auto_json root = written(&o);
    assert_int_equal(json_array_size(json_object_get(root, "languages")), LANG_COUNT);
    assert_true(json_is_false(json_object_get(row(root, LANG_PY), "available")));
    assert_non_null(strstr(json_string_value(json_object_get(row(root, LANG_PY), "why")), "no worker"));
    offers_free(&o);
}

static void a_language_is_there_when_every_worker_has_it(void **state)
{
    struct offers o = {.told = false};
    const struct queue_offered list[] = {offered("a", full), offered("b", lacking), offered("c", "not JSON")};
    (void)state;
    offers_update(&o, list, 1);
    assert_null(o.refused[LANG_PHP]);
    offers_update(&o, list, 3);
    assert_null(o.refused[LANG_PY]);
    assert_non_null(strstr(o.refused[LANG_PHP], "worker b has no /usr/bin/php"));
    assert_non_null(strstr(o.refused[LANG_PHP], "php-cli"));
    auto_json root = written(&o);
    assert_true(json_is_true(json_object_get(row(root, LANG_PY), "available")));
    assert_true(json_is_null(json_object_get(row(root, LANG_PY), "why")));
    assert_string_equal(json_string_value(json_object_get(row(root, LANG_PY), "version")), "1.0");
    assert_true(json_is_false(json_object_get(row(root, LANG_PHP), "available")));
    offers_update(&o, list, 1); /* b has gone */
    assert_null(o.refused[LANG_PHP]);
    offers_free(&o);
}

static void an_older_worker_lacks_what_it_does_not_know(void **state)
{
    struct offers o = {.told = false};
    const struct queue_offered old = offered("old", "{\"py\":{\"version\":null,\"libraries\":{}}}");
    (void)state;
    offers_update(&o, &old, 1);
    assert_null(o.refused[LANG_PY]);
    assert_non_null(o.refused[LANG_D]);
    offers_free(&o);
}

static void strange_offers_do_no_harm(void **state)
{
    static const char *const texts[] = {"", "[]", "{\"py\":1}", "{\"py\":{\"missing\":[1]}}",
                                        "{\"py\":{\"version\":{\"a\":[]},\"libraries\":7}}"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct offers o = {.told = false};
        const struct queue_offered one = offered("\xff\"", texts[i]);
        offers_update(&o, &one, 1);
        auto_json root = written(&o);
        offers_free(&o);
    }
}

static void the_health_of_clusters_is_that_of_all_workers_together(void **state)
{
    struct offers o = {.told = false};
    static const char good[] = "{\"kubernetes\":{\"status\":\"ok\",\"why\":\"\"}}",
                      bad[] = "{\"kubernetes\":{\"status\":\"failing\",\"why\":\"no cluster\"}}";
    const struct {
        struct queue_offered list[2];
        int code;
        const char *status;
    } cases[] = {
        {{offered("a", full), offered("b", "{\"kubernetes\":3}")}, 0, NULL},
        {{offered("a", full), offered("b", good)}, 200, "ok"},
        {{offered("a", bad), offered("b", good)}, 200, "degraded"},
        {{offered("a", bad), offered("b", bad)}, 503, "failing"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        auto_buf out = BUF_INIT(4096);
        auto_json root = NULL;
        offers_update(&o, cases[i].list, 2);
        assert_int_equal(offers_write_kubernetes(&o, &out), cases[i].code);
        if (cases[i].code == 0)
            continue;
        assert_int_equal(json_parse(buf_str(&out), &root, NULL), ERR_OK);
        assert_string_equal(json_string_value(json_object_get(root, "status")), cases[i].status);
        assert_non_null(json_object_get(json_object_get(root, "workers"), "b"));
    }
    offers_free(&o);
}

static void runs_are_stuck_where_no_worker_takes_any(void **state)
{
    struct offers o = {.told = false};
    static const char stuck[] =
        "{\"kubernetes\":{\"status\":\"failing\",\"why\":\"no room\",\"stuck\":true}}",
                      fails[] =
                          "{\"kubernetes\":{\"status\":\"failing\",\"why\":\"no room\",\"stuck\":false}}";
    const struct {
        struct queue_offered list[2];
        const char *why;
    } cases[] = {
        {{offered("a", stuck), offered("b", stuck)}, "no room"},
        {{offered("a", stuck), offered("b", fails)}, ""},
        {{offered("a", full), offered("b", stuck)}, ""},
        {{offered("a", "3"), offered("b", "{\"kubernetes\":{\"stuck\":true}}")}, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        offers_update(&o, cases[i].list, 2);
        assert_string_equal(o.stuck, cases[i].why);
    }
    offers_update(&o, NULL, 0); /* none is there: one may come */
    assert_string_equal(o.stuck, "");
    offers_free(&o);
}

static void gaps_are_told_by_worker(void **state)
{
    struct offers o = {.told = false};
    const struct queue_offered list[] = {
        offered("a", full), offered("b", "{\"accepted_gaps\":[\"swap_limit\",\"landlock\"]}"),
        offered("c", "{\"accepted_gaps\":[]}"), offered("d", "{\"accepted_gaps\":[3]}"),
        offered("e", "{\"accepted_gaps\":{}}")};
    auto_buf none = BUF_INIT(4096), some = BUF_INIT(4096);
    (void)state;
    offers_update(&o, list, 1);
    offers_write_gaps(&o, &none);
    assert_string_equal(buf_cstr(&none), "{}");
    offers_update(&o, list, sizeof list / sizeof list[0]);
    offers_write_gaps(&o, &some);
    assert_string_equal(buf_cstr(&some), "{\"b\":[\"swap_limit\",\"landlock\"]}");
    offers_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_health_of_clusters_is_that_of_all_workers_together),
        cmocka_unit_test(nothing_is_refused_before_a_worker_told),
        cmocka_unit_test(a_language_is_there_when_every_worker_has_it),
        cmocka_unit_test(an_older_worker_lacks_what_it_does_not_know),
        cmocka_unit_test(strange_offers_do_no_harm),
        cmocka_unit_test(runs_are_stuck_where_no_worker_takes_any),
        cmocka_unit_test(gaps_are_told_by_worker),
    };
    make_texts();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
