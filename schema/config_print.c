/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/config_print.h"

#include "json/json.h"

#include <string.h>

enum { VALUE_MAX = 65536 };

static const struct config_row *row_at(size_t i)
{
    return &config_table.rows[i];
}

/* Is this the first row of its section? */
static bool opens_section(size_t i)
{
    return i == 0 || strcmp(row_at(i)->section, row_at(i - 1)->section) != 0;
}

static void json_member(struct buf *out, const char *name, const char *value)
{
    json_write_string(out, str_of(name));
    buf_append_char(out, ':');
    json_write_string(out, str_of(value));
}

/* ---- validate ---- */

static void verdict_json(const struct config_problems *problems, struct buf *out)
{
    buf_printf(out, "{\"valid\":%s,\"problems\":[", problems->count == 0 ? "true" : "false");
    for (size_t i = 0; i < problems->count && i < CONFIG_PROBLEMS_MAX; i++) {
        buf_append_cstr(out, i > 0 ? "," : "");
        json_write_string(out, str_of(problems->items[i].text));
    }
    buf_append_cstr(out, "]}\n");
}

void config_print_verdict(const struct config *config, enum config_form form, struct buf *out)
{
    const struct config_problems *problems = &config->base.problems;
    if (form == CONFIG_JSON) {
        verdict_json(problems, out);
        return;
    }
    if (problems->count == 0)
        buf_append_cstr(out, "the configuration is good\n");
    for (size_t i = 0; i < problems->count && i < CONFIG_PROBLEMS_MAX; i++)
        buf_printf(out, "%s\n", problems->items[i].text);
    if (problems->count > CONFIG_PROBLEMS_MAX)
        buf_printf(out, "and %zu more\n", problems->count - CONFIG_PROBLEMS_MAX);
}

/* ---- summary ---- */

static void summary_json(const struct config *config, size_t i, struct buf *out)
{
    auto_buf value = BUF_INIT(VALUE_MAX);
    auto_buf source = BUF_INIT(80);
    struct config_origin origin = config->base.origins[i];
    config_write_value(row_at(i), &config->base, &value);
    config_write_origin((struct config_origin){.source = origin.source}, &source);
    buf_append_cstr(out, i > 0 ? ",\n{" : "{");
    json_member(out, "section", row_at(i)->section);
    buf_append_char(out, ',');
    json_member(out, "name", row_at(i)->name);
    buf_append_char(out, ',');
    json_member(out, "value", buf_cstr(&value));
    buf_append_char(out, ',');
    json_member(out, "source", buf_cstr(&source));
    buf_printf(out, ",\"line\":%u}", origin.line);
}

static void summary_text(const struct config *config, size_t i, struct buf *out)
{
    auto_buf value = BUF_INIT(VALUE_MAX);
    config_write_value(row_at(i), &config->base, &value);
    if (opens_section(i))
        buf_printf(out, "%s[%s]\n", i > 0 ? "\n" : "", row_at(i)->section);
    buf_printf(out, "%-30s %s", row_at(i)->name, value.len > 0 ? buf_cstr(&value) : "(not set)");
    if (config->base.origins[i].source != CONFIG_DEFAULT) {
        buf_append_cstr(out, "    # ");
        config_write_origin(config->base.origins[i], out);
    }
    buf_append_char(out, '\n');
}

void config_print_summary(const struct config *config, enum config_form form, struct buf *out)
{
    buf_append_cstr(out, form == CONFIG_JSON ? "[" : "");
    for (size_t i = 0; i < config_table.count; i++)
        (form == CONFIG_JSON ? summary_json : summary_text)(config, i, out);
    buf_append_cstr(out, form == CONFIG_JSON ? "]\n" : "");
}

/* ---- template ---- */

static void template_json(const struct config_row *row, bool first, struct buf *out)
{
    auto_buf range = BUF_INIT(200);
    config_write_range(row, &range);
    buf_append_cstr(out, first ? "{" : ",\n{");
    const struct {
        const char *name, *value;
    } members[] = {
        {"section", row->section},  {"name", row->name},         {"type", config_type_text(row->type)},
        {"default", row->fallback}, {"range", buf_cstr(&range)}, {"help", row->help}};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        buf_append_cstr(out, i > 0 ? "," : "");
        json_member(out, members[i].name, members[i].value);
    }
    buf_append_char(out, '}');
}

static void write_kind(const struct config_row *row, struct buf *out)
{
    auto_buf range = BUF_INIT(200);
    config_write_range(row, &range);
    buf_append_cstr(out, config_type_text(row->type));
    if (range.len > 0)
        buf_printf(out, "%s%s", row->type == CONFIG_ENUM ? " " : ", ", buf_cstr(&range));
}

