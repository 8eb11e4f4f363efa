/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/run_files.h"

#include "base/log.h"
#include "base/utf8.h"
#include "json/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { OUTPUTS_LISTED_MAX = INPUTS_MAX + 1000, JSON_MAX = 8192 };

/* One that came. STORED: its object is in the store, though not yet in the table. */
enum state { SPOOLING, ENDING, PUTTING, STORED, SAME, REFUSED };

struct output {
    struct outputs *out;
    enum state state;
    enum file_refused why;
    char path[FRAME_PATH_MAX + 1];
    uint64_t size;
    const struct input *input; /* it is that one, perhaps changed */
    struct id id;
    char hash[SHA256_HEX_LEN + 1];
    struct spool *spool;
    struct object_op *op;
};

struct outputs {
    const struct file_services *services;
    struct run_owner owner;
    const struct inputs *inputs;
    struct outputs_events events;
    const struct pod_backend_ops *ops;
    struct pod *pod; /* NULL: nothing more comes */
    struct output **at;
    size_t count, cap, active; /* active: being spooled or put */
    struct output *current;    /* FILE came, FILE_END did not */
    struct output *full;       /* its spool takes no more at present */
    bool skipping;             /* the current one is refused: its bytes are dropped */
    uint64_t current_left, new_files, bytes, unlisted;
    size_t refused;
    bool paused, ended, whole, adding, told, moved, freed; /* whole: the pod told everything */
};

/* ---- the ends of it ---- */

static void really_free(struct outputs *out)
{
    for (size_t i = 0; i < out->count; i++)
        free(out->at[i]);
    free(out->at);
    free(out);
}

static void let_go(struct output *o)
{
    spool_drop(o->spool);
    o->spool = NULL;
    if (o->op)
        object_op_cancel(o->op);
    o->op = NULL;
}

void outputs_free(struct outputs *out)
{
    if (!out)
        return;
    for (size_t i = 0; i < out->count; i++)
        let_go(out->at[i]);
    out->pod = NULL;
    out->freed = true;
    if (!out->adding)
        really_free(out);
}

static void tell(struct outputs *out, bool fenced)
{
    if (out->told)
        return;
    out->told = true;
    out->events.stored(out->events.arg, fenced);
}

static void on_removed(void *arg, const struct object_result *result)
{
    (void)arg;
    if (result->e != ERR_OK) /* the sweeper finds it */
        log_warn("an object could not be deleted", F_STR("why", result->why ? result->why : ""));
}

static void remove_object(struct outputs *out, struct str tenant, const struct session_file *file)
{
    auto_buf key = BUF_INIT(OBJECT_KEY_MAX);
    if (session_object_name(tenant, out->owner.session, file, &key) == ERR_OK)
        (void)!object_delete(out->services->store, buf_cstr(&key), on_removed, NULL, NULL); /* as above */
}

static struct session_file record_of(const struct outputs *out, const struct output *o)
{
    struct session_file file = {.id = o->id,
                                .path = str_of(o->path),
                                .hash = str_of(o->hash),
                                .size = o->size,
                                .source = STR("run"),
                                .job = str_of(out->owner.job.text),
                                .attempt = out->owner.attempt};
    if (o->input) {
        file.from_id = str_of(o->input->id.text);
        file.from_session = str_of(o->input->session.text);
    }
    return file;
}

/* Nothing names their objects. Where the answer got lost they may be named after all, and stay. */
static void refuse_all(struct outputs *out, enum queue_answer answer)
{
    for (size_t i = 0; i < out->count; i++) {
        struct output *o = out->at[i];
        if (o->state != STORED)
            continue;
        struct session_file file = record_of(out, o);
        if (answer != QUEUE_UNAVAILABLE)
            remove_object(out, out->owner.tenant, &file);
        o->state = REFUSED;
        o->why = answer == QUEUE_FULL ? FILE_REFUSED_SESSION_FULL : FILE_REFUSED_NOT_STORED;
    }
}

static void on_added(void *arg, enum queue_answer answer, const struct session_removed *removed)
{
    struct outputs *out = arg;
    out->adding = false;
    if (out->freed) {
        really_free(out);
        return;
    }
    for (size_t i = 0; answer == QUEUE_OK && i < removed->count; i++)
        remove_object(out, removed->tenant, &removed->files[i]);
    if (answer != QUEUE_OK)
        refuse_all(out, answer);
    tell(out, answer == QUEUE_FENCED);
}

/* All objects are in the store: now the table, right before the run's end. */
static void add_all(struct outputs *out)
{
    struct session_file *files = calloc(out->count ? out->count : 1, sizeof *files);
    size_t n = 0;
    for (size_t i = 0; files && i < out->count; i++)
        if (out->at[i]->state == STORED)
            files[n++] = record_of(out, out->at[i]);
    out->adding = n > 0;
    if (n > 0) {
        const struct file_services *s = out->services;
        struct session_add add = {.owner = {out->owner.tenant, out->owner.user},
                                  .session = out->owner.session,
                                  .ttl_ms = s->session_ttl_ms,
                                  .max_files = s->max_session_files,
                                  .max_bytes = s->max_session_bytes,
                                  .job = out->owner.job,
                                  .attempt = out->owner.attempt,
                                  .files = files,
                                  .count = n};
        session_add_files(s->queue, &add, on_added, out);
    }
    free(files);
    if (n == 0)
        tell(out, false);
}

