/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"
#include "json/fields.h"

#include <string.h>

static const struct str body = STR(
    "{\"code\":\"print(1)\\u0000\",\"name\":\"a\\nb\",\"n\":7,\"real\":1.0,\"text\":\"7\",\"yes\":true,"
    "\"none\":null,"
    "\"list\":[\"a\",\"b\"],\"mixed\":[\"a\",1],\"nul\":[\"a\\u0000\"],\"object\":{},\"kind\":\"batch\"}");

struct ground {
    json_t *object;
    struct errinfo info;
};

static int enter(void **state)
{
    static struct ground ground;
    ground = (struct ground){0};
    *state = &ground;
    return json_parse(body, &ground.object, NULL) == ERR_OK ? 0 : -1;
}

static int leave(void **state)
{
    struct ground *g = *state;
    json_decref(g->object);
    return 0;
}

#define REFUSED(g, code, sentence, call)                                                                     \
    do {                                                                                                     \
        assert_int_equal((call), (code));                                                                    \
        assert_string_equal((g)->info.text, (sentence));                                                     \
    } while (0)

static void strings(void **state)
{
    struct ground *g = *state;
    struct str text = STR("before");
    assert_int_equal(json_field_string(g->object, "code", JSON_REQUIRED, 9, &text, &g->info), ERR_OK);
    assert_true(str_eq(text, STR("print(1)\0")));
    text = STR("before");
    assert_int_equal(json_field_string(g->object, "absent", JSON_OPTIONAL, 9, &text, &g->info), ERR_OK);
    assert_int_equal(json_field_string(g->object, "none", JSON_OPTIONAL, 9, &text, &g->info), ERR_OK);
    REFUSED(g, ERR_FULL, "code: has 9 bytes; at most 8 are allowed",
            json_field_string(g->object, "code", JSON_REQUIRED, 8, &text, &g->info));
    REFUSED(g, ERR_INVALID, "n: must be a string, not an integer",
            json_field_string(g->object, "n", JSON_OPTIONAL, 8, &text, &g->info));
    REFUSED(g, ERR_INVALID, "none: is missing; send a string",
            json_field_string(g->object, "none", JSON_REQUIRED, 8, &text, &g->info));
    REFUSED(g, ERR_INVALID, "name: must not hold control characters",
            json_field_name(g->object, "name", JSON_REQUIRED, 8, &text, &g->info));
    assert_int_equal(json_field_name(g->object, "absent", JSON_OPTIONAL, 8, &text, &g->info), ERR_OK);
    assert_true(str_eq(text, STR("before")));
}

static void integers(void **state)
{
    struct ground *g = *state;
    int64_t n = -5;
    assert_int_equal(json_field_int(g->object, "n", JSON_REQUIRED, 7, 7, "ms", &n, &g->info), ERR_OK);
    assert_int_equal(n, 7);
    REFUSED(g, ERR_RANGE, "n: 7 is out of range; must be an integer from 8 to 9 ms",
            json_field_int(g->object, "n", JSON_REQUIRED, 8, 9, "ms", &n, &g->info));
    REFUSED(g, ERR_RANGE, "n: 7 is out of range; must be an integer from -1 to 6",
            json_field_int(g->object, "n", JSON_REQUIRED, -1, 6, "", &n, &g->info));
    REFUSED(g, ERR_INVALID, "real: must be an integer from 0 to 9, not a number with a fraction",
            json_field_int(g->object, "real", JSON_REQUIRED, 0, 9, "", &n, &g->info));
    REFUSED(g, ERR_INVALID, "text: must be an integer from 0 to 9, not a string",
            json_field_int(g->object, "text", JSON_REQUIRED, 0, 9, "", &n, &g->info));
    REFUSED(g, ERR_INVALID, "yes: must be an integer from 0 to 9, not true",
            json_field_int(g->object, "yes", JSON_REQUIRED, 0, 9, "", &n, &g->info));
    assert_int_equal(n, 7);
}

