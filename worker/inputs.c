/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/run_files.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

enum { TEXT_MAX = 64 << 10 };

struct inputs {
    const struct file_services *services;
    struct run_owner owner;
    struct inputs_events events;
    struct input *at;
    size_t count, lookups; /* lookups: answers that are still to come */
    bool stopped, freed, unavailable;
    bool workspace;
    int64_t created_ms; /* of the workspace; 0: there is none yet */
    char **texts;       /* of its entries */
    size_t text_count;
    struct buf text;
    /* loading */
    const struct pod_backend_ops *ops;
    struct pod *pod;
    size_t next;
    uint64_t sent;
    struct object_op *op;
    bool waits; /* for room in the pod */
};

/* ---- which ---- */

static bool text_member(const json_t *ref, const char *name, struct str *ret_text)
{
    const json_t *value = json_object_get(ref, name);
    if (!json_is_string(value))
        return false;
    *ret_text = (struct str){json_string_value(value), json_string_length(value)};
    return true;
}

static bool read_ref(const json_t *ref, struct input *to)
{
    struct str id, session;
    return text_member(ref, "id", &id) && text_member(ref, "session", &session) &&
           text_member(ref, "name", &to->path) && id_parse(id, &to->id) == ERR_OK &&
           id_parse(session, &to->session) == ERR_OK && frame_path_ok(to->path) && utf8_valid(to->path);
}

/* Do they want the same place, or one a place inside the other? */
static bool meet(struct str a, struct str b)
{
    struct str shorter = a.n < b.n ? a : b, longer = a.n < b.n ? b : a;
    return str_starts(longer, shorter) && (longer.n == shorter.n || longer.p[shorter.n] == '/');
}

/* The last one wins: never a refusal that the client could not get out of. */
static void drop_earlier(struct inputs *in)
{
    for (size_t i = 0; i < in->count; i++)
        for (size_t k = i + 1; k < in->count && !in->at[i].dropped; k++)
            in->at[i].dropped = meet(in->at[i].path, in->at[k].path);
}

enum err inputs_open(const struct file_services *services, const struct run_owner *owner, const json_t *files,
                     bool workspace, const struct inputs_events *events, struct inputs **ret_inputs,
                     struct errinfo *info)
{
    size_t count = json_array_size(files);
    if (count > INPUTS_MAX)
        return errinfo_set(info, ERR_INVALID, 0, "files: more than %d", INPUTS_MAX);
    struct inputs *in = calloc(1, sizeof *in);
    struct input *at = calloc(count ? count : 1, sizeof *at);
    if (!in || !at) {
        free(in);
        free(at);
        return errinfo_set(info, ERR_NOMEM, 0, "no memory for the input files");
    }
    *in = (struct inputs){.services = services,
                          .owner = *owner,
                          .events = *events,
                          .at = at,
                          .count = count,
                          .workspace = workspace,
                          .text = BUF_INIT(TEXT_MAX)};
    for (size_t i = 0; i < count; i++) {
        if (!read_ref(json_array_get(files, i), &at[i])) {
            inputs_free(in);
            return errinfo_set(info, ERR_INVALID, 0, "files[%zu]: not a reference to a file", i);
        }
    }
    drop_earlier(in);
    *ret_inputs = in;
    return ERR_OK;
}

const struct input *inputs_at(const struct inputs *in, size_t i)
{
    return in && i < in->count ? &in->at[i] : NULL;
}

bool inputs_workspace(const struct inputs *in, int64_t *ret_created_ms)
{
    if (!in || !in->workspace)
        return false;
    *ret_created_ms = in->created_ms;
    return true;
}

static void really_free(struct inputs *in)
{
    for (size_t i = 0; i < in->text_count; i++)
        free(in->texts[i]);
    free(in->texts);
    buf_free(&in->text);
    free(in->at);
    free(in);
}

void inputs_stop(struct inputs *in)
{
    if (!in)
        return;
    in->stopped = true;
    if (in->op)
        object_op_cancel(in->op);
    in->op = NULL;
    in->pod = NULL;
}

void inputs_free(struct inputs *in)
{
    if (!in)
        return;
    inputs_stop(in);
    in->freed = true;
    if (in->lookups == 0)
        really_free(in);
}