static void check_end(struct outputs *out)
{
    if (out->ended && out->active == 0 && !out->adding && !out->told)
        add_all(out);
}

/* ---- back-pressure ---- */

static void set_paused(struct outputs *out, bool paused)
{
    if (!out->pod || out->paused == paused)
        return;
    out->paused = paused;
    out->ops->pause(out->pod, paused);
}

/* When every spool takes more and few files are under way. */
static void go_on(struct outputs *out)
{
    if (!out->full && out->active < OUTPUTS_OPEN_MAX)
        set_paused(out, false);
}

static void on_room(void *arg)
{
    struct output *o = arg;
    struct outputs *out = o->out;
    out->full = out->full == o ? NULL : out->full;
    go_on(out);
}

/* ---- one file ---- */

static void settle(struct output *o, enum state state, enum file_refused why)
{
    struct outputs *out = o->out;
    o->state = state;
    o->why = why;
    spool_drop(o->spool);
    o->spool = NULL;
    o->op = NULL;
    out->active--;
    out->moved = true;
    out->full = out->full == o ? NULL : out->full;
    if (out->ended)
        check_end(out);
    else
        go_on(out); /* may end in outputs_end() */
}

static void on_put(void *arg, const struct object_result *result)
{
    struct output *o = arg;
    o->op = NULL;
    if (result->e != ERR_OK)
        log_warn("an output file could not be stored", F_STR("why", result->why ? result->why : ""));
    settle(o, result->e == ERR_OK ? STORED : REFUSED, FILE_REFUSED_NOT_STORED);
}

static void put(struct output *o)
{
    struct outputs *out = o->out;
    auto_buf key = BUF_INIT(OBJECT_KEY_MAX);
    o->id = session_draw_file(out->services->queue, out->owner.session);
    struct session_file file = record_of(out, o);
    enum err e = session_object_name(out->owner.tenant, out->owner.session, &file, &key);
    o->state = PUTTING;
    if (e == ERR_OK)
        e = object_put(out->services->store, &(struct object_put){.key = buf_cstr(&key), .spool = o->spool},
                       on_put, o, &o->op);
    if (e != ERR_OK)
        settle(o, REFUSED, FILE_REFUSED_NOT_STORED);
}

static void on_spooled(void *arg, enum err e, const char *why)
{
    struct output *o = arg;
    if (e != ERR_OK) {
        log_warn("an output file could not be kept", F_STR("why", why ? why : err_text(e)));
        settle(o, REFUSED, FILE_REFUSED_NOT_STORED);
        return;
    }
    sha256_hex(spool_sha256(o->spool), o->hash);
    if (o->input && strcmp(o->input->hash, o->hash) == 0)
        settle(o, SAME, FILE_REFUSED_NOT_STORED);
    else
        put(o);
}

/* ---- what the pod says ---- */

static struct output *add_output(struct outputs *out, struct str path)
{
    if (out->count == OUTPUTS_LISTED_MAX)
        return NULL;
    if (out->count == out->cap) {
        size_t cap = out->cap ? out->cap * 2 : 16;
        struct output **more = realloc(out->at, cap * sizeof *more);
        if (!more)
            return NULL;
        out->at = more;
        out->cap = cap;
    }
    struct output *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    auto_buf clean = BUF_INIT(4 * FRAME_PATH_MAX);
    utf8_sanitize(&clean, (struct str){path.p, path.n < FRAME_PATH_MAX ? path.n : FRAME_PATH_MAX});
    snprintf(o->path, sizeof o->path, "%s", buf_cstr(&clean));
    o->out = out;
    out->at[out->count++] = o;
    return o;
}

static void note_refused(struct outputs *out, struct str path, enum file_refused why, uint64_t times)
{
    struct output *o = path.n > 0 && out->refused < REFUSED_LISTED_MAX ? add_output(out, path) : NULL;
    if (!o) {
        out->unlisted += times;
        return;
    }
    out->refused++;
    o->state = REFUSED;
    o->why = why;
}

static const struct input *input_of(const struct outputs *out, struct str path)
{
    const struct input *input;
    for (size_t i = 0; (input = inputs_at(out->inputs, i)); i++)
        if (!input->dropped && str_eq(input->path, path))
            return input;
    return NULL;
}

/* The caps are kept here, whatever the pod says. */
static bool is_refused(const struct outputs *out, const struct frame_file *file, const struct input *input,
                       enum file_refused *ret_why)
{
    const struct file_services *s = out->services;
    if (!frame_path_ok(file->path) || !utf8_valid(file->path))
        *ret_why = FILE_REFUSED_BAD_NAME;
    else if (file->size > s->max_file_bytes && !(input && file->size <= input->size))
        *ret_why = FILE_REFUSED_TOO_LARGE;
    else if (!input && out->new_files >= s->max_outputs)
        *ret_why = FILE_REFUSED_TOO_MANY;
    else if (!input && file->size > s->max_total_bytes - out->bytes)
        *ret_why = FILE_REFUSED_TOTAL;
    else
        return false;
    return true;
}

