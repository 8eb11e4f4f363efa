/* SPDX-License-Identifier: Apache-2.0 */
#include "io/config_load.h"

#include "base/cleanup.h"
#include "base/dotenv.h"
#include "io/small_file.h"
#include "io/yaml.h"

#include <fcntl.h>
#include <string.h>

enum { FILE_MAX = YAML_TEXT_MAX, YAML_MEMORY_MAX = 8 << 20 };

struct loading {
    const struct config_table *table;
    struct config_base *out;
};

/* ---- files ---- */

/* A path of the file is NAME, or its section and NAME. */
static const struct config_row *row_of_path(const struct config_table *table, const char *path)
{
    const char *dot = strrchr(path, '.');
    struct str name = str_of(dot != NULL ? dot + 1 : path);
    for (size_t i = 0; i < table->count; i++) {
        const struct config_row *row = &table->rows[i];
        if (!str_eq_nocase(name, str_of(row->name)))
            continue;
        struct str section = {.p = path, .n = dot != NULL ? (size_t)(dot - path) : 0};
        return dot == NULL || str_eq_nocase(section, str_of(row->section)) ? row : NULL;
    }
    return NULL;
}

static void apply_pair(const struct loading *l, const struct yaml_pair *pair)
{
    const struct config_origin origin = {.source = CONFIG_FILE, .line = pair->line};
    const struct config_row *row = row_of_path(l->table, pair->path);
    if (row != NULL) {
        config_apply_row(l->table, l->out, row, str_of(pair->value), origin);
        return;
    }
    const char *dot = strrchr(pair->path, '.');
    const struct config_row *near = config_nearest(l->table, str_of(dot != NULL ? dot + 1 : pair->path));
    config_problem(l->out, "%.80s (configuration file line %u): there is no such setting%s%s%s%s%s",
                   pair->path, pair->line, near != NULL ? "; did you mean " : "",
                   near != NULL ? near->section : "", near != NULL ? "." : "", near != NULL ? near->name : "",
                   near != NULL ? "?" : "");
}

/* Two pairs may name one row in two ways (with and without the section). */
static void refuse_twice(const struct loading *l, const struct yaml_pairs *pairs, size_t at)
{
    const struct config_row *row = row_of_path(l->table, pairs->items[at].path);
    for (size_t i = 0; i < at && row != NULL; i++)
        if (row_of_path(l->table, pairs->items[i].path) == row)
            config_problem(l->out, "%s (configuration file line %u): was given before, in line %u", row->name,
                           pairs->items[at].line, pairs->items[i].line);
}

static enum err load_yaml(const struct loading *l, const char *path, struct errinfo *info)
{
    auto_buf text = BUF_INIT(FILE_MAX);
    enum err e = small_file_read(AT_FDCWD, path, &text, info);
    if (e == ERR_NOT_FOUND)
        return errinfo_set(info, e, 0, "the configuration file %.120s does not exist", path);
    if (e != ERR_OK)
        return e;
    auto_arena memory = ARENA_INIT(YAML_MEMORY_MAX);
    struct yaml_pairs pairs;
    e = yaml_parse(&memory, buf_str(&text), &pairs, info);
    if (e != ERR_OK)
        return errinfo_wrap(info, "%.100s", path);
    for (size_t i = 0; i < pairs.count; i++) {
        refuse_twice(l, &pairs, i);
        apply_pair(l, &pairs.items[i]);
    }
    return ERR_OK;
}

/* ---- .env and the environment ---- */

/* One letter missed, doubled or mistyped, or two swapped. */
static bool is_nearly_ours(const struct config_table *table, struct str name)
{
    const struct config_row *near = config_nearest(table, name);
    return near != NULL && str_distance(name, str_of(near->name)) <= 2;
}

/* A .env may hold settings of other programs, but not a name that is nearly one of ours. */
static void apply_dotenv(void *arg, unsigned line, struct str name, struct str value)
{
    const struct loading *l = arg;
    if (config_is_ours(l->table, name) || is_nearly_ours(l->table, name))
        config_apply(l->table, l->out, name, value,
                     (struct config_origin){.source = CONFIG_DOTENV, .line = line});
}

