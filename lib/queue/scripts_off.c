/* SPDX-License-Identifier: Apache-2.0 */
/* Test builds only: MILLRACE_TEST_QUEUE_OFF=fencing,states,idempotency,fairness runs the scripts without these defences, so
   that the tests can show that their checks find what the defences are for. A release has neither switch nor table. */
#include "queue/internal.h"

#include <stdlib.h>
#include <string.h>

enum { SCRIPT_MAX = 1 << 20 };

static const struct {
    const char *defence, *text, *instead;
} cuts[] = {
    {"fencing", "if attempt ~= j.attempt then return 'fenced' end",
     "if attempt ~= j.attempt then j.attempt = attempt return nil end"},
    {"fencing", "result[#result + 1] = -1", "result[#result + 1] = tonumber(j[4] or 0)"},
    {"states", "return s.version ~= state_base and 'conflict' or nil", "return nil"},
    {"idempotency", "if idem ~= '' then\n", "if false then\n"},
    {"fairness", "local tag = math.max(f['v' .. q], f[field]) + tonumber(cost)", "local tag = now()"},
    {"fairness", "if f.cap < RESERVE_FROM then return true end", "do return true end"},
};
enum { CUTS = sizeof cuts / sizeof cuts[0] };
static bool met[CUTS];

static bool is_off(const char *list, const char *defence)
{
    struct str rest = str_of(list);
    while (rest.p != NULL) {
        if (str_eq(str_split(&rest, ','), str_of(defence)))
            return true;
    }
    return false;
}

/* The first place only. The new text is kept as long as the process. */
static void cut(struct script_text *script, size_t i)
{
    const char *at = strstr(script->text, cuts[i].text);
    if (at == NULL)
        return;
    struct buf text = BUF_INIT(SCRIPT_MAX);
    buf_append_str(&text, (struct str){script->text, (size_t)(at - script->text)});
    buf_append_cstr(&text, cuts[i].instead);
    buf_append_cstr(&text, at + strlen(cuts[i].text));
    if (buf_status(&text) != ERR_OK)
        abort();
    script->text = buf_cstr(&text);
    script->len = text.len;
    met[i] = true;
}

void scripts_take_out(struct script_text *scripts, size_t count)
{
    const char *off = getenv("MILLRACE_TEST_QUEUE_OFF");
    for (size_t i = 0; off != NULL && i < CUTS; i++) {
        if (!is_off(off, cuts[i].defence))
            continue;
        for (size_t k = 0; k < count; k++)
            cut(&scripts[k], i);
        if (!met[i]) { /* the script was changed and this table was not */
            log_error("no script has this defence", F_STR("defence", cuts[i].defence),
                      F_STR("text", cuts[i].text));
            abort();
        }
    }
}
