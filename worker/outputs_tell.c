/* SPDX-License-Identifier: Apache-2.0 */
/* What there is to say of a run's files: the events `file`. */
#include "worker/outputs_internal.h"

#include "base/utf8.h"
#include "json/json.h"

#include <inttypes.h>
#include <string.h>

static void member(struct buf *json, const char *name, struct str value)
{
    buf_printf(json, "%s\"%s\":", json->len > 1 ? "," : "", name);
    json_write_string(json, value);
}

static void write_place(struct buf *json, const char *id, const char *session, uint64_t size,
                        const char *hash)
{
    member(json, "file_id", str_of(id)); /* an event has an `id` of its own */
    member(json, "session_id", str_of(session));
    buf_printf(json, ",\"size\":%" PRIu64, size);
    member(json, "hash", str_of(hash));
}

static void write_output(const struct output *o, struct buf *json)
{
    buf_reset(json);
    buf_append_char(json, '{');
    member(json, "path", str_of(o->path));
    if (o->state == REFUSED)
        member(json, "refused", str_of(file_refused_name(o->why)));
    else if (o->state == SAME || o->import) {
        bool told = o->input->told_id.text[0] != '\0';
        write_place(json, told ? o->input->told_id.text : o->input->id.text,
                    told ? o->input->told_session.text : o->input->session.text, o->size, o->hash);
        buf_append_cstr(json, ",\"inherited\":true");
    } else {
        write_place(json, o->id.text, o->out->owner.session.text, o->size, o->hash);
        if (o->input)
            buf_printf(json, ",\"modified_from\":{\"id\":\"%s\",\"session_id\":\"%s\"}", o->input->id.text,
                       o->input->session.text);
    }
    buf_append_char(json, '}');
}

static bool came_back(const struct outputs *out, const struct input *input)
{
    for (size_t i = 0; i < out->count; i++)
        if (out->at[i]->input == input || str_eq(str_of(out->at[i]->path), input->path))
            return true;
    return false;
}

/* Of an input that did not come back: read-only ones always are what they were, others were deleted. */
static void write_input(const struct input *input, struct buf *json)
{
    buf_reset(json);
    buf_append_char(json, '{');
    member(json, "path", input->path);
    if (input->dropped)
        member(json, "refused", str_of(file_refused_name(FILE_REFUSED_SAME_NAME)));
    else if (input->read_only) {
        write_place(json, input->id.text, input->session.text, input->size, input->hash);
        buf_append_cstr(json, ",\"inherited\":true");
    } else
        buf_append_cstr(json, ",\"deleted\":true");
    buf_append_char(json, '}');
}

/* Below a folder that is hidden, or in Python's cache: what tools keep there is nobody's result. */
static bool is_hidden(const char *path)
{
    for (const char *slash; (slash = strchr(path, '/')) != NULL; path = slash + 1)
        if (path[0] == '.' || strncmp(path, "__pycache__/", 12) == 0)
            return true;
    return false;
}

static bool is_told(const struct output *o)
{
    if (!o->out->workspace || o->state == REFUSED)
        return true;
    return !o->special && !(is_hidden(o->path) && (!o->input || o->input->kept));
}

/* Of an input, the same. */
static bool is_input_told(const struct input *input)
{
    return !input->shadowed && !input->folder && !input->link.n && !(input->kept && is_hidden(input->path.p));
}

struct writing {
    void (*each)(void *arg, struct str json);
    void *arg;
    size_t echoed;
};

static void write_one(struct writing *w, bool echo, struct buf *json)
{
    if (buf_status(json) != ERR_OK || (echo && w->echoed == FILES_ECHOED_MAX))
        return;
    w->echoed += echo;
    w->each(w->arg, buf_str(json));
}

/* New ones first, then echoes of inputs as far as there is room. */
void outputs_write(const struct outputs *out, void (*each)(void *arg, struct str json), void *arg)
{
    auto_buf json = BUF_INIT(JSON_MAX);
    struct writing w = {.each = each, .arg = arg};
    for (int same = 0; same < 2; same++) {
        for (size_t i = 0; i < out->count; i++) {
            const struct output *o = out->at[i];
            if ((o->state == SAME || (o->import && o->state == STORED)) != same || !is_told(o))
                continue;
            write_output(out->at[i], &json);
            write_one(&w, same, &json);
        }
    }
    const struct input *input;
    for (size_t i = 0; (input = inputs_at(out->inputs, i)); i++) {
        if (!is_input_told(input) ||
            (!input->dropped && (came_back(out, input) || !(out->whole || input->read_only))))
            continue;
        write_input(input, &json);
        write_one(&w, input->read_only && !input->dropped, &json);
    }
    if (out->unlisted > 0) {
        buf_reset(&json);
        buf_printf(&json, "{\"refused\":\"%s\",\"count\":%" PRIu64 "}",
                   file_refused_name(FILE_REFUSED_TOO_MANY), out->unlisted);
        write_one(&w, false, &json);
    }
}
