/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/plan.h"

#include "worker/imports.h"
#include "worker/java_names.h"
#include "worker/runner/pod_fds.h"
#include "worker/spawner/kinds.h"
#include "worker/spec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The user's process gets these and what the request adds; the request wins. */
static const char *const base_env[][2] = {
    {"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"HOME", "/mnt/data"}, {"LANG", "C.UTF-8"}, {"TMPDIR", "/tmp"},
    {"PYTHONDONTWRITEBYTECODE", "1"},
};

static void put_env(struct buf *out, const char *name, const char *value)
{
    auto_buf pair = BUF_INIT(1 << 20);
    buf_printf(&pair, "%s=%s", name, value);
    if (buf_status(&pair) != ERR_OK)
        out->failed = buf_status(&pair);
    spec_put(out, SPEC_ENV, buf_str(&pair));
}

/* "NAME=VALUE" of a language, unless the request sets NAME. */
static void put_row_env(struct buf *out, const char *const *pairs, const json_t *env)
{
    for (; pairs && *pairs; pairs++) {
        const char *equals = strchr(*pairs, '=');
        if (!json_object_getn(env, *pairs, (size_t)(equals - *pairs)))
            spec_put(out, SPEC_ENV, str_of(*pairs));
    }
}

static void put_environment(struct buf *out, const struct language_row *row, const json_t *env)
{
    for (size_t i = 0; i < sizeof base_env / sizeof base_env[0]; i++)
        if (!json_object_get(env, base_env[i][0]))
            put_env(out, base_env[i][0], base_env[i][1]);
    put_row_env(out, row->env, env);
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

/* What stands for {NAME} in a command of languages.def. */
struct places {
    const char *source, *out, *main_class;
    char memory[24];
};

static void put_place(struct buf *out, const struct places *places, struct str name)
{
    const struct {
        const char *name, *value;
    } rows[] = {{"source", places->source},
                {"out", places->out},
                {"memory", places->memory},
                {"main", places->main_class}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (str_eq(name, str_of(rows[i].name)))
            buf_append_cstr(out, rows[i].value);
}

static void put_command(struct buf *out, enum spec_tag tag, const char *const *argv,
                        const struct places *places)
{
    for (; argv && *argv; argv++) {
        auto_buf arg = BUF_INIT(4096);
        struct str rest = str_of(*argv);
        buf_append_str(&arg, str_split(&rest, '{'));
        while (rest.p) {
            struct str piece = str_split(&rest, '{');
            put_place(&arg, places, str_split(&piece, '}'));
            buf_append_str(&arg, piece);
        }
        if (buf_status(&arg) != ERR_OK)
            out->failed = buf_status(&arg);
        spec_put(out, tag, buf_str(&arg));
    }
}

/* The pod that is the quickest for this program. */
static const char *kind_for(const struct language_row *lang, struct str code)
{
    const char *kind = *lang->warm ? lang->warm : pod_kind_row(KIND_COLD)->name;
    for (unsigned i = KIND_COUNT; i-- > 0;) {
        const struct pod_kind_row *row = pod_kind_row((enum pod_kind)i);
        if (row->imports && strcmp(row->fallback, kind) == 0 && imports_any(code, row->imports))
            return row->name;
    }
    return kind;
}

/* The language's name for the source; where an input has it, that input keeps it. */
static void name_source(const struct run_request *request, const char *usual, char ret_name[SOURCE_NAME_MAX])
{
    bool taken = false;
    for (size_t i = 0; request->files && i < json_array_size(request->files); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(request->files, i), "name"));
        taken = taken || (name && strcmp(name, usual) == 0);
    }
    snprintf(ret_name, SOURCE_NAME_MAX, "%s%.*s", taken ? "_" : "", SOURCE_NAME_MAX - 2, usual);
}

enum err run_plan_build(const struct run_request *request, bool stdin_open, struct run_plan *ret_plan,
                        struct errinfo *info)
{
    enum language lang;
    enum err e = language_parse(request->lang, &lang, info);
    if (e != ERR_OK)
        return e;
    const struct language_row *row = language_row(lang);
    auto_buf spec = BUF_INIT(SPEC_SIZE_MAX);
    char source_name[SOURCE_NAME_MAX], usual[SOURCE_NAME_MAX], full_name[SOURCE_NAME_MAX + 16];
    struct java_names names = {.main_class = ""};
    if (row->naming == NAME_OF_CLASS)
        java_names_find(request->code, &names);
    snprintf(usual, sizeof usual, "%s%s", names.file_class, names.file_class[0] ? ".java" : row->source_name);
    name_source(request, usual, source_name);
    /* A shell that keeps its working directory begins there: its source is named from the root. */
    snprintf(full_name, sizeof full_name, "/mnt/data/%s", source_name);
    struct places places = {
        .source = row->state == STATE_ASKED && request->state != RUN_STATE_NONE ? full_name : source_name,
        .out = row->out ? row->out : POD_PROGRAM,
        .main_class = names.main_class};
    snprintf(places.memory, sizeof places.memory, "%" PRIu64, request->limits.memory_bytes);
    put_command(&spec, SPEC_ARGV, row->run, &places);
    put_command(&spec, SPEC_COMPILE_ARGV, row->compile, &places);
    put_args(&spec, SPEC_ARGV, request->args);
    put_environment(&spec, row, request->env);
    spec_put(&spec, SPEC_SOURCE_NAME, str_of(source_name));
    spec_put(&spec, SPEC_SOURCE, request->code);
    put_limits(&spec, &request->limits);
    spec_put_u64(&spec, SPEC_STDIN_OPEN, stdin_open);
    if (request->tools)
        spec_put_u64(&spec, SPEC_TOOLS, 1);
    put_args(&spec, SPEC_PROGRAM_ARGS, request->args);
    if (buf_status(&spec) != ERR_OK)
        return errinfo_set(info, buf_status(&spec), 0, "code, args and env are more than a pod takes");
    *ret_plan = (struct run_plan){.spec = spec, .kind = kind_for(row, request->code), .lang = lang};
    memcpy(ret_plan->source_name, source_name, sizeof source_name);
    spec = BUF_INIT(0);
    return ERR_OK;
}

/* `path` below the working directory, or empty. */
static struct str below_work_dir(const char *path)
{
    struct str p = str_of(path), base = STR("/mnt/data/");
    return str_starts(p, base) ? (struct str){p.p + base.n, p.n - base.n} : (struct str){0};
}

static void put_skipped(struct buf *names, struct str name)
{
    if (name.n == 0)
        return;
    buf_append_str(names, name);
    buf_append_char(names, '\0');
}

void run_plan_collect(struct run_plan *plan, const struct frame_collect *bounds)
{
    enum { COLLECT_MAX = 4096 };
    const struct language_row *row = language_row(plan->lang);
    struct str products = str_of(row->products);
    auto_buf names = BUF_INIT(COLLECT_MAX);
    put_skipped(&names, str_of(plan->source_name));
    if (row->compile)
        put_skipped(&names, below_work_dir(row->out ? row->out : POD_PROGRAM));
    while (products.p)
        put_skipped(&names, str_split(&products, '|'));
    struct frame_collect all = *bounds;
    all.skip = buf_str(&names);
    plan->collect = BUF_INIT(COLLECT_MAX + 64);
    frame_put_collect(&plan->collect, &all);
}

void run_plan_free(struct run_plan *plan)
{
    buf_free(&plan->collect);
    buf_free(&plan->spec);
}
