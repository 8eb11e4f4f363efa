/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/request.h"

#include "base/base64.h"

#include <string.h>

enum { STDIN_MAX = 64 << 20 };

static enum err bad(struct errinfo *info, const char *field, const char *why)
{
    return errinfo_set(info, ERR_INVALID, 0, "%s: %s", field, why);
}

/* A string member; absent or null is empty. */
static enum err get_text(const json_t *root, const char *name, struct str *ret_text, struct errinfo *info)
{
    const json_t *value = json_object_get(root, name);
    if (!value || json_is_null(value))
        return ERR_OK;
    if (!json_is_string(value))
        return bad(info, name, "not a string");
    *ret_text = (struct str){.p = json_string_value(value), .n = json_string_length(value)};
    return ERR_OK;
}

static enum err get_flag(const json_t *root, const char *name, bool *ret_flag, struct errinfo *info)
{
    const json_t *value = json_object_get(root, name);
    if (!value || json_is_null(value))
        return ERR_OK;
    if (!json_is_boolean(value))
        return bad(info, name, "not true or false");
    *ret_flag = json_is_true(value);
    return ERR_OK;
}

static bool no_nul(const json_t *value)
{
    return json_is_string(value) && !memchr(json_string_value(value), 0, json_string_length(value));
}

static enum err get_args(const json_t *root, const json_t **ret_args, struct errinfo *info)
{
    const json_t *args = json_object_get(root, "args");
    if (!args || json_is_null(args))
        return ERR_OK;
    if (!json_is_array(args))
        return bad(info, "args", "not a list");
    for (size_t i = 0; i < json_array_size(args); i++)
        if (!no_nul(json_array_get(args, i)))
            return bad(info, "args", "not strings without NUL");
    *ret_args = args;
    return ERR_OK;
}

static enum err get_env(json_t *root, const json_t **ret_env, struct errinfo *info)
{
    json_t *env = json_object_get(root, "env");
    if (!env || json_is_null(env))
        return ERR_OK;
    if (!json_is_object(env))
        return bad(info, "env", "not an object");
    const char *name;
    json_t *value;
    json_object_foreach(env, name, value)
    {
        if (!*name || strchr(name, '=') || !no_nul(value))
            return bad(info, "env", "not NAME: string without NUL");
    }
    *ret_env = env;
    return ERR_OK;
}

static enum err get_files(const json_t *root, const json_t **ret_files, struct errinfo *info)
{
    const json_t *files = json_object_get(root, "files");
    if (!files || json_is_null(files))
        return ERR_OK;
    if (!json_is_array(files))
        return bad(info, "files", "not a list");
    *ret_files = json_array_size(files) > 0 ? files : NULL;
    return ERR_OK;
}

