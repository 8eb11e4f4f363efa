/* SPDX-License-Identifier: Apache-2.0 */
#include "io/config_load.h"
#include "schema/config_print.h"
#include "json/json.h"

#include "base/dotenv.h"
#include "unit.h"

#include <string.h>

static const char *const environment[] = {"API_KEY=canary-canary-canary",  "API_PORT=9000",
                                          "REDIS_URL=redis://:canary@h/0", "WORKER_ID=w1",
                                          "REDIS_KEY_PREFIX=it's $x:",     NULL};

struct ground {
    struct config config;
    struct buf out;
};

static int enter(void **state)
{
    static struct ground g;
    g = (struct ground){.out = BUF_INIT(1 << 20)};
    *state = &g;
    const struct config_request request = {.environment = environment, .directory = "/nonexistent"};
    return config_load(&config_table, &g.config.base, &request, NULL) == ERR_OK ? 0 : -1;
}

static int leave(void **state)
{
    struct ground *g = *state;
    config_release(&g->config.base);
    buf_free(&g->out);
    return 0;
}

static void expect(struct ground *g, const char *part)
{
    if (strstr(buf_cstr(&g->out), part) == NULL)
        fail_msg("no \"%s\" in:\n%s", part, buf_cstr(&g->out));
}

static void expect_json(struct ground *g, json_t **ret_value)
{
    struct errinfo info = {0};
    if (json_parse(buf_str(&g->out), ret_value, &info) != ERR_OK)
        fail_msg("%s in:\n%s", info.text, buf_cstr(&g->out));
}

static void verdict(void **state)
{
    struct ground *g = *state;
    config_print_verdict(&g->config, CONFIG_TEXT, &g->out);
    expect(g, "the configuration is good\n");
    config_problem(&g->config.base, "X: is \"bad\"");
    buf_reset(&g->out);
    config_print_verdict(&g->config, CONFIG_TEXT, &g->out);
    assert_string_equal(buf_cstr(&g->out), "X: is \"bad\"\n");
    buf_reset(&g->out);
    config_print_verdict(&g->config, CONFIG_JSON, &g->out);
    assert_string_equal(buf_cstr(&g->out), "{\"valid\":false,\"problems\":[\"X: is \\\"bad\\\"\"]}\n");
}

static void summary(void **state)
{
    struct ground *g = *state;
    config_print_summary(&g->config, CONFIG_TEXT, &g->out);
    expect(g, "[api]\n");
    expect(g, "API_PORT                       9000    # environment\n");
    expect(g, "API_KEY                        (hidden)    # environment\n");
    expect(g, "API_KEYS                       (not set)\n");
    expect(g, "LEASE_SECONDS                  10\n");
    expect(g, "redis://***@h/0");
    assert_null(strstr(buf_cstr(&g->out), "canary"));
    buf_reset(&g->out);
    config_print_summary(&g->config, CONFIG_JSON, &g->out);
    auto_json value = NULL;
    expect_json(g, &value);
    assert_int_equal(json_array_size(value), config_table.count);
    assert_null(strstr(buf_cstr(&g->out), "canary"));
}

static void count_names(void *arg, unsigned line, struct str name, struct str value)
{
    (void)line;
    (void)value;
    assert_non_null(config_find(&config_table, name));
    ++*(size_t *)arg;
}

/* The template with its # taken away is a .env that names every setting. */
static void template_is_a_dotenv(void **state)
{
    struct ground *g = *state;
    config_print_template(CONFIG_TEXT, &g->out);
    auto_buf enabled = BUF_INIT(1 << 20);
    for (struct str rest = buf_str(&g->out); rest.p != NULL;) {
        struct str line = str_split(&rest, '\n');
        bool setting = line.n > 1 && line.p[0] == '#' && line.p[1] >= 'A' && line.p[1] <= 'Z';
        buf_append(&enabled, line.p + (setting ? 1 : 0), line.n - (setting ? 1 : 0));
        buf_append_char(&enabled, '\n');
    }
    size_t count = 0;
    struct errinfo info = {0};
    if (dotenv_parse(buf_str(&enabled), count_names, &count, &info) != ERR_OK)
        fail_msg("%s", info.text);
    assert_int_equal(count, config_table.count);
    buf_reset(&g->out);
    config_print_template(CONFIG_JSON, &g->out);
    auto_json value = NULL;
    expect_json(g, &value);
    assert_int_equal(json_array_size(value), config_table.count);
}

static void apply(void *arg, unsigned line, struct str name, struct str value)
{
    (void)line;
    config_apply(&config_table, arg, name, value, (struct config_origin){.source = CONFIG_DOTENV});
}

/* What export prints gives the same configuration again, but for its secrets. */
static void export_returns(void **state)
{
    struct ground *g = *state;
    config_print_export(&g->config, CONFIG_TEXT, &g->out);
    assert_null(strstr(buf_cstr(&g->out), "canary"));
    expect(g, "# API_KEY is set");
    expect(g, "# REDIS_URL is set");
    struct config again = {0};
    assert_int_equal(config_begin(&config_table, &again.base), ERR_OK);
    assert_int_equal(dotenv_parse(buf_str(&g->out), apply, &again.base, NULL), ERR_OK);
    assert_int_equal(again.base.problems.count, 0);
    assert_int_equal(again.api_port, 9000);
    assert_string_equal(again.worker_id, "w1");
    assert_string_equal(again.redis_key_prefix, "it's $x:");
    config_release(&again.base);
    buf_reset(&g->out);
    config_print_export(&g->config, CONFIG_JSON, &g->out);
    auto_json value = NULL;
    expect_json(g, &value);
    assert_null(strstr(buf_cstr(&g->out), "canary"));
    assert_int_equal(json_integer_value(json_object_get(value, "API_PORT")), 9000);
    assert_true(json_is_null(json_object_get(value, "API_KEY")));
    assert_true(json_is_true(json_object_get(value, "POD_POOL_ENABLED")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(verdict, enter, leave),
        cmocka_unit_test_setup_teardown(summary, enter, leave),
        cmocka_unit_test_setup_teardown(template_is_a_dotenv, enter, leave),
        cmocka_unit_test_setup_teardown(export_returns, enter, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