static enum err load_dotenv(const struct loading *l, const char *directory, struct errinfo *info)
{
    auto_fd dir = open(directory != NULL ? directory : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return ERR_OK; /* no working directory, no .env in it */
    auto_buf text = BUF_INIT(FILE_MAX);
    enum err e = small_file_read(dir, ".env", &text, info);
    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    if (e == ERR_OK)
        e = dotenv_parse(buf_str(&text), apply_dotenv, (void *)(uintptr_t)l, info);
    return e == ERR_OK ? e : errinfo_wrap(info, ".env");
}

/* Kubernetes gives every container NAME_PORT=tcp://address:port for a service called `name`, so that a service called
   `redis` would set REDIS_PORT. */
static bool is_service_link(struct str name, struct str value)
{
    return str_starts(value, STR("tcp://")) && name.n > 5 && memcmp(name.p + name.n - 5, "_PORT", 5) == 0;
}

static void load_environment(const struct loading *l, const char *const *environment)
{
    for (; *environment != NULL; environment++) {
        struct str value = str_of(*environment);
        struct str name = str_split(&value, '=');
        if (value.p != NULL && !is_service_link(name, value) && config_is_ours(l->table, name))
            config_apply(l->table, l->out, name, value, (struct config_origin){.source = CONFIG_ENVIRONMENT});
    }
}

static void load_sets(const struct loading *l, const struct config_request *request)
{
    for (size_t i = 0; i < request->set_count; i++) {
        struct str value = str_of(request->sets[i]);
        struct str name = str_split(&value, '=');
        if (value.p == NULL)
            config_problem(l->out, "--set %.80s: must be NAME=VALUE", request->sets[i]);
        else
            config_apply(l->table, l->out, name, value, (struct config_origin){.source = CONFIG_COMMAND});
    }
}

static const char *find_variable(const char *const *environment, const char *name)
{
    size_t n = strlen(name);
    for (; *environment != NULL; environment++)
        if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=')
            return (*environment)[n + 1] != '\0' ? *environment + n + 1 : NULL;
    return NULL;
}

/* A file that cannot be read is a problem like any other, told with the rest. */
static enum err note(const struct loading *l, enum err e, const struct errinfo *why)
{
    if (e == ERR_OK || e == ERR_NOMEM)
        return e;
    config_problem(l->out, "%s", why->text);
    return ERR_OK;
}

enum err config_load(const struct config_table *table, struct config_base *out,
                     const struct config_request *request, struct errinfo *info)
{
    const struct loading l = {.table = table, .out = out};
    const char *const *environment =
        request->environment != NULL ? request->environment : (const char *const *)environ;
    enum err e = config_begin(table, out);
    if (e != ERR_OK)
        return errinfo_set(info, e, 0, "%s", err_text(e));
    const char *file = request->file != NULL ? request->file : find_variable(environment, "MILLRACE_CONFIG");
    struct errinfo why = {0};
    if (file != NULL && (e = note(&l, load_yaml(&l, file, &why), &why)) != ERR_OK)
        return errinfo_set(info, e, 0, "%s", err_text(e));
    if ((e = note(&l, load_dotenv(&l, request->directory, &why), &why)) != ERR_OK)
        return errinfo_set(info, e, 0, "%s", err_text(e));
    load_environment(&l, environment);
    load_sets(&l, request);
    if (table->check != NULL && out->problems.count == 0)
        table->check(out);
    return config_verdict(out, info);
}

/* ---- the command line ---- */

static enum err take_one(struct config_request *request, bool is_set, const char *value, struct errinfo *info)
{
    if (!is_set) {
        request->file = value;
        return ERR_OK;
    }
    if (request->set_count == CONFIG_SETS_MAX)
        return errinfo_set(info, ERR_INVALID, 0, "more than %d --set options", CONFIG_SETS_MAX);
    request->sets[request->set_count++] = value;
    return ERR_OK;
}

enum err config_take_args(struct config_request *request, int *argc, char **argv, struct errinfo *info)
{
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        struct str arg = str_of(argv[i]);
        bool is_set = str_eq(arg, STR("--set")) || str_starts(arg, STR("--set="));
        bool is_file = str_eq(arg, STR("--config")) || str_starts(arg, STR("--config="));
        if (str_eq(arg, STR("--"))) {
            for (; i < *argc; i++)
                argv[kept++] = argv[i];
            break;
        }
        if (!is_set && !is_file) {
            argv[kept++] = argv[i];
            continue;
        }
        const char *value = memchr(arg.p, '=', arg.n) != NULL ? strchr(argv[i], '=') + 1 : argv[++i];
        if (value == NULL)
            return errinfo_set(info, ERR_INVALID, 0, "%s needs a value", is_set ? "--set" : "--config");
        enum err e = take_one(request, is_set, value, info);
        if (e != ERR_OK)
            return e;
    }
    argv[kept] = NULL;
    *argc = kept;
    return ERR_OK;
}