static enum err get_limits(const json_t *root, struct run_limits *ret_limits, struct errinfo *info)
{
    const json_t *limits = json_object_get(root, "limits");
    if (limits && !json_is_null(limits) && !json_is_object(limits))
        return bad(info, "limits", "not an object");
#define X(symbol, field, canonical, fallback, min, max, scale, unit, setting, help)                          \
    {                                                                                                        \
        const json_t *value = json_object_get(limits, #canonical);                                           \
        if (value && !json_is_null(value) && (!json_is_integer(value) || json_integer_value(value) <= 0))    \
            return bad(info, "limits." #canonical, "not a positive integer");                                \
        ret_limits->canonical =                                                                              \
            json_is_integer(value) ? (uint64_t)json_integer_value(value) : (uint64_t)(fallback) * (scale);   \
    }
#include "schema/limits.def"
#undef X
    return ERR_OK;
}

static enum err get_stdin(const json_t *root, struct buf *out, struct errinfo *info)
{
    struct str text = {0}, encoding = {0};
    enum err e = get_text(root, "stdin", &text, info);
    if (e == ERR_OK)
        e = get_text(root, "stdin_encoding", &encoding, info);
    if (e != ERR_OK)
        return e;
    if (str_eq(encoding, STR("base64"))) {
        if (base64_decode(out, text) != ERR_OK)
            return bad(info, "stdin", "not base64");
        return ERR_OK;
    }
    if (encoding.n > 0 && !str_eq(encoding, STR("utf-8")) && !str_eq(encoding, STR("utf8")))
        return bad(info, "stdin_encoding", "unknown");
    buf_append_str(out, text);
    return buf_status(out) == ERR_OK ? ERR_OK : errinfo_set(info, buf_status(out), 0, "stdin: too large");
}

static enum err get_state(struct run_request *r, struct errinfo *info)
{
    struct str use = {0};
    const json_t *version = json_object_get(r->root, "if_state_version");
    enum err e = get_text(r->root, "state", &use, info);
    if (e != ERR_OK)
        return e;
    if (use.n > 0 && !str_eq(use, STR("new")) && !str_eq(use, STR("session")))
        return bad(info, "state", "unknown");
    r->state = use.n == 0 ? RUN_STATE_NONE : str_eq(use, STR("new")) ? RUN_STATE_NEW : RUN_STATE_SESSION;
    r->if_state_version = -1;
    if (version &&
        (!json_is_integer(version) || json_integer_value(version) < 0 || r->state != RUN_STATE_SESSION))
        return bad(info, "if_state_version", "not a version, or without a state");
    if (version)
        r->if_state_version = json_integer_value(version);
    return ERR_OK;
}

static enum err get_expected(struct run_request *r, struct errinfo *info)
{
    struct str compare = {0};
    enum err e = get_text(r->root, "expected_output", &r->expected, info);
    if (e == ERR_OK)
        e = get_text(r->root, "compare", &compare, info);
    if (e == ERR_OK && judge_compare_parse(compare, &r->compare) != ERR_OK)
        return bad(info, "compare", "unknown");
    r->judged = r->expected.p != NULL;
    return e;
}

static enum err read_fields(struct run_request *r, struct errinfo *info)
{
    if (!json_is_object(r->root))
        return bad(info, "request", "not an object");
    enum err e = get_text(r->root, "lang", &r->lang, info);
    if (e == ERR_OK)
        e = get_text(r->root, "code", &r->code, info);
    if (e == ERR_OK)
        e = get_args(r->root, &r->args, info);
    if (e == ERR_OK)
        e = get_env(r->root, &r->env, info);
    if (e == ERR_OK)
        e = get_files(r->root, &r->files, info);
    if (e == ERR_OK)
        e = get_limits(r->root, &r->limits, info);
    if (e == ERR_OK)
        e = get_stdin(r->root, &r->stdin_bytes, info);
    if (e == ERR_OK)
        e = get_flag(r->root, "stdin_open", &r->stdin_open, info);
    if (e == ERR_OK)
        e = get_flag(r->root, "retry", &r->retry, info);
    if (e == ERR_OK)
        e = get_flag(r->root, "at_end", &r->at_end, info);
    if (e == ERR_OK)
        e = get_flag(r->root, "tools", &r->tools, info);
    if (e == ERR_OK)
        e = get_flag(r->root, "workspace", &r->workspace, info);
    if (e == ERR_OK)
        e = get_state(r, info);
    if (e == ERR_OK)
        e = get_expected(r, info);
    if (e == ERR_OK && r->lang.n == 0)
        e = bad(info, "lang", "missing");
    return e;
}

enum err run_request_parse(struct str text, struct run_request *ret_request, struct errinfo *info)
{
    struct run_request r = {.stdin_bytes = BUF_INIT(STDIN_MAX), .retry = true};
    enum err e = json_parse(text, &r.root, info);
    if (e == ERR_OK)
        e = read_fields(&r, info);
    if (e != ERR_OK)
        run_request_free(&r);
    else
        *ret_request = r;
    return e;
}

void run_request_free(struct run_request *request)
{
    json_decref(request->root);
    buf_free(&request->stdin_bytes);
    *request = (struct run_request){0};
}
