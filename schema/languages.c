/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/languages.h"

#include "schema/java.h"

#include <assert.h>
#include <string.h>

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
/* Where a program uses them. zlib by its file's name: that is there with binutils, its other name only with its headers. */
#define LINKED_BY_C "-Wl,--as-needed", "-lm", "-l:libz.so.1"
static const struct language_row rows[] = {
#define X(symbol, id_, ...) [LANG_##symbol] = {.id = (id_), __VA_ARGS__},
#include "schema/languages.def"
#undef X
};
#undef LINKED_BY_C
#undef ARGV

const struct language_row *language_row(enum language lang)
{
    assert((unsigned)lang < LANG_COUNT);
    return &rows[lang];
}

unsigned language_wall_percent(const struct language_row *row)
{
    return row->wall > 0 ? row->wall : 100;
}

unsigned language_memory_percent(const struct language_row *row)
{
    return row->memory > 0 ? row->memory : 100;
}

static bool is_one_of(struct str name, const char *list)
{
    for (struct str rest = str_of(list); rest.p != NULL;) {
        struct str item = str_split(&rest, '|');
        if (item.n > 0 && str_eq_nocase(name, item))
            return true;
    }
    return false;
}

static bool has_name(const struct language_row *row, struct str name)
{
    return str_eq_nocase(name, str_of(row->id)) || is_one_of(name, row->aliases);
}

void language_list(struct buf *out)
{
    for (unsigned i = 0; i < LANG_COUNT; i++)
        buf_printf(out, "%s%s", i > 0 ? ", " : "", rows[i].id);
}

enum err language_parse(struct str name, enum language *ret_lang, struct errinfo *info)
{
    for (unsigned i = 0; i < LANG_COUNT; i++)
        if (has_name(&rows[i], name)) {
            *ret_lang = (enum language)i;
            return ERR_OK;
        }
    auto_buf known = BUF_INIT(160);
    language_list(&known);
    return errinfo_set(info, ERR_NOT_FOUND, 0, "lang: \"%.*s\" is not known; send one of %s",
                       (int)(name.n > 40 ? 40 : name.n), name.p, buf_cstr(&known));
}

enum err language_of_file(struct str name, enum language *ret_lang)
{
    const char *dot = name.n > 0 ? memrchr(name.p, '.', name.n) : NULL;
    if (dot == NULL)
        return ERR_NOT_FOUND;
    struct str end = {.p = dot + 1, .n = name.n - (size_t)(dot + 1 - name.p)};
    for (unsigned i = 0; i < LANG_COUNT; i++)
        if (str_eq_nocase(end, str_of(strrchr(rows[i].source_name, '.') + 1)) ||
            is_one_of(end, rows[i].endings)) {
            *ret_lang = (enum language)i;
            return ERR_OK;
        }
    return ERR_NOT_FOUND;
}