static void template_text(size_t i, struct buf *out)
{
    const struct config_row *row = row_at(i);
    if (opens_section(i))
        buf_printf(out, "%s# ---- %s ----\n", i > 0 ? "\n" : "", row->section);
    buf_printf(out, "# %s (", row->help);
    write_kind(row, out);
    buf_printf(out, ")\n#%s=%s\n", row->name, row->fallback);
}

void config_print_template(enum config_form form, struct buf *out)
{
    buf_append_cstr(
        out, form == CONFIG_JSON ? "[" : "# Settings of Millrace; copy to .env and take the # away.\n\n");
    for (size_t i = 0; i < config_table.count; i++) {
        if (form == CONFIG_JSON)
            template_json(row_at(i), i == 0, out);
        else
            template_text(i, out);
    }
    buf_append_cstr(out, form == CONFIG_JSON ? "]\n" : "");
}

/* ---- export ---- */

/* A URL whose password would be masked cannot be exported. */
static bool withheld(const struct config_row *row, const char *shown)
{
    return config_is_secret(row->type) || (row->type == CONFIG_URL && strstr(shown, "***@") != NULL);
}

static void write_typed(const struct config_row *row, const char *shown, struct buf *out)
{
    bool plain = row->type == CONFIG_INT || row->type == CONFIG_SECONDS || row->type == CONFIG_MB ||
                 row->type == CONFIG_BOOL;
    if (plain)
        buf_append_cstr(out, shown);
    else
        json_write_string(out, str_of(shown));
}

static void export_json(const struct config *config, size_t i, struct buf *out)
{
    const struct config_row *row = row_at(i);
    auto_buf shown = BUF_INIT(VALUE_MAX);
    config_write_value(row, &config->base, &shown);
    buf_append_cstr(out, i > 0 ? ",\n" : "\n");
    json_write_string(out, str_of(row->name));
    buf_append_char(out, ':');
    if (withheld(row, buf_cstr(&shown)))
        buf_append_cstr(out, "null");
    else
        write_typed(row, buf_cstr(&shown), out);
}

/* Single quotes keep everything; a value that has one goes into double quotes with escapes. */
static void write_quoted(const char *value, struct buf *out)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:/,@";
    if (value[strspn(value, plain)] == '\0') {
        buf_append_cstr(out, value);
        return;
    }
    bool single = strchr(value, '\'') == NULL;
    buf_append_char(out, single ? '\'' : '"');
    for (const char *p = value; *p != '\0'; p++) {
        if (!single && strchr("\\\"$", *p) != NULL)
            buf_append_char(out, '\\');
        buf_append_char(out, *p);
    }
    buf_append_char(out, single ? '\'' : '"');
}

static void export_text(const struct config *config, size_t i, struct buf *out)
{
    const struct config_row *row = row_at(i);
    auto_buf shown = BUF_INIT(VALUE_MAX);
    if (config->base.origins[i].source == CONFIG_DEFAULT)
        return;
    config_write_value(row, &config->base, &shown);
    if (withheld(row, buf_cstr(&shown))) {
        buf_printf(out, "# %s is set, and left out because it is a secret\n", row->name);
        return;
    }
    buf_printf(out, "%s=", row->name);
    write_quoted(buf_cstr(&shown), out);
    buf_append_char(out, '\n');
}

void config_print_export(const struct config *config, enum config_form form, struct buf *out)
{
    buf_append_cstr(out, form == CONFIG_JSON ? "{" : "");
    for (size_t i = 0; i < config_table.count; i++)
        (form == CONFIG_JSON ? export_json : export_text)(config, i, out);
    buf_append_cstr(out, form == CONFIG_JSON ? "\n}\n" : "");
}

/* ---- documentation ---- */

static void write_default(const struct config_row *row, struct buf *out)
{
    if (row->fallback[0] != '\0')
        buf_printf(out, "`%s`", row->fallback);
}

void config_print_markdown(struct buf *out)
{
    for (size_t i = 0; i < config_table.count; i++) {
        const struct config_row *row = row_at(i);
        if (opens_section(i))
            buf_printf(out, "\n## %s\n\n| setting | default | value | what it does |\n|---|---|---|---|\n",
                       row->section);
        buf_printf(out, "| `%s` | ", row->name);
        write_default(row, out);
        buf_append_cstr(out, " | ");
        write_kind(row, out);
        buf_printf(out, " | %s |\n", row->help);
    }
}
