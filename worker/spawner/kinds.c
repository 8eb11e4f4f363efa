/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/kinds.h"

#include <assert.h>
#include <string.h>

static const struct pod_kind_row rows[] = {
#define X(SYMBOL, name_, how_, set_, needs_, fallback_, setting_, imports_, text_)                           \
    [KIND_##SYMBOL] = {.name = (name_),                                                                      \
                       .how = HOW_##how_,                                                                    \
                       .set = (set_),                                                                        \
                       .needs = (needs_),                                                                    \
                       .fallback = (fallback_),                                                              \
                       .setting = (setting_),                                                                \
                       .imports = (imports_),                                                                \
                       .text = (text_)},
#include "worker/spawner/kinds.def"
#undef X
};

const struct pod_kind_row *pod_kind_row(enum pod_kind kind)
{
    assert((unsigned)kind < KIND_COUNT);
    return &rows[kind];
}

enum pod_kind pod_kind_named(const char *name)
{
    for (unsigned i = 0; i < KIND_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0)
            return (enum pod_kind)i;
    return KIND_COUNT;
}
