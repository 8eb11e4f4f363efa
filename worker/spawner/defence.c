/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/defence.h"

static const char *const names[] = {
#define X(NAME, name, text) #name,
#include "worker/spawner/defences.def"
#undef X
};

enum defence defence_named(struct str name)
{
    for (int d = 0; d < DEFENCE_COUNT; d++) {
        if (str_eq(name, str_of(names[d])))
            return (enum defence)d;
    }
    return DEFENCE_COUNT;
}

const char *defence_name(enum defence d)
{
    return d < DEFENCE_COUNT ? names[d] : "?";
}