static void booleans_and_choices(void **state)
{
    struct ground *g = *state;
    bool flag = false;
    int choice = -1;
    assert_int_equal(json_field_bool(g->object, "yes", JSON_REQUIRED, &flag, &g->info), ERR_OK);
    assert_true(flag);
    REFUSED(g, ERR_INVALID, "n: must be true or false, not an integer",
            json_field_bool(g->object, "n", JSON_REQUIRED, &flag, &g->info));
    assert_int_equal(
        json_field_choice(g->object, "kind", JSON_REQUIRED, "interactive|normal|batch", &choice, &g->info),
        ERR_OK);
    assert_int_equal(choice, 2);
    REFUSED(g, ERR_INVALID, "kind: \"batch\" is not known; send one of a, b",
            json_field_choice(g->object, "kind", JSON_REQUIRED, "a|b", &choice, &g->info));
    REFUSED(g, ERR_INVALID, "n: must be one of a, b, not an integer",
            json_field_choice(g->object, "n", JSON_REQUIRED, "a|b", &choice, &g->info));
    assert_int_equal(choice, 2);
}

static void lists_and_objects(void **state)
{
    struct ground *g = *state;
    const json_t *out = NULL;
    assert_int_equal(json_field_strings(g->object, "list", JSON_REQUIRED, 2, 2, &out, &g->info), ERR_OK);
    assert_int_equal(json_array_size(out), 2);
    REFUSED(g, ERR_FULL, "list: has 2 items; at most 1 are allowed",
            json_field_strings(g->object, "list", JSON_REQUIRED, 1, 9, &out, &g->info));
    REFUSED(g, ERR_FULL, "list: has 2 bytes; at most 1 are allowed",
            json_field_strings(g->object, "list", JSON_REQUIRED, 2, 1, &out, &g->info));
    REFUSED(g, ERR_INVALID, "mixed: item 1 must be a string, not an integer",
            json_field_strings(g->object, "mixed", JSON_REQUIRED, 9, 9, &out, &g->info));
    REFUSED(g, ERR_INVALID, "nul: item 0 must not hold a NUL character",
            json_field_strings(g->object, "nul", JSON_REQUIRED, 9, 9, &out, &g->info));
    REFUSED(g, ERR_INVALID, "object: must be a list of strings, not an object",
            json_field_strings(g->object, "object", JSON_REQUIRED, 9, 9, &out, &g->info));
    assert_int_equal(json_field_object(g->object, "object", JSON_REQUIRED, &out, &g->info), ERR_OK);
    assert_true(json_is_object(out));
    REFUSED(g, ERR_INVALID, "list: must be an object, not a list",
            json_field_object(g->object, "list", JSON_REQUIRED, &out, &g->info));
    REFUSED(g, ERR_INVALID, "the body: must be an object, not a list",
            json_expect_object(json_object_get(g->object, "list"), "the body", &g->info));
}

static void unknown_fields(void **state)
{
    static const char *const known[] = {"timeout_ms", "code", NULL};
    auto_json good = NULL;
    auto_json near = NULL;
    auto_json far = NULL;
    struct ground *g = *state;
    assert_int_equal(json_parse(STR("{\"code\":1}"), &good, NULL), ERR_OK);
    assert_int_equal(json_parse(STR("{\"timeout\":1}"), &near, NULL), ERR_OK);
    assert_int_equal(json_parse(STR("{\"__proto__\":1}"), &far, NULL), ERR_OK);
    assert_int_equal(json_fields_known(good, known, &g->info), ERR_OK);
    REFUSED(g, ERR_INVALID, "timeout: there is no such field; did you mean timeout_ms?",
            json_fields_known(near, known, &g->info));
    REFUSED(g, ERR_INVALID, "__proto__: there is no such field", json_fields_known(far, known, &g->info));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(strings, enter, leave),
        cmocka_unit_test_setup_teardown(integers, enter, leave),
        cmocka_unit_test_setup_teardown(booleans_and_choices, enter, leave),
        cmocka_unit_test_setup_teardown(lists_and_objects, enter, leave),
        cmocka_unit_test_setup_teardown(unknown_fields, enter, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
