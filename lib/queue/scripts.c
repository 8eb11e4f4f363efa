/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/internal.h"

#include "io/crypto.h"

#define X(name, flags, keys, parts)                                                                          \
    extern const char script_##name[];                                                                       \
    extern const size_t script_##name##_len;
#include "schema/redis/scripts.def"
#undef X

static struct script_text table[SCRIPT_COUNT] = {
#define X(script, flags, key_names, parts)                                                                   \
    [SCRIPT_##script] = {.name = #script, .keys = (key_names), .text = script_##script},
#include "schema/redis/scripts.def"
#undef X
};

static void fill(void)
{
    const size_t lengths[SCRIPT_COUNT] = {
#define X(name, flags, keys, parts) [SCRIPT_##name] = script_##name##_len,
#include "schema/redis/scripts.def"
#undef X
    };
    for (size_t i = 0; i < SCRIPT_COUNT; i++)
        table[i].len = lengths[i];
#ifdef MILLRACE_TEST_BUILD
    scripts_take_out(table, SCRIPT_COUNT);
#endif
    for (size_t i = 0; i < SCRIPT_COUNT; i++)
        sha1_hex((struct str){table[i].text, table[i].len}, table[i].sha);
}

const struct script_text *script_get(enum script s)
{
    if (!table[0].sha[0])
        fill();
    return &table[s];
}
