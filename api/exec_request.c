/* SPDX-License-Identifier: Apache-2.0 */
#include "api/exec_request.h"

#include "api/file_text.h"

#include "base/base64.h"
#include "schema/env_names.h"
#include "json/fields.h"

#include <inttypes.h>
#include <string.h>

/* What is being made of the body; strings are views of it. */
struct draft {
    const json_t *body;
    const struct exec_rules *rules;
    struct api_fault *fault;
    struct str lang, code, stdin_text;
    bool stdin_base64;
    struct str expected; /* of standard output, compared */
    int compare;         /* like this: one of the names below */
    json_t *args;        /* owned list of strings, or NULL */
    const json_t *env;
    struct limit_bounds bounds;  /* of the language */
    int64_t limits[LIMIT_COUNT]; /* canonical */
    size_t argument_bytes;
    struct buf files; /* canonical references, with commas between */
};

/* ---- limits ---- */

/* The contract's `timeout`: any number of milliseconds, brought into the range. */
static enum err take_contract_timeout(struct draft *d)
{
    const json_t *value = json_object_get(d->body, "timeout");
    if (value == NULL || json_is_null(value))
        return ERR_OK;
    if (!json_is_number(value))
        return api_fault_set(d->fault, CE_INVALID_FIELD, "timeout: must be a number of milliseconds, not %s",
                             json_type_text(value));
    double wanted = json_number_value(value);
    int64_t number = wanted >= 1e15 ? INT64_MAX : wanted <= 0 ? 0 : (int64_t)wanted;
    d->limits[LIMIT_TIMEOUT] =
        limit_clamp(&d->bounds, LIMIT_TIMEOUT, number) * limit_row(LIMIT_TIMEOUT)->scale;
    return ERR_OK;
}

static enum err take_limit(struct draft *d, enum limit limit)
{
    const struct limit_row *row = limit_row(limit);
    struct errinfo info;
    if (json_object_get(d->body, row->field) == NULL || json_is_null(json_object_get(d->body, row->field)))
        return ERR_OK;
    int64_t value = 0;
    enum err e = json_field_int(d->body, row->field, JSON_OPTIONAL, limit_min(limit),
                                limit_max(&d->bounds, limit), row->unit, &value, &info);
    if (e == ERR_OK)
        e = limit_check(&d->bounds, limit, value, &d->limits[limit], &info);
    return e == ERR_OK ? ERR_OK : api_fault_from(d->fault, &info);
}

static enum err take_limits(struct draft *d, enum language lang)
{
    limits_of_language(&d->rules->bounds, lang, &d->bounds);
    for (enum limit i = 0; i < LIMIT_COUNT; i++)
        d->limits[i] = d->bounds.fallback[i];
    enum err e = take_contract_timeout(d);
    for (enum limit i = 0; e == ERR_OK && i < LIMIT_COUNT; i++)
        e = take_limit(d, i);
    return e;
}

/* ---- lang, code, stdin ---- */

static enum err take_language(struct draft *d, enum language *ret_lang)
{
    struct errinfo info;
    struct str name = {NULL, 0};
    if (json_field_name(d->body, "lang", JSON_REQUIRED, 1024, &name, &info) != ERR_OK)
        return api_fault_from(d->fault, &info);
    if (language_parse(name, ret_lang, &info) != ERR_OK)
        return api_fault_set(d->fault, CE_UNKNOWN_LANGUAGE, "%s%s",
                             strncmp(info.text, "lang: ", 6) == 0 ? "" : "lang: ", info.text);
    if (d->rules->refused != NULL && d->rules->refused[*ret_lang] != NULL)
        return api_fault_set(d->fault, CE_LANGUAGE_UNAVAILABLE, "lang: %s", d->rules->refused[*ret_lang]);
    return ERR_OK;
}

static enum err take_code(struct draft *d)
{
    struct errinfo info;
    if (json_field_string(d->body, "code", JSON_REQUIRED, d->rules->max_code, &d->code, &info) != ERR_OK)
        return api_fault_from(d->fault, &info);
    if (d->code.n == 0)
        return api_fault_set(d->fault, CE_EMPTY_CODE, "code: is empty; send the text of a program");
    return ERR_OK;
}

