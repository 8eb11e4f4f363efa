/* SPDX-License-Identifier: Apache-2.0 */
/* Counts by name: a hash table that only grows. */
#ifndef MILLRACE_TOOLS_TALLY_H
#define MILLRACE_TOOLS_TALLY_H

#include "base/arena.h"

struct tally_row {
    const char *name;
    int64_t count;
    bool seen; /* for the caller */
};

struct tally {
    struct arena memory;    /* of the names */
    struct tally_row *rows; /* name NULL: free */
    size_t used, size;
};

void tally_init(struct tally *t);
void tally_free(struct tally *t);
/* Adds to what is there, or to 0. Aborts without memory. */
void tally_add(struct tally *t, const char *name, int64_t change);
struct tally_row *tally_find(const struct tally *t, const char *name); /* NULL: never added */
int64_t tally_get(const struct tally *t, const char *name);            /* 0: never added */

#endif
