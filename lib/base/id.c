/* SPDX-License-Identifier: Apache-2.0 */
#include "base/id.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* The first 62 are the alphanumerics, so that the ends can be drawn from a prefix of the alphabet. */
static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-";

bool id_valid(struct str s)
{
    if (s.n != ID_LEN)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\0' || strchr(alphabet, s.p[i]) == NULL)
            return false;
    return true;
}

enum err id_parse(struct str s, struct id *ret_id)
{
    if (!id_valid(s))
        return ERR_INVALID;
    memcpy(ret_id->text, s.p, ID_LEN);
    ret_id->text[ID_LEN] = '\0';
    return ERR_OK;
}

unsigned id_partition(struct str id, unsigned partitions)
{
    assert(partitions >= 1);
    return (unsigned)(str_hash(STR_HASH, id) % partitions);
}

/* Random bytes in blocks, so that drawing ids until they fit a partition is not a system call each. */
static unsigned char random_byte(void)
{
    static _Thread_local unsigned char pool[256];
    static _Thread_local size_t left;
    if (left == 0) {
        if (getrandom(pool, sizeof pool, 0) != (ssize_t)sizeof pool)
            abort();
        left = sizeof pool;
    }
    return pool[--left];
}

static char random_char(unsigned choices)
{
    unsigned value;
    do {
        value = random_byte() & 63U;
    } while (value >= choices);
    return alphabet[value];
}

struct id id_new(void)
{
    struct id id;
    for (size_t i = 0; i < ID_LEN; i++)
        id.text[i] = random_char(i == 0 || i == ID_LEN - 1 ? 62 : 64);
    id.text[ID_LEN] = '\0';
    return id;
}

struct id id_new_in(unsigned partition, unsigned partitions)
{
    struct id id;
    do {
        id = id_new();
    } while (id_partition((struct str){.p = id.text, .n = ID_LEN}, partitions) != partition);
    return id;
}