static enum err take_stdin(struct draft *d)
{
    struct errinfo info;
    int encoding = 0;
    if (json_field_choice(d->body, "stdin_encoding", JSON_OPTIONAL, "text|base64", &encoding, &info) !=
            ERR_OK ||
        json_field_string(d->body, "stdin", JSON_OPTIONAL, EXEC_STDIN_BYTES, &d->stdin_text, &info) != ERR_OK)
        return api_fault_from(d->fault, &info);
    d->stdin_base64 = encoding == 1;
    auto_buf decoded = BUF_INIT(EXEC_STDIN_BYTES);
    if (d->stdin_base64 && base64_decode(&decoded, d->stdin_text) != ERR_OK)
        return api_fault_set(d->fault, CE_INVALID_FIELD,
                             "stdin: is not base64 (standard alphabet, padded, no white space)");
    return ERR_OK;
}

/* ---- what is expected ---- */

#define COMPARE_NAMES "lines|tokens|exact"

static enum err take_expected(struct draft *d)
{
    struct errinfo info;
    if (json_field_string(d->body, "expected_output", JSON_OPTIONAL, EXEC_EXPECTED_BYTES, &d->expected,
                          &info) != ERR_OK ||
        json_field_choice(d->body, "compare", JSON_OPTIONAL, COMPARE_NAMES, &d->compare, &info) != ERR_OK)
        return api_fault_from(d->fault, &info);
    return ERR_OK;
}

static void write_expected(const struct draft *d, struct buf *out)
{
    struct str names = STR(COMPARE_NAMES), name = str_split(&names, '|');
    if (d->expected.p == NULL)
        return;
    for (int i = 0; i < d->compare; i++)
        name = str_split(&names, '|');
    buf_append_cstr(out, ",\"expected_output\":");
    json_write_string(out, d->expected);
    buf_printf(out, ",\"compare\":\"" STR_FMT "\"", STR_ARG(name));
}

/* ---- args ---- */

static bool has_nul(struct str s)
{
    return s.n > 0 && memchr(s.p, '\0', s.n) != NULL;
}

/* A new reference to a string, or NULL when the rules take no such item. */
static json_t *arg_text(const json_t *item, bool coerce)
{
    if (json_is_string(item))
        return json_stringn_nocheck(json_string_value(item), json_string_length(item));
    auto_buf text = BUF_INIT(EXEC_ARG_BYTES + 1);
    if (!coerce || json_write(item, &text) != ERR_OK)
        return NULL;
    return json_stringn_nocheck(text.data, text.len);
}

static enum err count_bytes(struct draft *d, const char *field, size_t one, size_t all)
{
    d->argument_bytes += all;
    if (one > EXEC_ARG_BYTES)
        return api_fault_set(d->fault, CE_TOO_LARGE, "%s: has an item of %zu bytes; at most %d are allowed",
                             field, one, EXEC_ARG_BYTES);
    if (d->argument_bytes > EXEC_ARGS_BYTES)
        return api_fault_set(d->fault, CE_TOO_LARGE, "%s: args and env together may have at most %d bytes",
                             field, EXEC_ARGS_BYTES);
    return ERR_OK;
}

static enum err take_arg(struct draft *d, const json_t *item, size_t place)
{
    json_t *text = arg_text(item, d->rules->sync);
    if (text == NULL && d->rules->sync)
        return api_fault_set(d->fault, CE_TOO_LARGE, "args: item %zu is larger than %d bytes", place,
                             EXEC_ARG_BYTES);
    if (text == NULL)
        return api_fault_set(d->fault, CE_INVALID_FIELD, "args: item %zu must be a string, not %s", place,
                             json_type_text(item));
    struct str value = {json_string_value(text), json_string_length(text)};
    size_t bytes = value.n;
    bool nul = has_nul(value);
    if (json_array_append_new(d->args, text) != 0)
        return api_fault_set(d->fault, CE_INTERNAL, "args: out of memory");
    if (nul)
        return api_fault_set(d->fault, CE_BAD_REQUEST, "args: item %zu must not hold a NUL character", place);
    return count_bytes(d, "args", bytes, bytes + 1);
}