/* ---- where ---- */

static void say(struct inputs *in, const struct input *input, const char *what)
{
    buf_printf(&in->text, "[sandbox] input file \"" STR_FMT "\" %s\n", STR_ARG(input->path), what);
}

static void take_record(struct inputs *in, const struct session_view *view, const struct session_file *file,
                        struct input *to)
{
    auto_buf key = BUF_INIT(OBJECT_KEY_MAX);
    to->time_ms = file->added_ms;
    if (session_object_name(view->tenant, view->id, file, &key) != ERR_OK ||
        sha256_parse(file->hash, &to->sha256) != ERR_OK)
        return;
    snprintf(to->key, sizeof to->key, "%s", buf_cstr(&key));
    snprintf(to->hash, sizeof to->hash, STR_FMT, STR_ARG(file->hash));
    to->size = file->size;
    to->read_only = file->read_only;
    to->found = true;
    (void)in;
}

static void take_view(struct inputs *in, const struct session_view *view)
{
    for (size_t i = 0; i < in->count; i++) {
        struct input *to = &in->at[i];
        if (to->kept || strcmp(to->session.text, view->id.text) != 0)
            continue;
        for (size_t k = 0; k < view->count; k++)
            if (strcmp(view->files[k].id.text, to->id.text) == 0)
                take_record(in, view, &view->files[k], to);
    }
}

static void tell_looked(struct inputs *in)
{
    uint64_t bytes = 0;
    bool missing = false;
    for (size_t i = 0; i < in->count; i++) {
        const struct input *input = &in->at[i];
        if (input->dropped)
            continue;
        bytes += input->size;
        if (!input->found)
            say(in, input, in->unavailable ? "could not be looked up" : "is unknown, expired or not yours");
        missing = missing || !input->found;
    }
    if (missing && in->unavailable)
        in->events.looked(in->events.arg, REASON_INPUT_UNAVAILABLE, "the input files could not be looked up",
                          buf_str(&in->text));
    else if (missing)
        in->events.looked(in->events.arg, REASON_INPUT_MISSING, reason_row(REASON_INPUT_MISSING)->text,
                          buf_str(&in->text));
    else if (bytes > in->services->max_total_bytes)
        in->events.looked(in->events.arg, REASON_INPUT_TOO_LARGE, reason_row(REASON_INPUT_TOO_LARGE)->text,
                          STR("[sandbox] the input files together are larger than the working directory\n"));
    else
        in->events.looked(in->events.arg, REASON_INTERNAL, NULL, (struct str){0});
}

static void on_view(void *arg, enum queue_answer answer, const struct session_view *view)
{
    struct inputs *in = arg;
    in->lookups--;
    if (in->freed) {
        if (in->lookups == 0)
            really_free(in);
        return;
    }
    if (answer == QUEUE_OK)
        take_view(in, view);
    else if (answer != QUEUE_NOT_FOUND)
        in->unavailable = true;
    if (in->lookups == 0 && !in->stopped)
        tell_looked(in);
}

static bool is_sought(const struct input *input)
{
    return !input->kept && !input->shadowed;
}

/* Is this the first reference to its session? */
static bool is_first(const struct inputs *in, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (is_sought(&in->at[k]) && strcmp(in->at[k].session.text, in->at[i].session.text) == 0)
            return false;
    return true;
}

static void look_refs(struct inputs *in)
{
    struct session_owner owner = {in->owner.tenant, in->owner.user};
    for (size_t i = 0; i < in->count; i++) {
        struct id ids[INPUTS_MAX];
        size_t n = 0;
        if (!is_sought(&in->at[i]) || !is_first(in, i))
            continue;
        for (size_t k = i; k < in->count; k++)
            if (is_sought(&in->at[k]) && strcmp(in->at[k].session.text, in->at[i].session.text) == 0)
                ids[n++] = in->at[k].id;
        in->lookups++;
        session_look(in->services->queue, owner, in->at[i].session, ids, n, on_view, in);
    }
}

/* ---- the workspace ---- */

/* Views of the store's answer end with it. */
static struct str keep_text(struct inputs *in, struct str text)
{
    char *own = strndup(text.p ? text.p : "", text.n);
    if (!own)
        abort(); /* a file name: nothing can go on without */
    in->texts[in->text_count++] = own;
    return (struct str){own, text.n};
}

