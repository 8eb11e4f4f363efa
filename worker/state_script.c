/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/state_script.h"

#include "worker/spec.h"
#include "worker/templates/template_proto.h"

#include <inttypes.h>

/* What a shell exports goes into the environment of each command, which the kernel bounds much lower. */
enum { SHELL_STATE_MAX = 4 << 20, SCRIPT_MAX = 1 << 20 };

extern const char state_bash[];
extern const size_t state_bash_len;

static const struct {
    const char *text;
    const size_t *len;
} scripts[LANG_COUNT] = {[LANG_BASH] = {state_bash, &state_bash_len}};

/* Names of variables were checked when the request was: nothing in them means anything to a shell. */
static void write_names(const json_t *env, struct buf *out)
{
    const char *name;
    void *it = json_object_iter((json_t *)(uintptr_t)env);
    for (; it; it = json_object_iter_next((json_t *)(uintptr_t)env, it)) {
        name = json_object_iter_key(it);
        buf_printf(out, "%s ", name);
    }
}

void state_script_put(struct run_plan *plan, const json_t *env, uint64_t max_bytes, bool on_error)
{
    if (scripts[plan->lang].text == NULL)
        return;
    auto_buf script = BUF_INIT(SCRIPT_MAX);
    buf_printf(&script, "__mr_most=%" PRIu64 " __mr_on_error=%d __mr_asked=' ",
               max_bytes < SHELL_STATE_MAX ? max_bytes : SHELL_STATE_MAX, on_error);
    write_names(env, &script);
    buf_append_cstr(&script, "'\n");
    buf_append(&script, scripts[plan->lang].text, *scripts[plan->lang].len);
    if (buf_status(&script) != ERR_OK)
        plan->spec.failed = buf_status(&script);
    spec_put(&plan->spec, SPEC_STATE_SCRIPT, buf_str(&script));
    spec_put(&plan->spec, SPEC_ENV, STR(PROGRAM_SCRIPT_ENV));
}
