/* SPDX-License-Identifier: Apache-2.0 */
#include "api/profile.h"

static bool is_default(struct str name)
{
    return str_eq(name, STR("default"));
}

enum profile_fit profile_check(enum config_execution_profile mine, struct str expected, unsigned count)
{
    if (count == 0)
        return PROFILE_FITS;
    if (count > 1 || (!is_default(expected) && !str_eq(expected, STR("stateful"))))
        return PROFILE_UNKNOWN;
    bool both = mine == CONFIG_EXECUTION_PROFILE_BOTH;
    return both || is_default(expected) == (mine == CONFIG_EXECUTION_PROFILE_DEFAULT) ? PROFILE_FITS
                                                                                      : PROFILE_OTHER;
}

const char *profile_name(enum config_execution_profile mine, struct str expected)
{
    if (mine == CONFIG_EXECUTION_PROFILE_BOTH)
        return is_default(expected) ? "default" : "stateful";
    return mine == CONFIG_EXECUTION_PROFILE_DEFAULT ? "default" : "stateful";
}
