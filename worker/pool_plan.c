/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/pool_plan.h"

#include "schema/languages.h"
#include "worker/spawner/kinds.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool pool_plan_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static unsigned setting(const struct config *c, const char *name)
{
    const struct config_row *row = config_find(&config_table, str_of(name));
    assert(row && row->type == CONFIG_INT); /* a unit test asks for every language's */
    int64_t value;
    memcpy(&value, (const char *)c + row->offset, sizeof value);
    return (unsigned)value;
}

static unsigned setting_of_language(const struct config *c, const struct language_row *lang)
{
    char name[32];
    int n = snprintf(name, sizeof name, "POD_POOL_%s", lang->id);
    for (int i = 0; i < n; i++)
        name[i] = (char)toupper((unsigned char)name[i]);
    return setting(c, name);
}

static bool usable(const struct language_row *lang, bool (*there)(const char *path))
{
    return there(lang->compile ? lang->compile[0] : lang->run[0]);
}

static unsigned size_of(const struct config *c, const struct pod_kind_row *row,
                        bool (*there)(const char *path))
{
    if (!c->pod_pool_enabled)
        return 0;
    unsigned sum = row->setting ? setting(c, row->setting) : 0;
    for (unsigned i = 0; i < LANG_COUNT; i++) {
        const struct language_row *lang = language_row((enum language)i);
        const char *kind = *lang->warm ? lang->warm : pod_kind_row(KIND_COLD)->name;
        if (strcmp(kind, row->name) == 0 && usable(lang, there))
            sum += setting_of_language(c, lang);
    }
    return sum;
}

/* Python can be waited for; the others come after it. */
static unsigned place_of(unsigned kind)
{
    return kind == KIND_PY ? 0 : kind == KIND_COLD ? 1 : kind;
}

size_t pool_plan(const struct config *c, bool (*there)(const char *path),
                 struct pool_kind kinds[POOL_KINDS_MAX])
{
    static_assert((int)KIND_COUNT <= (int)POOL_KINDS_MAX, "a pool for each kind");
    static_assert(KIND_COLD == 0 && KIND_PY == 1, "place_of() changes these two");
    for (unsigned i = 0; i < KIND_COUNT; i++) {
        const struct pod_kind_row *row = pod_kind_row((enum pod_kind)i);
        bool missing = row->needs && !there(row->needs);
        unsigned size = missing ? 0 : size_of(c, row, there);
        bool started = pod_how_waits(row->how);
        /* An interpreter that is started on demand is no quicker than the job's own command. */
        const char *lacks = missing ? row->needs : size == 0 && started ? "a pool" : NULL;
        kinds[place_of(i)] = (struct pool_kind){.name = row->name,
                                                .size = size,
                                                .fallback = row->fallback,
                                                .missing = lacks,
                                                .later = row->imports || started,
                                                .heavy = started && row->how != HOW_LIGHT,
                                                .slow = row->how == HOW_SLOW};
    }
    return KIND_COUNT;
}

const char *pool_plan_image_kind(enum language lang, const char *kind)
{
    return strcmp(kind, pod_kind_row(KIND_COLD)->name) == 0 ? language_row(lang)->id : kind;
}

size_t pool_plan_images(const struct config *c, struct pool_kind kinds[POOL_KINDS_MAX])
{
    static_assert((int)LANG_COUNT + 2 <= (int)POOL_KINDS_MAX, "a pool for each language and package set");
    size_t n = 0;
    for (unsigned i = 0; i < LANG_COUNT; i++) {
        const struct language_row *lang = language_row((enum language)i);
        const char *kind = *lang->warm ? lang->warm : lang->id;
        kinds[n++] = (struct pool_kind){
            .name = kind, .size = c->pod_pool_enabled ? setting_of_language(c, lang) : 0, .later = i > 0};
    }
    for (unsigned i = 0; i < KIND_COUNT && n < POOL_KINDS_MAX; i++) {
        const struct pod_kind_row *row = pod_kind_row((enum pod_kind)i);
        if (row->imports)
            kinds[n++] = (struct pool_kind){.name = row->name,
                                            .size = c->pod_pool_enabled ? setting(c, row->setting) : 0,
                                            .fallback = row->fallback,
                                            .later = true};
    }
    return n;
}