static enum err take_args(struct draft *d)
{
    const json_t *list = json_object_get(d->body, "args");
    if (list == NULL || json_is_null(list))
        return ERR_OK;
    if (!json_is_array(list) &&
        d->rules->sync) { /* clients send what a model made up: it is the one argument */
        d->args = json_array();
        return d->args != NULL ? take_arg(d, list, 0)
                               : api_fault_set(d->fault, CE_INTERNAL, "args: out of memory");
    }
    if (!json_is_array(list))
        return api_fault_set(d->fault, CE_INVALID_FIELD, "args: must be a list of strings, not %s",
                             json_type_text(list));
    if (json_array_size(list) > EXEC_ARGS_MAX)
        return api_fault_set(d->fault, CE_TOO_LARGE, "args: has %zu items; at most %d are allowed",
                             json_array_size(list), EXEC_ARGS_MAX);
    d->args = json_array();
    enum err e = d->args != NULL ? ERR_OK : api_fault_set(d->fault, CE_INTERNAL, "args: out of memory");
    for (size_t i = 0; e == ERR_OK && i < json_array_size(list); i++)
        e = take_arg(d, json_array_get(list, i), i);
    return e;
}

/* ---- env ---- */

static enum err take_env_item(struct draft *d, const char *name, const json_t *value)
{
    struct errinfo info;
    if (env_name_check(str_of(name), &info) != ERR_OK)
        return api_fault_from(d->fault, &info);
    if (!json_is_string(value))
        return api_fault_set(d->fault, CE_INVALID_FIELD,
                             "env: the value of \"%.64s\" must be a string, not %s", name,
                             json_type_text(value));
    struct str text = {json_string_value(value), json_string_length(value)};
    if (has_nul(text))
        return api_fault_set(d->fault, CE_BAD_REQUEST,
                             "env: the value of \"%.64s\" must not hold a NUL character", name);
    size_t bytes = strlen(name) + text.n + 2;
    return count_bytes(d, "env", bytes, bytes);
}

static enum err take_env(struct draft *d)
{
    struct errinfo info;
    if (json_field_object(d->body, "env", JSON_OPTIONAL, &d->env, &info) != ERR_OK)
        return api_fault_from(d->fault, &info);
    if (d->env == NULL)
        return ERR_OK;
    if (json_object_size(d->env) > EXEC_ENV_MAX)
        return api_fault_set(d->fault, CE_TOO_LARGE, "env: has %zu names; at most %d are allowed",
                             json_object_size(d->env), EXEC_ENV_MAX);
    void *object = (void *)(uintptr_t)d->env; /* jansson's iterator only reads */
    enum err e = ERR_OK;
    for (void *it = json_object_iter(object); e == ERR_OK && it != NULL;
         it = json_object_iter_next(object, it))
        e = take_env_item(d, json_object_iter_key(it), json_object_iter_value(it));
    return e;
}

/* ---- the rest ---- */

/* On /exec a bad or stale session is no error: a fresh one is drawn. */
static enum err take_session(struct draft *d, struct id *ret_session)
{
    struct errinfo info;
    struct str text = {NULL, 0};
    const json_t *value = json_object_get(d->body, "session_id");
    if (d->rules->sync) {
        if (json_is_string(value))
            text = (struct str){json_string_value(value), json_string_length(value)};
        if (id_parse(text, ret_session) != ERR_OK)
            ret_session->text[0] = '\0';
        return ERR_OK;
    }
    if (json_field_string(d->body, "session_id", JSON_OPTIONAL, 1024, &text, &info) != ERR_OK)
        return api_fault_from(d->fault, &info);
    if (text.p != NULL && id_parse(text, ret_session) != ERR_OK)
        return api_fault_set(d->fault, CE_INVALID_FIELD,
                             "session_id: must be 21 characters of A-Z a-z 0-9 _ and -");
    return ERR_OK;
}