static enum err begin(struct outputs *out, const struct frame_file *file)
{
    enum file_refused why;
    const struct input *input = input_of(out, file->path);
    if (out->current || out->skipping)
        return ERR_PROTOCOL;
    out->current_left = file->size;
    out->skipping = true;
    if (input && input->read_only)
        return ERR_OK; /* its changes are thrown away */
    if (is_refused(out, file, input, &why)) {
        note_refused(out, file->path, why, 1);
        return ERR_OK;
    }
    struct output *o = add_output(out, file->path);
    if (!o || object_spool(out->services->store, file->size, on_room, o, &o->spool) != ERR_OK) {
        if (o) {
            o->state = REFUSED;
            o->why = FILE_REFUSED_NOT_STORED;
        }
        return ERR_OK;
    }
    o->size = file->size;
    o->input = input;
    out->new_files += !input;
    out->bytes += input ? 0 : file->size;
    out->skipping = false;
    out->current = o;
    out->active++;
    return ERR_OK;
}

static enum err data(struct outputs *out, struct str bytes)
{
    if ((!out->current && !out->skipping) || bytes.n > out->current_left)
        return ERR_PROTOCOL;
    out->current_left -= bytes.n;
    if (out->current && spool_push(out->current->spool, bytes) == ERR_AGAIN) {
        out->full = out->current;
        set_paused(out, true);
    }
    return ERR_OK; /* what could not be written is told at the spool's end */
}

static enum err end(struct outputs *out, bool whole)
{
    struct output *o = out->current;
    if ((!o && !out->skipping) || (whole && out->current_left > 0))
        return ERR_PROTOCOL;
    out->current = NULL;
    out->skipping = false;
    if (!o)
        return ERR_OK;
    if (!whole) {
        settle(o, REFUSED, FILE_REFUSED_UNREADABLE);
        return ERR_OK;
    }
    o->state = ENDING;
    out->full = NULL;
    spool_end(o->spool, on_spooled, o);
    if (out->active >= OUTPUTS_OPEN_MAX)
        set_paused(out, true);
    return ERR_OK;
}

enum err outputs_take(struct outputs *out, const struct pod_event *event)
{
    const struct frame_file *file = &event->file;
    out->moved = true;
    if (event->type == POD_FILE)
        return begin(out, file);
    if (event->type == POD_FILE_DATA)
        return data(out, event->bytes);
    if (event->type == POD_FILE_END)
        return end(out, event->ok);
    if (file->flags >= FILE_REFUSED_COUNT)
        return ERR_PROTOCOL;
    note_refused(out, file->path, (enum file_refused)file->flags, file->size);
    return ERR_OK;
}

void outputs_end(struct outputs *out)
{
    out->pod = NULL;
    out->ended = true;
    struct output *half = out->current;
    out->whole = !half;
    out->current = NULL;
    if (half) /* DONE in the middle of a file */
        settle(half, REFUSED, FILE_REFUSED_UNREADABLE);
    else
        check_end(out);
}

void outputs_cut(struct outputs *out)
{
    out->pod = NULL;
    out->ended = true;
    out->current = NULL;
    for (size_t i = 0; i < out->count; i++) {
        struct output *o = out->at[i];
        if (o->state != SPOOLING && o->state != ENDING && o->state != PUTTING)
            continue;
        let_go(o);
        o->state = REFUSED;
        o->why = FILE_REFUSED_NOT_STORED;
        out->active--;
    }
    check_end(out);
}

bool outputs_moved(struct outputs *out)
{
    bool moved = out->moved;
    out->moved = false;
    return moved;
}

/* ---- opening, and what there is to say ---- */

enum err outputs_open(const struct file_services *services, const struct run_owner *owner,
                      const struct inputs *inputs, const struct outputs_events *events,
                      const struct pod_backend_ops *ops, struct pod *pod, struct outputs **ret_outputs)
{
    struct outputs *out = calloc(1, sizeof *out);
    if (!out)
        return ERR_NOMEM;
    *out = (struct outputs){
        .services = services, .owner = *owner, .inputs = inputs, .events = *events, .ops = ops, .pod = pod};
    *ret_outputs = out;
    return ERR_OK;
}

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
    else if (o->state == SAME) {
        write_place(json, o->input->id.text, o->input->session.text, o->size, o->hash);
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
            if ((out->at[i]->state == SAME) != same)
                continue;
            write_output(out->at[i], &json);
            write_one(&w, same, &json);
        }
    }
    const struct input *input;
    for (size_t i = 0; (input = inputs_at(out->inputs, i)); i++) {
        if (!input->dropped && (came_back(out, input) || !(out->whole || input->read_only)))
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
