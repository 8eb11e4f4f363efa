/* SPDX-License-Identifier: Apache-2.0 */
/* Which variables a request may set for its program (DECISIONS 2, HARDENING A145). */
#ifndef MILLRACE_SCHEMA_ENV_NAMES_H
#define MILLRACE_SCHEMA_ENV_NAMES_H

#include "base/str.h"

enum { ENV_NAME_MAX = 128 };

/* ERR_INVALID (not ^[A-Za-z_][A-Za-z0-9_]*$, or too long) or ERR_DENIED (a row of env_refused.def), with a
   sentence "env.NAME: ...". */
MUST_CHECK enum err env_name_check(struct str name, struct errinfo *info);

struct env_refused_row {
    const char *pattern, *owner;
};
/* For the documentation; ends with a NULL pattern. */
extern const struct env_refused_row env_refused_rows[];

#endif
