/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/plan.h"

#include "worker/spec.h"

#include <string.h>

struct lang {
    const char *name, *kind, *source_name;
    const char *argv[4];
};

static const struct lang langs[] = {
    {"py", "py", "main.py", {"/usr/bin/python3", "main.py"}},
    {"js", "js", "main.js", {"/usr/bin/node", "main.js"}},
    {"bash", "cold", "main.sh", {"/bin/bash", "main.sh"}},
};
enum { LANG_COUNT = sizeof langs / sizeof langs[0] };

/* The user's process gets these and what the request adds; the request wins. */
static const char *const base_env[][2] = {
    {"PATH", "/usr/local/bin:/usr/bin:/bin"},
    {"HOME", "/mnt/data"},
    {"LANG", "C.UTF-8"},
    {"TMPDIR", "/tmp"},
    {"PYTHONDONTWRITEBYTECODE", "1"},
};

const char *plan_lang_name(unsigned lang)
{
    return lang < LANG_COUNT ? langs[lang].name : NULL;
}

static const struct lang *find_lang(struct str name)
{
    for (size_t i = 0; i < LANG_COUNT; i++)
        if (str_eq(name, str_of(langs[i].name)))
            return &langs[i];
    return NULL;
}

static void put_env(struct buf *out, const char *name, const char *value)
{
    auto_buf pair = BUF_INIT(1 << 20);
    buf_printf(&pair, "%s=%s", name, value);
    if (buf_status(&pair) != ERR_OK)
        out->failed = buf_status(&pair);
    spec_put(out, SPEC_ENV, buf_str(&pair));
}

static void put_environment(struct buf *out, const json_t *env)
{
    for (size_t i = 0; i < sizeof base_env / sizeof base_env[0]; i++)
        if (!json_object_get(env, base_env[i][0]))
            put_env(out, base_env[i][0], base_env[i][1]);
    const char *name;
    const json_t *value;
    void *it = json_object_iter((json_t *)(uintptr_t)env);
    for (; it; it = json_object_iter_next((json_t *)(uintptr_t)env, it)) {
        name = json_object_iter_key(it);
        value = json_object_iter_value(it);
        put_env(out, name, json_string_value(value));
    }
}

static void put_args(struct buf *out, enum spec_tag tag, const json_t *args)
{
    for (size_t i = 0; i < json_array_size(args); i++) {
        const json_t *arg = json_array_get(args, i);
        spec_put(out, tag, (struct str){.p = json_string_value(arg), .n = json_string_length(arg)});
    }
}

static void put_limits(struct buf *out, const struct run_limits *l)
{
    spec_put_u64(out, SPEC_LIMIT_WALL_MS, l->wall_ms);
    spec_put_u64(out, SPEC_LIMIT_CPU_MS, l->cpu_ms);
    spec_put_u64(out, SPEC_LIMIT_OUTPUT, l->output_bytes);
    spec_put_u64(out, SPEC_LIMIT_NOFILE, l->nofile);
    spec_put_u64(out, SPEC_LIMIT_FSIZE, l->fsize_bytes);
    spec_put_u64(out, SPEC_LIMIT_NPROC, l->pids);
}

enum err run_plan_build(const struct run_request *request, bool stdin_open, struct run_plan *ret_plan,
                        struct errinfo *info)
{
    const struct lang *lang = find_lang(request->lang);
    if (!lang)
        return errinfo_set(info, ERR_NOT_FOUND, 0, "this worker does not run the language " STR_FMT,
                           STR_ARG(request->lang));
    auto_buf spec = BUF_INIT(SPEC_SIZE_MAX);
    for (size_t i = 0; lang->argv[i]; i++)
        spec_put(&spec, SPEC_ARGV, str_of(lang->argv[i]));
    put_args(&spec, SPEC_ARGV, request->args);
    put_environment(&spec, request->env);
    spec_put(&spec, SPEC_SOURCE_NAME, str_of(lang->source_name));
    spec_put(&spec, SPEC_SOURCE, request->code);
    put_limits(&spec, &request->limits);
    spec_put_u64(&spec, SPEC_STDIN_OPEN, stdin_open);
    put_args(&spec, SPEC_PROGRAM_ARGS, request->args);
    if (buf_status(&spec) != ERR_OK)
        return errinfo_set(info, buf_status(&spec), 0, "code, args and env are more than a pod takes");
    *ret_plan = (struct run_plan){.spec = spec, .kind = lang->kind, .lang = (unsigned)(lang - langs)};
    spec = BUF_INIT(0);
    return ERR_OK;
}

void run_plan_free(struct run_plan *plan)
{
    buf_free(&plan->spec);
}
