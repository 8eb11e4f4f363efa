/* SPDX-License-Identifier: Apache-2.0 */
#include "base/config_engine.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MEMORY_MAX = 1 << 20, LIST_MAX = 256, MS_A_SECOND = 1000, BYTES_A_MB = 1 << 20 };

/* ---- problems ---- */

static void add_problem(struct config_base *out, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
static void add_problem(struct config_base *out, const char *fmt, va_list ap)
{
    struct config_problems *all = &out->problems;
    if (all->count++ >= CONFIG_PROBLEMS_MAX)
        return;
    struct errinfo *info = &all->items[all->count - 1];
    info->code = ERR_INVALID;
    vsnprintf(info->text, sizeof info->text, fmt, ap);
}

void config_problem(struct config_base *out, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add_problem(out, fmt, ap);
    va_end(ap);
}

enum err config_verdict(const struct config_base *out, struct errinfo *info)
{
    if (out->problems.count == 0)
        return ERR_OK;
    size_t more = out->problems.count - 1;
    if (more == 0)
        return errinfo_set(info, ERR_INVALID, 0, "%s", out->problems.items[0].text);
    return errinfo_set(info, ERR_INVALID, 0, "%.200s (and %zu more; see `millrace config validate`)",
                       out->problems.items[0].text, more);
}

/* ---- names ---- */

const struct config_row *config_find(const struct config_table *table, struct str name)
{
    for (size_t i = 0; i < table->count; i++)
        if (str_eq(name, str_of(table->rows[i].name)))
            return &table->rows[i];
    return NULL;
}

static bool is_heeded(const struct config_table *table, const struct config_row *row)
{
    return table->section == NULL || strcmp(table->section, row->section) == 0;
}

const struct config_row *config_nearest(const struct config_table *table, struct str name)
{
    char upper[64];
    if (name.n > sizeof upper)
        return NULL;
    for (size_t i = 0; i < name.n; i++)
        upper[i] = (char)(name.p[i] >= 'a' && name.p[i] <= 'z' ? name.p[i] - 'a' + 'A' : name.p[i]);
    const struct config_row *best = NULL;
    unsigned least = (unsigned)name.n / 3 + 1; /* farther is no typing mistake */
    for (size_t i = 0; i < table->count; i++) {
        unsigned distance = str_distance((struct str){.p = upper, .n = name.n}, str_of(table->rows[i].name));
        if (distance < least && is_heeded(table, &table->rows[i])) {
            least = distance;
            best = &table->rows[i];
        }
    }
    return best;
}

static bool matches(struct str pattern, struct str name)
{
    if (pattern.n > 0 && pattern.p[pattern.n - 1] == '*')
        return str_starts(name, (struct str){.p = pattern.p, .n = pattern.n - 1});
    if (pattern.n > 0 && pattern.p[0] == '*') {
        size_t tail = pattern.n - 1;
        return name.n >= tail && memcmp(name.p + name.n - tail, pattern.p + 1, tail) == 0;
    }
    return str_eq(pattern, name);
}

bool config_is_ours(const struct config_table *table, struct str name)
{
    if (config_find(table, name) != NULL)
        return true;
    for (size_t i = 0; table->foreign != NULL && table->foreign[i] != NULL; i++)
        if (matches(str_of(table->foreign[i]), name))
            return false;
    for (size_t i = 0; i < table->count; i++) {
        const char *underscore = strchr(table->rows[i].name, '_');
        size_t prefix = underscore != NULL ? (size_t)(underscore - table->rows[i].name) + 1 : 0;
        if (prefix > 0 && is_heeded(table, &table->rows[i]) &&
            str_starts(name, (struct str){.p = table->rows[i].name, .n = prefix}))
            return true;
    }
    return false;
}

/* ---- values ---- */

struct target {
    const struct config_row *row;
    struct config_base *out;
    struct config_origin origin;
};

static void *field_of(const struct config_row *row, struct config_base *out)
{
    return (char *)out + row->offset;
}

static const void *field_in(const struct config_row *row, const struct config_base *values)
{
    return (const char *)values + row->offset;
}

static void refuse(const struct target *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void refuse(const struct target *t, const char *fmt, ...)
{
    auto_buf text = BUF_INIT(sizeof(struct errinfo));
    buf_printf(&text, "%s (", t->row->name);
    config_write_origin(t->origin, &text);
    buf_append_cstr(&text, "): ");
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    config_problem(t->out, "%s", buf_status(&text) == ERR_OK ? buf_cstr(&text) : t->row->name);
}

static void refuse_value(const struct target *t, struct str value)
{
    auto_buf range = BUF_INIT(160);
    config_write_range(t->row, &range);
    refuse(t, "\"%.*s\" is not allowed; give %s%s%s", (int)(value.n > 60 ? 60 : value.n), value.p,
           config_type_text(t->row->type), range.len > 0 && t->row->type != CONFIG_ENUM ? ", " : " ",
           buf_cstr(&range));
}

static bool in_range(const struct config_row *row, int64_t value)
{
    return value >= row->min && value <= row->max;
}

static bool parse_bool(struct str s, bool *ret_value)
{
    static const struct {
        const char *text;
        bool value;
    } words[] = {{"true", true}, {"false", false}, {"yes", true}, {"no", false},
                 {"on", true},   {"off", false},   {"1", true},   {"0", false}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (str_eq_nocase(s, str_of(words[i].text))) {
            *ret_value = words[i].value;
            return true;
        }
    return false;
}

/* Digits, and up to six of them behind a point, times `unit`; a result that is no integer is cut. */
static bool parse_scaled(struct str s, int64_t unit, int64_t *ret_value)
{
    struct str fraction = s;
    struct str whole_text = str_split(&fraction, '.');
    uint64_t whole;
    int64_t value;
    if (str_to_u64(whole_text, &whole) != ERR_OK || __builtin_mul_overflow(whole, unit, &value))
        return false;
    if (fraction.p != NULL) {
        uint64_t part;
        if (fraction.n > 6 || str_to_u64(fraction, &part) != ERR_OK)
            return false;
        int64_t power = 1;
        for (size_t i = 0; i < fraction.n; i++)
            power *= 10;
        if (__builtin_add_overflow(value, (int64_t)part * unit / power, &value))
            return false;
    }
    *ret_value = value;
    return true;
}

/* "10", "0.5", "500ms", "10s", "2m", "1h". */
static bool parse_duration(struct str s, int64_t *ret_ms)
{
    static const struct {
        struct str suffix;
        int64_t ms;
    } units[] = {{STR("ms"), 1}, {STR("s"), MS_A_SECOND}, {STR("m"), 60000}, {STR("h"), 3600000}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t n = units[i].suffix.n;
        if (s.n > n && memcmp(s.p + s.n - n, units[i].suffix.p, n) == 0)
            return parse_scaled((struct str){.p = s.p, .n = s.n - n}, units[i].ms, ret_ms);
    }
    return parse_scaled(s, MS_A_SECOND, ret_ms);
}

static int choice_of(const char *choices, struct str s)
{
    struct str rest = str_of(choices);
    for (int i = 0; rest.p != NULL; i++)
        if (str_eq_nocase(str_split(&rest, '|'), s))
            return i;
    return -1;
}

static void set_number(const struct target *t, struct str value)
{
    int64_t number;
    bool good;
    if (t->row->type == CONFIG_SECONDS)
        good = parse_duration(value, &number);
    else if (t->row->type == CONFIG_MB)
        good = parse_scaled(value, BYTES_A_MB, &number);
    else
        good = str_to_i64(value, &number) == ERR_OK;
    if (!good || !in_range(t->row, number))
        refuse_value(t, value);
    else
        *(int64_t *)field_of(t->row, t->out) = number;
}

static void set_bool(const struct target *t, struct str value)
{
    if (!parse_bool(value, field_of(t->row, t->out)))
        refuse_value(t, value);
}

static void set_enum(const struct target *t, struct str value)
{
    int choice = choice_of(t->row->choices, value);
    if (choice < 0)
        refuse_value(t, value);
    else
        *(int *)field_of(t->row, t->out) = choice;
}

/* Texts go into paths, headers and URLs: no control characters, and a bounded length. */
static bool text_good(const struct target *t, struct str value)
{
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7f) {
            refuse(t, "control characters are not allowed");
            return false;
        }
    if (value.n > 0 && !in_range(t->row, (int64_t)value.n)) {
        refuse(t, "has %zu bytes; must have %" PRId64 " to %" PRId64, value.n, t->row->min, t->row->max);
        return false;
    }
    return true;
}

static void set_text(const struct target *t, struct str value)
{
    if (!text_good(t, value))
        return;
    const char *copy = arena_cstr(&t->out->memory, value);
    if (copy == NULL)
        refuse(t, "too long");
    else
        *(const char **)field_of(t->row, t->out) = copy;
}

static void set_list(const struct target *t, struct str value)
{
    const char **items = arena_array(&t->out->memory, LIST_MAX, sizeof *items);
    size_t count = 0;
    for (struct str rest = value; rest.p != NULL && items != NULL;) {
        struct str item = str_trim(str_split(&rest, ','));
        if (item.n == 0)
            continue;
        if (!text_good(t, item))
            return;
        if (count == LIST_MAX) {
            refuse(t, "more than %d items", LIST_MAX);
            return;
        }
        items[count++] = arena_cstr(&t->out->memory, item);
    }
    if (arena_status(&t->out->memory) != ERR_OK)
        refuse(t, "too long");
    else
        *(struct config_list *)field_of(t->row, t->out) =
            (struct config_list){.items = items, .count = count};
}

typedef void (*setter)(const struct target *t, struct str value);
static const setter setters[] = {
    [CONFIG_STRING] = set_text,    [CONFIG_INT] = set_number,  [CONFIG_BOOL] = set_bool,
    [CONFIG_SECONDS] = set_number, [CONFIG_MB] = set_number,   [CONFIG_ENUM] = set_enum,
    [CONFIG_LIST] = set_list,      [CONFIG_SECRET] = set_text, [CONFIG_SECRETS] = set_list,
    [CONFIG_URL] = set_text,
};

static bool may_be_empty(enum config_type type)
{
    return setters[type] == set_text || setters[type] == set_list;
}

/* ---- applying ---- */

void config_apply_row(const struct config_table *table, struct config_base *out, const struct config_row *row,
                      struct str value, struct config_origin origin)
{
    const struct target t = {.row = row, .out = out, .origin = origin};
    if (origin.source != CONFIG_DEFAULT && !is_heeded(table, row))
        return;
    if (origin.source == CONFIG_COMMAND && config_is_secret(row->type)) {
        refuse(
            &t,
            "a secret on the command line can be read by every user; give it in the environment or a file");
        return;
    }
    if (value.n == 0 && !may_be_empty(row->type)) {
        refuse(&t, "the value is empty");
        return;
    }
    size_t before = out->problems.count;
    setters[row->type](&t, value);
    if (out->problems.count == before)
        out->origins[row - table->rows] = origin;
}

void config_apply(const struct config_table *table, struct config_base *out, struct str name,
                  struct str value, struct config_origin origin)
{
    const struct config_row *row = config_find(table, name);
    if (row != NULL) {
        config_apply_row(table, out, row, value, origin);
        return;
    }
    auto_buf where = BUF_INIT(80);
    config_write_origin(origin, &where);
    const struct config_row *near = config_nearest(table, name);
    config_problem(out, "%.*s (%s): there is no such setting%s%s%s", (int)(name.n > 80 ? 80 : name.n), name.p,
                   buf_cstr(&where), near != NULL ? "; did you mean " : "", near != NULL ? near->name : "",
                   near != NULL ? "?" : "");
}

enum err config_begin(const struct config_table *table, struct config_base *out)
{
    out->memory = ARENA_INIT(MEMORY_MAX);
    out->problems.count = 0;
    out->origins = arena_array(&out->memory, table->count, sizeof *out->origins);
    if (out->origins == NULL)
        return arena_status(&out->memory);
    for (size_t i = 0; i < table->count; i++)
        config_apply_row(table, out, &table->rows[i], str_of(table->rows[i].fallback),
                         (struct config_origin){.source = CONFIG_DEFAULT});
    if (arena_status(&out->memory) != ERR_OK)
        return arena_status(&out->memory);
    assert(out->problems.count == 0);
    return ERR_OK;
}

void config_release(struct config_base *out)
{
    arena_free(&out->memory);
    out->origins = NULL;
}

/* ---- for people ---- */

const char *config_type_text(enum config_type type)
{
    static const char *const texts[] = {
#define X(name, c_type, text) [CONFIG_##name] = (text),
        CONFIG_TYPE_TABLE(X)
#undef X
    };
    return texts[type];
}

bool config_is_secret(enum config_type type)
{
    return type == CONFIG_SECRET || type == CONFIG_SECRETS;
}

void config_write_origin(struct config_origin origin, struct buf *out)
{
    static const char *const names[] = {
        [CONFIG_DEFAULT] = "default",         [CONFIG_FILE] = "configuration file", [CONFIG_DOTENV] = ".env",
        [CONFIG_ENVIRONMENT] = "environment", [CONFIG_COMMAND] = "command line",
    };
    buf_append_cstr(out, names[origin.source]);
    if (origin.line > 0)
        buf_printf(out, " line %u", origin.line);
}

static void write_number(enum config_type type, int64_t value, struct buf *out)
{
    int64_t unit = type == CONFIG_SECONDS ? MS_A_SECOND : type == CONFIG_MB ? BYTES_A_MB : 1;
    if (value % unit == 0)
        buf_printf(out, "%" PRId64, value / unit);
    else
        buf_printf(out, "%.10g", (double)value / (double)unit);
}

static void write_choices(const char *choices, struct buf *out)
{
    struct str rest = str_of(choices);
    for (bool first = true; rest.p != NULL; first = false) {
        struct str choice = str_split(&rest, '|');
        buf_append_cstr(out, first ? "" : rest.p != NULL ? ", " : " or ");
        buf_append_str(out, choice);
    }
}

void config_write_range(const struct config_row *row, struct buf *out)
{
    if (row->type == CONFIG_ENUM) {
        write_choices(row->choices, out);
    } else if (row->type == CONFIG_INT || row->type == CONFIG_SECONDS || row->type == CONFIG_MB) {
        write_number(row->type, row->min, out);
        buf_append_cstr(out, " to ");
        write_number(row->type, row->max, out);
    }
}

/* The user and password before the host become "***"; what stands before the last '@' of the authority may be
   a password as a whole. */
static void write_url(const char *url, struct buf *out)
{
    const char *authority = strstr(url, "://");
    authority = authority != NULL ? authority + 3 : url;
    size_t span = strcspn(authority, "/?#");
    const char *at = memrchr(authority, '@', span);
    if (at == NULL) {
        buf_append_cstr(out, url);
        return;
    }
    buf_append(out, url, (size_t)(authority - url));
    buf_append_cstr(out, "***");
    buf_append_cstr(out, at);
}

static void write_list(const struct config_list *list, struct buf *out)
{
    for (size_t i = 0; i < list->count; i++) {
        buf_append_cstr(out, i > 0 ? "," : "");
        buf_append_cstr(out, list->items[i]);
    }
}

static void write_choice(const char *choices, int place, struct buf *out)
{
    struct str rest = str_of(choices);
    struct str choice = str_split(&rest, '|');
    while (place-- > 0)
        choice = str_split(&rest, '|');
    buf_append_str(out, choice);
}

void config_write_value(const struct config_row *row, const struct config_base *values, struct buf *out)
{
    const void *field = field_in(row, values);
    switch (row->type) {
    case CONFIG_STRING:
        buf_append_cstr(out, *(const char *const *)field);
        break;
    case CONFIG_URL:
        write_url(*(const char *const *)field, out);
        break;
    case CONFIG_INT:
    case CONFIG_SECONDS:
    case CONFIG_MB:
        write_number(row->type, *(const int64_t *)field, out);
        break;
    case CONFIG_BOOL:
        buf_append_cstr(out, *(const bool *)field ? "true" : "false");
        break;
    case CONFIG_ENUM:
        write_choice(row->choices, *(const int *)field, out);
        break;
    case CONFIG_LIST:
        write_list(field, out);
        break;
    case CONFIG_SECRET:
        buf_append_cstr(out, (*(const char *const *)field)[0] != '\0' ? "(hidden)" : "");
        break;
    case CONFIG_SECRETS:
        buf_append_cstr(out, ((const struct config_list *)field)->count > 0 ? "(hidden)" : "");
        break;
    }
}
