/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/outputs_internal.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/utf8.h"
#include "json/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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
    if (!out->workspace)
        return file;
    if (o->input)
        file.origin = str_of(o->input->kept ? o->input->origin.text : o->input->id.text);
    file.link = str_of(o->link);
    file.folder = o->folder;
    if (o->special)
        file.hash = (struct str){0};
    file.mode = o->mode;
    file.written_ms = o->time_ms;
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
        if (!o->special && answer != QUEUE_UNAVAILABLE)
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
        if (removed->files[i].hash.n > 0)
            remove_object(out, removed->tenant, &removed->files[i]);
    if (answer != QUEUE_OK)
        refuse_all(out, answer);
    tell(out, answer == QUEUE_FENCED);
}

/* Does the workspace lose this one? Only what is known to be removed or replaced. */
static bool is_dropped(const struct outputs *out, const struct input *input)
{
    if (input->dropped)
        return true;
    for (size_t i = 0; i < out->count; i++)
        if (str_eq(str_of(out->at[i]->path), input->path))
            return out->at[i]->state == STORED;
    return out->whole && !input->read_only;
}

/* NULL: no memory. */
static struct id *dropped_ids(const struct outputs *out, size_t *ret_count)
{
    const struct input *input;
    size_t n = 0, i = 0;
    while (inputs_at(out->inputs, i))
        i++;
    struct id *ids = calloc(i + 1, sizeof *ids);
    for (i = 0; ids && (input = inputs_at(out->inputs, i)); i++)
        if (input->kept && is_dropped(out, input))
            ids[n++] = input->id;
    *ret_count = n;
    return ids;
}

/* All objects are in the store: now the table, right before the run's end. */
static void add_all(struct outputs *out)
{
    auto_free struct session_file *files = calloc(out->count ? out->count : 1, sizeof *files);
    auto_free struct id *drops = NULL;
    const struct file_services *s = out->services;
    struct session_add add = {.owner = {out->owner.tenant, out->owner.user},
                              .session = out->owner.session,
                              .ttl_ms = s->session_ttl_ms,
                              .max_files = out->workspace ? s->max_workspace_files : s->max_session_files,
                              .max_bytes = out->workspace ? s->max_workspace_bytes : s->max_session_bytes,
                              .job = out->owner.job,
                              .attempt = out->owner.attempt,
                              .workspace = out->workspace,
                              .created_ms = out->created_ms,
                              .files = files};
    for (size_t i = 0; files && i < out->count; i++)
        if (out->at[i]->state == STORED)
            files[add.count++] = record_of(out, out->at[i]);
    if (out->workspace)
        add.drops = drops = dropped_ids(out, &add.drop_count);
    out->adding = add.count > 0 || drops;
    if (out->adding)
        session_add_files(s->queue, &add, on_added, out);
    else
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

static void settle(struct output *o, enum output_state state, enum file_refused why)
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
    bool same = o->input && strcmp(o->input->hash, o->hash) == 0;
    bool moded = o->out->workspace && same && o->input->kept && o->input->mode && o->mode != o->input->mode;
    o->import = o->out->workspace && same && !o->input->kept;
    if (same && !moded && !o->import)
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
    uint64_t max_files = out->workspace ? s->max_workspace_files : s->max_outputs;
    uint64_t max_bytes = out->workspace ? s->max_workspace_bytes : s->max_total_bytes;
    if (!frame_path_ok(file->path) || !utf8_valid(file->path))
        *ret_why = FILE_REFUSED_BAD_NAME;
    else if (file->size > s->max_file_bytes && !(input && file->size <= input->size))
        *ret_why = FILE_REFUSED_TOO_LARGE;
    else if (!input && out->new_files >= max_files)
        *ret_why = FILE_REFUSED_TOO_MANY;
    else if (!input && file->size > max_bytes - out->bytes)
        *ret_why = FILE_REFUSED_TOTAL;
    else
        return false;
    return true;
}

/* A folder without anything in it, or a link. */
static enum err take_special(struct outputs *out, const struct frame_file *file)
{
    struct str path = file->path, target = {0};
    enum file_refused why;
    bool link = (file->flags & FRAME_FILE_LINK) != 0;
    if (!out->workspace || out->current || out->skipping || file->size > 0 ||
        (link && frame_get_link(file->path, &path, &target) != ERR_OK))
        return ERR_PROTOCOL;
    struct frame_file bare = {.path = path};
    const struct input *input = input_of(out, path);
    if (is_refused(out, &bare, input, &why) || !utf8_valid(target)) {
        note_refused(out, path, FILE_REFUSED_BAD_NAME, 1);
        return ERR_OK;
    }
    struct output *o = add_output(out, path);
    if (!o)
        return ERR_OK;
    bool same = input && input->kept && input->folder == !link && str_eq(input->link, target);
    o->special = true;
    o->folder = !link;
    o->input = input;
    snprintf(o->link, sizeof o->link, STR_FMT, STR_ARG(target));
    o->id = session_draw_file(out->services->queue, out->owner.session);
    o->state = same ? SAME : STORED;
    out->new_files += !input;
    return ERR_OK;
}

static enum err begin(struct outputs *out, const struct frame_file *file)
{
    if (file->flags & (FRAME_FILE_FOLDER | FRAME_FILE_LINK))
        return take_special(out, file);
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
    o->mode = file->flags & FRAME_FILE_HAS_MODE ? file->flags >> FRAME_FILE_MODE_SHIFT & 0777 : 0;
    o->time_ms = file->time_ms;
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
    out->workspace = inputs_workspace(inputs, &out->created_ms);
    *ret_outputs = out;
    return ERR_OK;
}
