/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/toolchain.h"

#include "base/cleanup.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WANTED_MAX = 256, VERSION_MAX = 48, OFFER_MAX = 64 * 1024 };

/* ---- versions ---- */

struct wanted {
    struct str package;
    char version[VERSION_MAX]; /* "" : not installed, or not known */
};

struct package_list {
    struct wanted of[WANTED_MAX];
    size_t n;
};

static struct wanted *find(struct package_list *list, struct str package)
{
    for (size_t i = 0; i < list->n; i++)
        if (str_eq(list->of[i].package, package))
            return &list->of[i];
    return NULL;
}

static void want(struct package_list *list, struct str package)
{
    if (package.n > 0 && list->n < WANTED_MAX && find(list, package) == NULL)
        list->of[list->n++].package = package;
}

static struct str version_package(const struct language_row *row)
{
    struct str first = str_of(row->packages);
    return row->version_of != NULL ? str_of(row->version_of) : str_split(&first, ' ');
}

static void want_all(struct package_list *list)
{
    for (unsigned i = 0; i < LANG_COUNT; i++) {
        const struct language_row *row = language_row((enum language)i);
        want(list, version_package(row));
        for (struct str rest = str_of(row->libraries); rest.n > 0;) {
            struct str package = str_split(&rest, ' ');
            str_split(&package, '='); /* the name; the rest is the package */
            want(list, package);
        }
    }
}

struct str toolchain_version(struct str version)
{
    const char *epoch = version.n > 0 ? memchr(version.p, ':', version.n) : NULL;
    if (epoch != NULL)
        version = (struct str){.p = epoch + 1, .n = version.n - (size_t)(epoch + 1 - version.p)};
    const char *revision = version.n > 0 ? memrchr(version.p, '-', version.n) : NULL;
    if (revision != NULL)
        version.n = (size_t)(revision - version.p);
    for (size_t i = 0; i < version.n; i++)
        if (version.p[i] == '+' || version.p[i] == '~')
            version.n = i;
    return version;
}

static bool field(struct str line, const char *name, struct str *ret_value)
{
    struct str value = line;
    if (!str_eq(str_split(&value, ':'), str_of(name)))
        return false;
    *ret_value = str_trim(value);
    return true;
}

/* One paragraph for each package: Package, Status and Version are among its lines, in this order. */
static void read_versions(const char *path, struct package_list *list)
{
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    struct wanted *current = NULL;
    while (f != NULL && (n = getline(&line, &size, f)) >= 0) {
        struct str text = {.p = line, .n = line[n - 1] == '\n' ? (size_t)n - 1 : (size_t)n}, value;
        if (field(text, "Package", &value))
            current = find(list, value);
        else if (current != NULL && field(text, "Status", &value) &&
                 !str_eq(value, STR("install ok installed")))
            current = NULL;
        else if (current != NULL && field(text, "Version", &value))
            snprintf(current->version, sizeof current->version, STR_FMT, STR_ARG(toolchain_version(value)));
    }
    free(line);
    if (f != NULL)
        fclose(f);
}

/* ---- what is there ---- */

bool toolchain_there(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return false;
    return S_ISREG(st.st_mode) && (strstr(path, "/bin/") == NULL || access(path, X_OK) == 0);
}

/* The first of a language's commands and files that is not there, in static memory; NULL: all are. */
static const char *first_missing(const struct language_row *row, bool (*there)(const char *path))
{
    const char *const commands[] = {row->compile != NULL ? row->compile[0] : NULL, row->run[0]};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (commands[i] != NULL && commands[i][0] == '/' && !there(commands[i]))
            return commands[i];
    for (size_t i = 0; row->needs != NULL && row->needs[i] != NULL; i++)
        if (!there(row->needs[i]))
            return row->needs[i];
    return NULL;
}

/* ---- the offer ---- */

static void write_libraries(const struct language_row *row, struct package_list *list, struct buf *out)
{
    bool first = true;
    buf_append_cstr(out, ",\"libraries\":{");
    for (struct str rest = str_of(row->libraries); rest.n > 0;) {
        struct str package = str_split(&rest, ' ');
        struct str name = str_split(&package, '=');
        const struct wanted *w = find(list, package);
        if (w == NULL || w->version[0] == '\0')
            continue;
        buf_append_cstr(out, first ? "" : ",");
        json_write_string(out, name);
        buf_append_char(out, ':');
        json_write_string(out, str_of(w->version));
        first = false;
    }
    buf_append_cstr(out, "}}");
}

static void write_language(const struct language_row *row, const char *missing, struct package_list *list,
                           struct buf *out)
{
    buf_printf(out, "\"%s\":{", row->id);
    if (missing != NULL) {
        buf_append_cstr(out, "\"missing\":");
        json_write_string(out, str_of(missing));
        buf_append_char(out, '}');
        return;
    }
    const struct wanted *w = find(list, version_package(row));
    buf_append_cstr(out, "\"version\":");
    if (w != NULL && w->version[0] != '\0')
        json_write_string(out, str_of(w->version));
    else
        buf_append_cstr(out, "null");
    write_libraries(row, list, out);
}

enum err toolchains_look(bool (*there)(const char *path), const char *packages,
                         struct toolchains *ret_toolchains)
{
    struct toolchains t = {.offer = BUF_INIT(OFFER_MAX)};
    auto_free struct package_list *list = calloc(1, sizeof *list);
    if (list == NULL)
        return ERR_NOMEM;
    want_all(list);
    read_versions(packages, list);
    for (unsigned i = 0; i < LANG_COUNT; i++) {
        const struct language_row *row = language_row((enum language)i);
        t.missing[i] = first_missing(row, there);
        buf_append_char(&t.offer, i == 0 ? '{' : ',');
        write_language(row, t.missing[i], list, &t.offer);
    }
    buf_append_char(&t.offer, '}');
    enum err e = buf_status(&t.offer);
    if (e == ERR_OK)
        *ret_toolchains = t;
    else
        buf_free(&t.offer);
    return e;
}

void toolchains_free(struct toolchains *toolchains)
{
    buf_free(&toolchains->offer);
}

void toolchains_missing(const struct toolchains *toolchains, struct buf *out)
{
    for (unsigned i = 0; i < LANG_COUNT; i++)
        if (toolchains->missing[i] != NULL)
            buf_printf(out, "%s%s: %s", out->len > 0 ? "; " : "", language_row((enum language)i)->id,
                       toolchains->missing[i]);
}
