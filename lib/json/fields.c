/* SPDX-License-Identifier: Apache-2.0 */
#include "json/fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *json_type_text(const json_t *value)
{
    static const char *const texts[] = {
        [JSON_OBJECT] = "an object",
        [JSON_ARRAY] = "a list",
        [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer",
        [JSON_REAL] = "a number with a fraction",
        [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",
        [JSON_NULL] = "null",
    };
    return value != NULL ? texts[json_typeof(value)] : "nothing";
}

enum err json_expect_object(const json_t *value, const char *name, struct errinfo *info)
{
    if (json_is_object(value))
        return ERR_OK;
    return errinfo_set(info, ERR_INVALID, 0, "%s: must be an object, not %s", name, json_type_text(value));
}

static enum err refuse_type(const char *name, const char *wanted, const json_t *got, struct errinfo *info)
{
    return errinfo_set(info, ERR_INVALID, 0, "%s: must be %s, not %s", name, wanted, json_type_text(got));
}

/* The member, or NULL with ERR_OK when it may be absent. */
static enum err get(const json_t *object, const char *name, enum json_need need, const char *wanted,
                    const json_t **ret_value, struct errinfo *info)
{
    const json_t *value = json_object_get(object, name);
    if (json_is_null(value))
        value = NULL;
    if (value == NULL && need == JSON_REQUIRED)
        return errinfo_set(info, ERR_INVALID, 0, "%s: is missing; send %s", name, wanted);
    *ret_value = value;
    return ERR_OK;
}

static struct str text_of(const json_t *value)
{
    return (struct str){.p = json_string_value(value), .n = json_string_length(value)};
}

enum err json_field_string(const json_t *object, const char *name, enum json_need need, size_t max_bytes,
                           struct str *ret_text, struct errinfo *info)
{
    const json_t *value = NULL;
    enum err e = get(object, name, need, "a string", &value, info);
    if (e != ERR_OK || value == NULL)
        return e;
    if (!json_is_string(value))
        return refuse_type(name, "a string", value, info);
    if (json_string_length(value) > max_bytes)
        return errinfo_set(info, ERR_FULL, 0, "%s: has %zu bytes; at most %zu are allowed", name,
                           json_string_length(value), max_bytes);
    *ret_text = text_of(value);
    return ERR_OK;
}

enum err json_field_name(const json_t *object, const char *name, enum json_need need, size_t max_bytes,
                         struct str *ret_text, struct errinfo *info)
{
    struct str text = {0};
    enum err e = json_field_string(object, name, need, max_bytes, &text, info);
    if (e != ERR_OK || text.p == NULL)
        return e;
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f)
            return errinfo_set(info, ERR_INVALID, 0, "%s: must not hold control characters", name);
    *ret_text = text;
    return ERR_OK;
}

enum err json_field_int(const json_t *object, const char *name, enum json_need need, int64_t min, int64_t max,
                        const char *unit, int64_t *ret_value, struct errinfo *info)
{
    char wanted[96];
    snprintf(wanted, sizeof wanted, "an integer from %" PRId64 " to %" PRId64 "%s%s", min, max,
             unit[0] != '\0' ? " " : "", unit);
    const json_t *value = NULL;
    enum err e = get(object, name, need, wanted, &value, info);
    if (e != ERR_OK || value == NULL)
        return e;
    if (!json_is_integer(value))
        return refuse_type(name, wanted, value, info);
    int64_t number = json_integer_value(value);
    if (number < min || number > max)
        return errinfo_set(info, ERR_RANGE, 0, "%s: %" PRId64 " is out of range; must be %s", name, number,
                           wanted);
    *ret_value = number;
    return ERR_OK;
}

enum err json_field_bool(const json_t *object, const char *name, enum json_need need, bool *ret_value,
                         struct errinfo *info)
{
    const json_t *value = NULL;
    enum err e = get(object, name, need, "true or false", &value, info);
    if (e != ERR_OK || value == NULL)
        return e;
    if (!json_is_boolean(value))
        return refuse_type(name, "true or false", value, info);
    *ret_value = json_is_true(value);
    return ERR_OK;
}

/* "a|b|c" -> "a, b, c" */
static void list_choices(const char *choices, char *ret_text, size_t size)
{
    size_t used = 0;
    for (; *choices != '\0' && used + 3 < size; choices++) {
        ret_text[used++] = *choices == '|' ? ',' : *choices;
        if (*choices == '|')
            ret_text[used++] = ' ';
    }
    ret_text[used] = '\0';
}

enum err json_field_choice(const json_t *object, const char *name, enum json_need need, const char *choices,
                           int *ret_choice, struct errinfo *info)
{
    char list[160], wanted[180];
    list_choices(choices, list, sizeof list);
    snprintf(wanted, sizeof wanted, "one of %s", list);
    const json_t *value = NULL;
    enum err e = get(object, name, need, wanted, &value, info);
    if (e != ERR_OK || value == NULL)
        return e;
    if (!json_is_string(value))
        return refuse_type(name, wanted, value, info);
    struct str rest = str_of(choices);
    for (int place = 0; rest.p != NULL; place++)
        if (str_eq(str_split(&rest, '|'), text_of(value))) {
            *ret_choice = place;
            return ERR_OK;
        }
    return errinfo_set(info, ERR_INVALID, 0, "%s: \"%.40s\" is not known; send %s", name,
                       json_string_value(value), wanted);
}

static enum err check_item(const json_t *item, const char *name, size_t place, struct errinfo *info)
{
    if (!json_is_string(item))
        return errinfo_set(info, ERR_INVALID, 0, "%s: item %zu must be a string, not %s", name, place,
                           json_type_text(item));
    if (memchr(json_string_value(item), '\0', json_string_length(item)) != NULL)
        return errinfo_set(info, ERR_INVALID, 0, "%s: item %zu must not hold a NUL character", name, place);
    return ERR_OK;
}

enum err json_field_strings(const json_t *object, const char *name, enum json_need need, size_t max_items,
                            size_t max_bytes, const json_t **ret_list, struct errinfo *info)
{
    const json_t *value = NULL;
    enum err e = get(object, name, need, "a list of strings", &value, info);
    if (e != ERR_OK || value == NULL)
        return e;
    if (!json_is_array(value))
        return refuse_type(name, "a list of strings", value, info);
    if (json_array_size(value) > max_items)
        return errinfo_set(info, ERR_FULL, 0, "%s: has %zu items; at most %zu are allowed", name,
                           json_array_size(value), max_items);
    size_t bytes = 0;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        if ((e = check_item(item, name, i, info)) != ERR_OK)
            return e;
        bytes += json_string_length(item);
    }
    if (bytes > max_bytes)
        return errinfo_set(info, ERR_FULL, 0, "%s: has %zu bytes; at most %zu are allowed", name, bytes,
                           max_bytes);
    *ret_list = value;
    return ERR_OK;
}