static enum err take_choices(struct draft *d, struct exec_request *request)
{
    struct errinfo info;
    int priority = d->rules->sync ? QUEUE_INTERACTIVE : QUEUE_NORMAL;
    bool interactive = false;
    request->retry = true;
    if (json_field_choice(d->body, "priority", JSON_OPTIONAL, "interactive|normal|batch", &priority, &info) !=
            ERR_OK ||
        json_field_bool(d->body, "retry", JSON_OPTIONAL, &request->retry, &info) != ERR_OK ||
        json_field_bool(d->body, "detach", JSON_OPTIONAL, &request->detach, &info) != ERR_OK ||
        json_field_bool(d->body, "interactive", JSON_OPTIONAL, &interactive, &info) != ERR_OK)
        return api_fault_from(d->fault, &info);
    request->priority = (enum queue_priority)priority;
    request->stdin_open = interactive && !d->rules->sync;
    return ERR_OK;
}

static struct str text_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_string(value) ? (struct str){json_string_value(value), json_string_length(value)}
                                 : (struct str){0};
}

static bool is_resource_id(struct str id)
{
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c && strchr("_.:-", c))))
            return false;
    }
    return id.n >= 1 && id.n <= 128;
}

/* CONTRACT 5.2. A workspace is its own session, whatever else is named. */
static enum err take_hint(struct draft *d, struct exec_request *request)
{
    const json_t *value = json_object_get(d->body, "runtime_session_hint");
    request->hint[0] = '\0';
    if (!d->rules->stateful || value == NULL || json_is_null(value))
        return ERR_OK;
    struct str hint = text_of(d->body, "runtime_session_hint");
    if (!json_is_string(value))
        return api_fault_set(d->fault, CE_BAD_REQUEST, "runtime_session_hint must be a string");
    if (hint.n > EXEC_HINT_MAX)
        return api_fault_set(d->fault, CE_BAD_REQUEST, "runtime_session_hint must be at most %d characters",
                             EXEC_HINT_MAX);
    if (hint.n > 0 && !is_resource_id(hint))
        return api_fault_set(
            d->fault, CE_BAD_REQUEST,
            "runtime_session_hint may only contain letters, digits, \".\", \"_\", \":\", and \"-\"");
    memcpy(request->hint, hint.n > 0 ? hint.p : "", hint.n);
    request->hint[hint.n] = '\0';
    if (hint.n > 0 && json_is_true(json_object_get(d->body, "state")))
        return api_fault_set(
            d->fault, CE_INVALID_FIELD,
            "state: is not kept in a workspace, where each run is a new process; leave it or "
            "runtime_session_hint out");
    return ERR_OK;
}

static enum err take_state(struct draft *d, struct exec_request *request)
{
    struct errinfo info;
    const json_t *wanted = json_object_get(d->body, "state"),
                 *version = json_object_get(d->body, "if_state_version");
    const enum language_state can = language_row(request->lang)->state;
    request->state = can == STATE_ALWAYS && d->rules->state && request->hint[0] == '\0';
    request->if_state_version = -1;
    if (json_field_bool(d->body, "state", JSON_OPTIONAL, &request->state, &info) != ERR_OK ||
        json_field_int(d->body, "if_state_version", JSON_OPTIONAL, 0, INT64_MAX, "",
                       &request->if_state_version, &info) != ERR_OK)
        return api_fault_from(d->fault, &info);
    if (json_is_true(wanted) && can == STATE_NEVER)
        return api_fault_set(d->fault, CE_INVALID_FIELD,
                             "state: is kept for Python and Bash only; leave it out for %s",
                             language_row(request->lang)->id);
    if (json_is_true(wanted) && !d->rules->state)
        return api_fault_set(d->fault, CE_INVALID_FIELD,
                             "state: is switched off here (STATE_PERSISTENCE_ENABLED); leave it out");
    if (json_is_integer(version) && (!request->state || request->session.text[0] == '\0'))
        return api_fault_set(
            d->fault, CE_INVALID_FIELD,
            "if_state_version: needs a session_id and a program that uses its session's state");
    return ERR_OK;
}

