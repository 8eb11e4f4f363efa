/* SPDX-License-Identifier: Apache-2.0 */
#include "api/programmatic.h"

#include "base/utf8.h"
#include "json/fields.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

extern const char programmatic_program_py[], programmatic_call_py[];

/* ---- names ---- */

static const char *const python_reserved[] = {
    "False", "None",     "True",  "and",    "as",   "assert", "async",  "await",    "break",
    "class", "continue", "def",   "del",    "elif", "else",   "except", "finally",  "for",
    "from",  "global",   "if",    "import", "in",   "is",     "lambda", "nonlocal", "not",
    "or",    "pass",     "raise", "return", "try",  "while",  "with",   "yield",    NULL};
static const char *const bash_reserved[] = {
    "if",      "then",  "else",     "elif",   "fi",       "case",   "esac", "for",    "while",
    "until",   "do",    "done",     "in",     "function", "select", "time", "coproc", "declare",
    "typeset", "local", "readonly", "export", "unset",    "return", "exit", "break",  "continue",
    "shift",   "alias", "unalias",  "source", "echo",     "printf", "read", "cd",     "pwd",
    "kill",    "trap",  "wait",     "eval",   "exec",     "jobs",   "bg",   "fg",     "set",
    "let",     "test",  "true",     "false",  NULL};

static bool listed(const char *const *words, const char *word)
{
    for (; *words != NULL; words++)
        if (strcmp(*words, word) == 0)
            return true;
    return false;
}

static bool is_reserved(enum tool_language language, const char *word)
{
    if (language == TOOLS_PYTHON)
        return listed(python_reserved, word);
    return listed(bash_reserved, word) || strncmp(word, "_ptc_", 5) == 0;
}

/* Dots vanish in Python and become _ in Bash: so the clients do it. */
static char letter(enum tool_language language, char c)
{
    bool blank = c == '-' || c == ' ' || (c >= '\t' && c <= '\r');
    if (blank || (language == TOOLS_BASH && c == '.'))
        return '_';
    bool kept = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    return (char)(kept ? c : '\0');
}

void tool_identifier(enum tool_language language, struct str name, char ret_identifier[TOOL_IDENTIFIER_MAX])
{
    char *out = ret_identifier;
    for (size_t i = 0; i < name.n && i < TOOL_NAME_MAX; i++) {
        char c = letter(language, name.p[i]);
        if (c != '\0' && out == ret_identifier && c >= '0' && c <= '9')
            *out++ = '_';
        if (c != '\0')
            *out++ = c;
    }
    *out = '\0';
    if (ret_identifier[0] == '\0')
        snprintf(ret_identifier, TOOL_IDENTIFIER_MAX, "tool");
    else if (is_reserved(language, ret_identifier))
        memcpy(out, "_tool", sizeof "_tool");
}

/* ---- the tools ---- */

struct draft {
    enum tool_language language;
    json_t *body;
    const json_t *tools; /* or NULL */
    struct str code;
    struct api_fault *fault;
};

static struct str text_of(const json_t *value)
{
    return (struct str){json_string_value(value), json_string_length(value)};
}

static struct str name_of(const json_t *tool)
{
    return text_of(json_object_get(tool, "name"));
}

static enum err check_collision(struct draft *d, size_t place, const char *mine)
{
    char other[TOOL_IDENTIFIER_MAX];
    if (d->language == TOOLS_PYTHON)
        return ERR_OK; /* the last one wins */
    for (size_t i = 0; i < place; i++) {
        tool_identifier(d->language, name_of(json_array_get(d->tools, i)), other);
        struct str one = name_of(json_array_get(d->tools, i)), two = name_of(json_array_get(d->tools, place));
        if (strcmp(mine, other) == 0)
            return api_fault_set(
                d->fault, CE_BAD_REQUEST,
                "Bash tool names \"" STR_FMT "\" and \"" STR_FMT
                "\" normalize to the same function identifier \"%s\"; rename one to avoid collision",
                STR_ARG(one), STR_ARG(two), mine);
    }
    return ERR_OK;
}

static enum err check_tools(struct draft *d)
{
    const json_t *tools = json_object_get(d->body, "tools");
    if (tools != NULL && !json_is_array(tools))
        return api_fault_set(d->fault, CE_BAD_REQUEST,
                             "Missing required field: tools (must be a non-empty array)");
    if (tools == NULL)
        return api_fault_set(d->fault, CE_BAD_REQUEST,
                             "Missing required field: tools (must be a non-empty array)");
    if (json_array_size(tools) > TOOLS_MAX)
        return api_fault_set(d->fault, CE_BAD_REQUEST, "Too many tools provided (%zu). Maximum is %d.",
                             json_array_size(tools), TOOLS_MAX);
    d->tools = tools;
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *name = json_object_get(json_array_get(tools, i), "name");
        char identifier[TOOL_IDENTIFIER_MAX];
        if (!json_is_string(name) || json_string_length(name) == 0 ||
            json_string_length(name) > TOOL_NAME_MAX ||
            memchr(json_string_value(name), '\0', json_string_length(name)) != NULL)
            return api_fault_set(d->fault, CE_BAD_REQUEST,
                                 "tools[%zu].name must be a string of 1 to %d bytes", i, TOOL_NAME_MAX);
        tool_identifier(d->language, text_of(name), identifier);
        if (check_collision(d, i, identifier) != ERR_OK)
            return ERR_INVALID;
    }
    return ERR_OK;
}

static bool is_required(const json_t *required, const char *name)
{
    for (size_t i = 0; i < json_array_size(required); i++)
        if (str_eq(text_of(json_array_get(required, i)), str_of(name)))
            return true;
    return false;
}