enum err json_field_object(const json_t *object, const char *name, enum json_need need,
                           const json_t **ret_object, struct errinfo *info)
{
    const json_t *value = NULL;
    enum err e = get(object, name, need, "an object", &value, info);
    if (e != ERR_OK || value == NULL)
        return e;
    if ((e = json_expect_object(value, name, info)) != ERR_OK)
        return e;
    *ret_object = value;
    return ERR_OK;
}

static bool is_known(const char *name, const char *const *known)
{
    for (; *known != NULL; known++)
        if (strcmp(*known, name) == 0)
            return true;
    return false;
}

static const char *nearest(const char *name, const char *const *known)
{
    const char *best = NULL;
    unsigned least = (unsigned)strnlen(name, 64) / 3 + 2; /* "timeout" is near "timeout_ms" */
    for (; *known != NULL; known++) {
        unsigned distance = str_distance(str_of(name), str_of(*known));
        if (distance < least) {
            least = distance;
            best = *known;
        }
    }
    return best;
}

enum err json_fields_known(const json_t *object, const char *const *known, struct errinfo *info)
{
    /* jansson's iterators take a non-const object, and change nothing */
    json_t *members = (json_t *)(uintptr_t)object;
    const char *name;
    json_t *value;
    json_object_foreach(members, name, value)
    {
        if (is_known(name, known))
            continue;
        const char *near = nearest(name, known);
        return errinfo_set(info, ERR_INVALID, 0, "%.60s: there is no such field%s%s%s", name,
                           near != NULL ? "; did you mean " : "", near != NULL ? near : "",
                           near != NULL ? "?" : "");
    }
    return ERR_OK;
}