static void write_state(const struct exec_request *request, struct buf *out)
{
    if (!request->state)
        return;
    buf_printf(out, ",\"state\":\"%s\"", request->session.text[0] == '\0' ? "new" : "session");
    if (request->if_state_version >= 0)
        buf_printf(out, ",\"if_state_version\":%" PRId64, request->if_state_version);
}

/* ---- files ---- */

/* Where there is a kind; early clients send none. */
static const char *kind_fault(const json_t *ref)
{
    const json_t *kind = json_object_get(ref, "kind"), *version = json_object_get(ref, "version");
    bool has_version = version != NULL && !json_is_null(version);
    struct str text = text_of(ref, "kind");
    if (kind == NULL || json_is_null(kind))
        return NULL;
    bool skill = str_eq(text, STR("skill"));
    if (!skill && !str_eq(text, STR("agent")) && !str_eq(text, STR("user")))
        return "kind must be one of: skill, agent, user";
    if (skill && !json_is_number(version))
        return "version is required for kind: 'skill'";
    return !skill && has_version ? "version is only valid for kind: 'skill'" : NULL;
}

static const char *ref_fault(const json_t *ref, struct id *ret_id, struct id *ret_session)
{
    const json_t *resource = json_object_get(ref, "resource_id");
    struct str session = text_of(ref, "storage_session_id");
    if (session.p == NULL)
        session = text_of(ref, "session_id");
    if (id_parse(text_of(ref, "id"), ret_id) != ERR_OK)
        return "id is invalid";
    if (resource != NULL && !json_is_null(resource) && !is_resource_id(text_of(ref, "resource_id")))
        return "resource_id is invalid";
    if (id_parse(session, ret_session) != ERR_OK)
        return "storage_session_id is invalid";
    if (!json_is_string(json_object_get(ref, "name")))
        return "name must be a string";
    return kind_fault(ref);
}

static enum err take_file(struct draft *d, size_t i, const json_t *ref)
{
    struct id id, session;
    struct errinfo info;
    if (!json_is_object(ref))
        return api_fault_set(d->fault, CE_BAD_REQUEST, "files[%zu] must be an object", i);
    const char *fault = ref_fault(ref, &id, &session);
    if (fault != NULL)
        return api_fault_set(d->fault, CE_BAD_REQUEST, "files[%zu].%s", i, fault);
    if (file_name_check(text_of(ref, "name"), &info) != ERR_OK)
        return api_fault_set(d->fault, CE_BAD_REQUEST, "files[%zu].name %s", i, info.text);
    buf_printf(&d->files, "%s{\"id\":\"%s\",\"session\":\"%s\",\"name\":", i > 0 ? "," : "", id.text,
               session.text);
    json_write_string(&d->files, text_of(ref, "name"));
    buf_append_char(&d->files, '}');
    return ERR_OK;
}

static enum err take_files(struct draft *d)
{
    const json_t *list = json_object_get(d->body, "files");
    if (list == NULL || json_is_null(list))
        return ERR_OK;
    if (!json_is_array(list))
        return api_fault_set(d->fault, CE_BAD_REQUEST, "files must be an array");
    if (json_array_size(list) > EXEC_FILES_MAX)
        return api_fault_set(d->fault, CE_BAD_REQUEST, "files must not have more than %d items",
                             EXEC_FILES_MAX);
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < json_array_size(list); i++)
        e = take_file(d, i, json_array_get(list, i));
    return e;
}