/* The names of a tool's parameters, those that it requires first. */
static void write_parameters(const json_t *tool, struct buf *out)
{
    const json_t *schema = json_object_get(tool, "parameters");
    json_t *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required");
    const char *comma = "";
    buf_append_char(out, '[');
    for (int round = 0; round < 2; round++) {
        for (void *it = json_object_iter(properties); it != NULL;
             it = json_object_iter_next(properties, it)) {
            const char *name = json_object_iter_key(it);
            if (is_required(required, name) != (round == 0))
                continue;
            buf_append_cstr(out, comma);
            json_write_string(out, str_of(name));
            comma = ",";
        }
    }
    buf_append_char(out, ']');
}

/* ---- the programs ---- */

/* A JSON text of strings and lists is a Python expression as well. */
static void write_python(const struct draft *d, struct buf *out)
{
    char identifier[TOOL_IDENTIFIER_MAX];
    buf_append_cstr(out, "TOOLS=[");
    for (size_t i = 0; i < json_array_size(d->tools); i++) {
        const json_t *tool = json_array_get(d->tools, i);
        tool_identifier(TOOLS_PYTHON, name_of(tool), identifier);
        buf_printf(out, "%s[\"%s\",", i > 0 ? "," : "", identifier);
        json_write_string(out, name_of(tool));
        buf_append_char(out, ',');
        write_parameters(tool, out);
        buf_append_char(out, ']');
    }
    buf_append_cstr(out, "]\nCODE=");
    json_write_string(out, d->code);
    buf_append_char(out, '\n');
    buf_append_cstr(out, programmatic_program_py);
}

/* $'...' in one line, so that the lines of the user's code keep their numbers but for one. */
static void write_quoted(struct str text, struct buf *out)
{
    buf_append_cstr(out, "$'");
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '\n')
            buf_append_cstr(out, "\\n");
        else if (c == '\\' || c == '\'')
            buf_printf(out, "\\%c", c);
        else
            buf_append_char(out, c);
    }
    buf_append_char(out, '\'');
}

static void write_bash(const struct draft *d, struct buf *out)
{
    char identifier[TOOL_IDENTIFIER_MAX];
    buf_append_cstr(out, "_ptc_call=");
    write_quoted(str_of(programmatic_call_py), out);
    buf_append_cstr(out, "; _ptc_none='{}'; ");
    for (size_t i = 0; i < json_array_size(d->tools); i++) {
        tool_identifier(TOOLS_BASH, name_of(json_array_get(d->tools, i)), identifier);
        buf_printf(out, "%s() { printf %%s \"${1-$_ptc_none}\" | /usr/bin/python3 -IS -c \"$_ptc_call\" ",
                   identifier);
        write_quoted(name_of(json_array_get(d->tools, i)), out);
        buf_append_cstr(out, " || exit 1; }; ");
    }
    buf_append_char(out, '\n');
    buf_append_str(out, d->code);
}

/* ---- the body ---- */

static enum err take_language(struct draft *d)
{
    const json_t *value = json_object_get(d->body, "language");
    if (value == NULL)
        value = json_object_get(d->body, "lang");
    struct str name = text_of(value);
    d->language =
        str_eq_nocase(name, STR("bash")) || str_eq_nocase(name, STR("sh")) ? TOOLS_BASH : TOOLS_PYTHON;
    if (value == NULL || json_is_null(value) || d->language == TOOLS_BASH ||
        str_eq_nocase(name, STR("python")) || str_eq_nocase(name, STR("py")))
        return ERR_OK;
    return api_fault_set(d->fault, CE_BAD_REQUEST,
                         "Unsupported language \"%.64s\"; supported values are \"python\" and \"bash\"",
                         json_is_string(value) ? name.p : json_type_text(value));
}

static enum err take_code(struct draft *d)
{
    const json_t *code = json_object_get(d->body, "code");
    if (!json_is_string(code) || json_string_length(code) == 0)
        return api_fault_set(d->fault, CE_BAD_REQUEST, "Missing required field: code");
    d->code = text_of(code);
    return ERR_OK;
}

static enum err check_timeout(struct draft *d)
{
    const json_t *value = json_object_get(d->body, "timeout");
    if (value == NULL || (json_is_number(value) && json_number_value(value) > 0))
        return ERR_OK;
    return api_fault_set(d->fault, CE_BAD_REQUEST, "timeout must be a positive number of milliseconds");
}

enum err programmatic_body(json_t *body, size_t max_code, struct api_fault *fault)
{
    struct draft d = {.body = body, .fault = fault};
    if (take_language(&d) != ERR_OK || take_code(&d) != ERR_OK || check_tools(&d) != ERR_OK ||
        check_timeout(&d) != ERR_OK)
        return ERR_INVALID;
    if (d.code.n > max_code)
        return api_fault_set(fault, CE_TOO_LARGE, "code: has %zu bytes; at most %zu are allowed", d.code.n,
                             max_code);
    auto_buf program = BUF_INIT(max_code); /* as much as a program may have */
    (d.language == TOOLS_PYTHON ? write_python : write_bash)(&d, &program);
    json_t *code = buf_status(&program) == ERR_OK ? json_stringn_nocheck(program.data, program.len) : NULL;
    if (code == NULL || json_object_set_new(body, "code", code) != 0 ||
        json_object_set_new(body, "lang", json_string(d.language == TOOLS_PYTHON ? "py" : "bash")) != 0)
        return api_fault_set(fault, CE_TOO_LARGE, "code: with its tools it is too large");
    (void)json_object_del(body, "tools"); /* it is there */
    return ERR_OK;
}
