/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/tally.h"

#include <stdlib.h>
#include <string.h>

static const size_t names_max = (size_t)4 << 30;

void tally_init(struct tally *t)
{
    *t = (struct tally){.memory = ARENA_INIT(names_max)};
}

void tally_free(struct tally *t)
{
    arena_free(&t->memory);
    free(t->rows);
    tally_init(t);
}

static size_t place_of(const struct tally_row *rows, size_t size, const char *name)
{
    size_t at = (size_t)str_hash(STR_HASH, str_of(name)) & (size - 1);
    while (rows[at].name && strcmp(rows[at].name, name) != 0)
        at = (at + 1) & (size - 1);
    return at;
}

static void grow(struct tally *t)
{
    size_t size = t->size ? t->size * 2 : 1024;
    struct tally_row *rows = calloc(size, sizeof *rows);
    if (!rows)
        abort(); /* a command line that cannot go on */
    for (size_t i = 0; i < t->size; i++)
        if (t->rows[i].name)
            rows[place_of(rows, size, t->rows[i].name)] = t->rows[i];
    free(t->rows);
    t->rows = rows;
    t->size = size;
}

void tally_add(struct tally *t, const char *name, int64_t change)
{
    if (2 * t->used >= t->size)
        grow(t);
    struct tally_row *row = &t->rows[place_of(t->rows, t->size, name)];
    if (!row->name) {
        row->name = arena_cstr(&t->memory, str_of(name));
        if (!row->name)
            abort();
        t->used++;
    }
    row->count += change;
}

struct tally_row *tally_find(const struct tally *t, const char *name)
{
    if (!t->size)
        return NULL;
    struct tally_row *row = &t->rows[place_of(t->rows, t->size, name)];
    return row->name ? row : NULL;
}

int64_t tally_get(const struct tally *t, const char *name)
{
    const struct tally_row *row = tally_find(t, name);
    return row ? row->count : 0;
}