static void write_canonical(const struct draft *d, struct exec_request *request)
{
    struct buf *out = &request->canonical;
    buf_printf(out, "{\"lang\":\"%s\",\"code\":", language_row(request->lang)->id);
    json_write_string(out, d->code);
    buf_append_cstr(out, ",\"args\":");
    enum err e = ERR_OK;
    if (d->args != NULL)
        e = json_write(d->args, out);
    else
        buf_append_cstr(out, "[]");
    if (d->stdin_text.p != NULL) {
        buf_append_cstr(out, ",\"stdin\":");
        json_write_string(out, d->stdin_text);
        if (d->stdin_base64)
            buf_append_cstr(out, ",\"stdin_encoding\":\"base64\"");
    }
    write_expected(d, out);
    buf_append_cstr(out, ",\"env\":");
    if (e == ERR_OK && d->env != NULL)
        e = json_write(d->env, out);
    else
        buf_append_cstr(out, "{}");
    if (d->files.len > 0)
        buf_printf(out, ",\"files\":[" STR_FMT "]", STR_ARG(buf_str(&d->files)));
    for (enum limit i = 0; i < LIMIT_COUNT; i++)
        buf_printf(out, "%s\"%s\":%" PRId64, i == 0 ? ",\"limits\":{" : ",", limit_row(i)->canonical,
                   d->limits[i]);
    buf_printf(out, "},\"stdin_open\":%s,\"retry\":%s", request->stdin_open ? "true" : "false",
               request->retry ? "true" : "false");
    write_state(request, out);
    if (request->hint[0] != '\0')
        buf_append_cstr(out, ",\"workspace\":true");
    if (d->rules->sync && !d->rules->tools)
        buf_append_cstr(out, ",\"at_end\":true");
    buf_append_cstr(out, d->rules->tools ? ",\"tools\":true}" : "}");
    if (e != ERR_OK && buf_status(out) == ERR_OK)
        out->failed = e;
}

static enum err read_all(struct draft *d, struct exec_request *request)
{
    enum err e = take_language(d, &request->lang);
    if (e == ERR_OK)
        e = take_code(d);
    if (e == ERR_OK)
        e = take_args(d);
    if (e == ERR_OK)
        e = take_stdin(d);
    if (e == ERR_OK)
        e = take_expected(d);
    if (e == ERR_OK)
        e = take_env(d);
    if (e == ERR_OK)
        e = take_files(d);
    if (e == ERR_OK)
        e = take_limits(d, request->lang);
    request->queue_ms = d->limits[LIMIT_QUEUE];
    if (e == ERR_OK)
        e = take_session(d, &request->session);
    if (e == ERR_OK)
        e = take_choices(d, request);
    if (e == ERR_OK)
        e = take_hint(d, request);
    return e == ERR_OK ? take_state(d, request) : e;
}

enum err exec_request_read(json_t *root, size_t size, const struct exec_rules *rules,
                           struct exec_request *ret_request, struct api_fault *fault)
{
    if (!json_is_object(root))
        return api_fault_set(fault, CE_INVALID_FIELD, "the body must be an object, not %s",
                             json_type_text(root));
    struct draft d = {.body = root, .rules = rules, .fault = fault, .files = BUF_INIT(EXEC_FILES_BYTES)};
    /* Escapes make a character at most six; the body's own limit bounds it as well. */
    struct exec_request request = {.canonical = BUF_INIT(8 * (size + 4096))};
    enum err e = read_all(&d, &request);
    if (e == ERR_OK) {
        write_canonical(&d, &request);
        if (buf_status(&d.files) != ERR_OK)
            e = api_fault_set(fault, CE_TOO_LARGE, "files: the references are too long");
        else if (buf_status(&request.canonical) != ERR_OK)
            e = api_fault_set(fault, CE_INTERNAL, "out of memory");
    }
    json_decref(d.args);
    buf_free(&d.files);
    if (e == ERR_OK)
        *ret_request = request;
    else
        exec_request_free(&request);
    return e;
}

enum err exec_request_parse(struct str body, const struct exec_rules *rules, struct exec_request *ret_request,
                            struct api_fault *fault)
{
    struct errinfo info;
    auto_json root = NULL;
    if (json_parse_clamped(body, limit_fields, &root, &info) != ERR_OK)
        return api_fault_set(fault, CE_BAD_JSON, "%s", info.text);
    return exec_request_read(root, body.n, rules, ret_request, fault);
}

void exec_request_free(struct exec_request *request)
{
    buf_free(&request->canonical);
}

bool idempotency_key_valid(struct str key)
{
    for (size_t i = 0; i < key.n; i++)
        if (key.p[i] <= 0x20 || key.p[i] >= 0x7f)
            return false;
    return key.n >= 1 && key.n <= 255;
}
