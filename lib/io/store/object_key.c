/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store/object_store.h"

enum { PARTS_MAX = 8, PART_MAX = 128 };

static bool key_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

static bool part_valid(struct str part)
{
    if (part.n == 0 || part.n > PART_MAX || part.p[0] == '.')
        return false;
    for (size_t i = 0; i < part.n; i++)
        if (!key_byte(part.p[i]))
            return false;
    return true;
}

bool object_key_valid(struct str key)
{
    if (key.n == 0 || key.n > OBJECT_KEY_MAX)
        return false;
    unsigned parts = 0;
    for (struct str rest = key; rest.p;)
        if (++parts > PARTS_MAX || !part_valid(str_split(&rest, '/')))
            return false;
    return true;
}