/* Is it there for this attempt? What an earlier one of the same job did is not. */
static bool is_there(const struct inputs *in, const struct session_file *file)
{
    bool mine = str_eq(file->job, str_of(in->owner.job.text));
    if (mine && file->attempt < in->owner.attempt)
        return false;
    return file->gone.n == 0 || str_eq(file->gone, str_of(in->owner.job.text));
}

static void take_entry(struct inputs *in, const struct session_view *view, const struct session_file *file)
{
    struct input *to = &in->at[in->count++];
    *to = (struct input){.id = file->id,
                         .session = view->id,
                         .path = keep_text(in, file->path),
                         .link = file->link.n ? keep_text(in, file->link) : (struct str){0},
                         .kept = true,
                         .folder = file->folder,
                         .mode = file->mode};
    if (id_parse(file->origin, &to->origin) != ERR_OK)
        to->origin.text[0] = '\0';
    take_record(in, view, file, to);
    to->found = true;
    if (file->written_ms > 0)
        to->time_ms = file->written_ms;
}

/* The workspace's own file is meant, be it changed or removed meanwhile; or the one that was put there under this name. */
static void match_ref(struct inputs *in, struct input *ref)
{
    bool own = strcmp(ref->session.text, in->owner.session.text) == 0;
    ref->shadowed = own;
    for (size_t i = 0; i < in->count; i++) {
        struct input *e = &in->at[i];
        if (!e->kept || e->dropped || !str_eq(e->path, ref->path) ||
            (!own && strcmp(e->origin.text, ref->id.text) != 0))
            continue;
        ref->shadowed = true;
        if (!own) {
            e->told_id = ref->id;
            e->told_session = ref->session;
        }
    }
    ref->dropped = ref->dropped || ref->shadowed;
}

/* What a client names anew takes the place of what lies there. */
static void merge(struct inputs *in)
{
    for (size_t i = 0; i < in->count; i++)
        if (!in->at[i].kept)
            match_ref(in, &in->at[i]);
    for (size_t i = 0; i < in->count; i++) {
        struct input *e = &in->at[i];
        for (size_t k = 0; e->kept && k < in->count && !e->dropped; k++) {
            const struct input *other = &in->at[k];
            bool later = !other->kept || k > i;
            e->dropped = e->shadowed = k != i && later && !other->dropped && meet(e->path, other->path);
        }
    }
}

static void take_workspace(struct inputs *in, const struct session_view *view)
{
    in->texts = calloc(2 * view->count + 1, sizeof *in->texts);
    struct input *at = realloc(in->at, (in->count + view->count + 1) * sizeof *at);
    if (!in->texts || !at)
        abort(); /* a few hundred kilobytes, bounded by the table's own bound */
    in->at = at;
    in->created_ms = view->created_ms;
    for (size_t i = 0; i < view->count; i++)
        if (is_there(in, &view->files[i]) && frame_path_ok(view->files[i].path))
            take_entry(in, view, &view->files[i]);
}

static void look_refs(struct inputs *in);

static void on_workspace(void *arg, enum queue_answer answer, const struct session_view *view)
{
    struct inputs *in = arg;
    in->lookups--;
    if (in->freed) {
        really_free(in);
        return;
    }
    if (in->stopped)
        return;
    if (answer == QUEUE_OK)
        take_workspace(in, view);
    if (answer != QUEUE_OK && answer != QUEUE_NOT_FOUND) {
        in->events.looked(in->events.arg, REASON_INPUT_UNAVAILABLE, "the workspace could not be looked up",
                          STR("[sandbox] the workspace could not be looked up\n"));
        return;
    }
    merge(in);
    look_refs(in);
    if (in->lookups == 0)
        tell_looked(in);
}

void inputs_look(struct inputs *in)
{
    struct session_owner owner = {in->owner.tenant, in->owner.user};
    if (!in->workspace) {
        look_refs(in);
        return;
    }
    in->lookups++;
    session_list_workspace(in->services->queue, owner, in->owner.session, on_workspace, in);
}

/* ---- into the pod ---- */

