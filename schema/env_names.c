/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/env_names.h"

const struct env_refused_row env_refused_rows[] = {
#define X(pattern_, owner_) {.pattern = (pattern_), .owner = (owner_)},
#include "schema/env_refused.def"
#undef X
    {.pattern = NULL},
};

static bool well_formed(struct str name)
{
    if (name.n == 0 || name.n > ENV_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return true;
}

static bool matches(struct str pattern, struct str name)
{
    if (pattern.p[pattern.n - 1] == '*')
        return str_starts(name, (struct str){.p = pattern.p, .n = pattern.n - 1});
    return str_eq(pattern, name);
}

enum err env_name_check(struct str name, struct errinfo *info)
{
    int shown = (int)(name.n > 60 ? 60 : name.n);
    if (!well_formed(name))
        return errinfo_set(
            info, ERR_INVALID, 0,
            "env.%.*s: the name must have 1 to %d letters, digits and _, and not begin with a digit", shown,
            name.p, ENV_NAME_MAX);
    for (const struct env_refused_row *row = env_refused_rows; row->pattern != NULL; row++)
        if (matches(str_of(row->pattern), name))
            return errinfo_set(info, ERR_DENIED, 0, "env.%.*s: names of %s (%s) are refused; leave it out",
                               shown, name.p, row->owner, row->pattern);
    return ERR_OK;
}
