/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_WORKER_SPAWNER_DEFENCE_H
#define MILLRACE_WORKER_SPAWNER_DEFENCE_H

#include "base/str.h"

#include <stdbool.h>

enum defence {
#define X(NAME, name, text) DEFENCE_##NAME,
#include "worker/spawner/defences.def"
#undef X
    DEFENCE_COUNT
};

/* By its name in defences.def; DEFENCE_COUNT: there is none. */
enum defence defence_named(struct str name);
const char *defence_name(enum defence d);

/* `off` has a bit for each defence that a test took out. Never one in a release. */
static inline bool defence_on(unsigned off, enum defence d)
{
#ifdef MILLRACE_TEST_BUILD
    return (off & 1U << d) == 0;
#else
    (void)off;
    (void)d;
    return true;
#endif
}

#endif
