/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/internal.h"

#include "io/crypto.h"

#ifdef MILLRACE_TEST_BUILD
#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#endif

#define X(name, flags, keys, parts)                                                                                 \
    extern const char script_##name[];                                                                       \
    extern const size_t script_##name##_len;
#include "schema/redis/scripts.def"
#undef X

static struct script_text table[SCRIPT_COUNT] = {
#define X(script, flags, key_names, parts)                                                                          \
    [SCRIPT_##script] = {.name = #script, .keys = (key_names), .text = script_##script},
#include "schema/redis/scripts.def"
#undef X
};

#ifdef MILLRACE_TEST_BUILD
#define OFF_MARK "local OFF = {}"

/* MILLRACE_TEST_QUEUE_OFF=fencing,idempotency,fairness: the script without these defences. The tests show with it
   that their checks would find what the defences are for. */
static void take_out(struct script_text *script)
{
    const char *off = getenv("MILLRACE_TEST_QUEUE_OFF");
    const char *mark = strstr(script->text, OFF_MARK);
    if (off == NULL || mark == NULL || strspn(off, "abcdefghijklmnopqrstuvwxyz,") != strlen(off))
        return;
    struct str list = str_of(off);
    struct buf text = BUF_INIT(1 << 20); /* kept as long as the process */
    buf_append_str(&text, (struct str){script->text, (size_t)(mark - script->text)});
    buf_append_cstr(&text, "local OFF = {");
    while (list.p != NULL)
        buf_printf(&text, STR_FMT "=true,", STR_ARG(str_split(&list, ',')));
    buf_append_cstr(&text, "}");
    buf_append_cstr(&text, mark + strlen(OFF_MARK));
    if (buf_status(&text) != ERR_OK)
        abort();
    script->text = buf_cstr(&text);
    script->len = text.len;
    log_limited(LOG_WARN, "defences are taken out; this is a test build", F_STR("off", off));
}
#else
static void take_out(struct script_text *script)
{
    (void)script; /* a release has no such switch */
}
#endif

static void fill(void)
{
    const size_t lengths[SCRIPT_COUNT] = {
#define X(name, flags, keys, parts) [SCRIPT_##name] = script_##name##_len,
#include "schema/redis/scripts.def"
#undef X
    };
    for (size_t i = 0; i < SCRIPT_COUNT; i++) {
        table[i].len = lengths[i];
        take_out(&table[i]);
        sha1_hex((struct str){table[i].text, table[i].len}, table[i].sha);
    }
}

const struct script_text *script_get(enum script s)
{
    if (!table[0].sha[0])
        fill();
    return &table[s];
}