static void load_next(struct inputs *in);

static void end_loading(struct inputs *in, enum reason reason, const char *why)
{
    if (why)
        say(in, &in->at[in->next], why);
    in->pod = NULL;
    in->events.loaded(in->events.arg, reason, why ? reason_row(reason)->text : NULL, buf_str(&in->text));
}

static void on_data(void *arg, struct str bytes)
{
    struct inputs *in = arg;
    in->sent += bytes.n;
    while (bytes.n > 0 && in->pod) {
        size_t n = bytes.n < FRAME_PAYLOAD_MAX ? bytes.n : FRAME_PAYLOAD_MAX;
        enum err e = in->ops->place(in->pod, FRAME_INPUT_DATA, (struct str){bytes.p, n});
        if (e == ERR_AGAIN && !in->waits) {
            in->waits = true;
            object_get_pause(in->op);
        } else if (e != ERR_OK && e != ERR_AGAIN)
            in->pod = NULL; /* its end is told by the pod itself */
        bytes = (struct str){bytes.p + n, bytes.n - n};
    }
}

static void on_got(void *arg, const struct object_result *result)
{
    struct inputs *in = arg;
    in->op = NULL;
    if (in->stopped || !in->pod)
        return;
    enum err e = result->e == ERR_OK && in->sent != in->at[in->next].size ? ERR_CORRUPT : result->e;
    if (e == ERR_NOT_FOUND)
        end_loading(in, REASON_INPUT_MISSING, "is gone from the store");
    else if (e == ERR_CORRUPT)
        end_loading(in, REASON_INPUT_MISSING, "is damaged in the store");
    else if (e != ERR_OK)
        end_loading(in, REASON_INPUT_UNAVAILABLE, "could not be fetched");
    else {
        in->next++;
        load_next(in);
    }
}

static unsigned flags_of(const struct input *input)
{
    return (input->read_only ? FRAME_FILE_READ_ONLY : 0) | (input->folder ? FRAME_FILE_FOLDER : 0) |
           (input->link.n ? FRAME_FILE_LINK : 0) |
           (input->mode ? FRAME_FILE_HAS_MODE | input->mode << FRAME_FILE_MODE_SHIFT : 0);
}

/* False: the pod is gone, which it tells itself. */
static bool place_head(struct inputs *in, const struct input *input)
{
    auto_buf head = BUF_INIT(FRAME_PATH_MAX + FRAME_LINK_MAX + 64);
    frame_put_file(&head, &(struct frame_file){.size = input->folder || input->link.n ? 0 : input->size,
                                               .time_ms = input->time_ms,
                                               .flags = flags_of(input),
                                               .path = input->path});
    if (input->link.n) {
        buf_append_char(&head, '\0');
        buf_append_str(&head, input->link);
    }
    enum err e = in->ops->place(in->pod, FRAME_INPUT_BEGIN, buf_str(&head));
    if (e == ERR_OK || e == ERR_AGAIN)
        return true;
    in->pod = NULL;
    return false;
}

static void load_next(struct inputs *in)
{
    for (; in->next < in->count; in->next++) {
        const struct input *input = &in->at[in->next];
        if (input->dropped)
            continue;
        if (!place_head(in, input))
            return;
        if (!input->folder && !input->link.n)
            break;
    }
    if (in->next == in->count) {
        end_loading(in, REASON_INTERNAL, NULL);
        return;
    }
    const struct input *input = &in->at[in->next];
    in->sent = 0;
    struct object_get get = {.key = input->key, .sha256 = &input->sha256, .data = on_data};
    if (object_get(in->services->store, &get, on_got, in, &in->op) != ERR_OK)
        end_loading(in, REASON_INPUT_UNAVAILABLE, "could not be fetched");
}

void inputs_load(struct inputs *in, const struct pod_backend_ops *ops, struct pod *pod)
{
    if (in->op)
        object_op_cancel(in->op);
    in->op = NULL;
    in->ops = ops;
    in->pod = pod;
    in->next = 0;
    in->waits = false;
    load_next(in);
}

void inputs_room(struct inputs *in)
{
    if (!in->waits)
        return;
    in->waits = false;
    if (in->op)
        object_get_resume(in->op);
}
