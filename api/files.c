/* SPDX-License-Identifier: Apache-2.0 */
/* GET /download, GET /files, GET and DELETE of one file: the session's table says what there is, the object store has the
   bytes. Which kind a client says a file is of (`kind`, `id`, `version`) is not looked at: clients say `user` of
   shared ones (CONTRACT 2.4). */
#include "api/app.h"
#include "api/file_text.h"

#include "base/log.h"
#include "queue/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { LIST_MAX = 1 << 20 };

/* One request about a file or a session. */
struct file_call {
    struct call *call; /* NULL once the client is gone */
    struct id session, file;
    void (*found)(struct file_call *f, const struct session_view *view);
};

static void on_gone(struct call *c)
{
    struct file_call *f = c->context;
    f->call = NULL;
}

static void fail_missing(struct call *c)
{
    call_fail(c, CE_NOT_FOUND, "File not found");
}

static struct session_owner owner_of(const struct call *c)
{
    return (struct session_owner){c->tenant, str_of(c->who.user)};
}

/* The path ends with a session's id, or with SESSION/FILE or SESSION/objects/FILE. */
static bool ids_of(const struct call *c, unsigned count, struct id *ret_session, struct id *ret_file)
{
    struct str parts[8] = {{0}}, rest = http_path(c->request);
    unsigned n = 0;
    while (rest.p && n < 8)
        parts[n++] = str_split(&rest, '/');
    if (n < 4)
        return count == 1 && n >= 1 && id_parse(parts[n - 1], ret_session) == ERR_OK;
    struct str session = count == 1                             ? parts[n - 1]
                         : str_eq(parts[n - 2], STR("objects")) ? parts[n - 3]
                                                                : parts[n - 2];
    return id_parse(session, ret_session) == ERR_OK &&
           (count == 1 || id_parse(parts[n - 1], ret_file) == ERR_OK);
}

bool call_file_ids(const struct call *c, struct id *ret_session, struct id *ret_file)
{
    return ids_of(c, 2, ret_session, ret_file);
}

static struct file_call *begin(struct call *c, unsigned ids)
{
    struct id session = {{0}}, file = {{0}};
    if (!ids_of(c, ids, &session, &file)) {
        fail_missing(c);
        return NULL;
    }
    if (!call_store_ready(c))
        return NULL;
    struct file_call *f = calloc(1, sizeof *f);
    if (!f) {
        call_fail(c, CE_INTERNAL, "out of memory");
        return NULL;
    }
    *f = (struct file_call){.call = c, .session = session, .file = file};
    c->context = f;
    c->gone = on_gone;
    return f;
}

/* The call is answered by the caller; `f` goes. */
static struct call *take_call(struct file_call *f)
{
    struct call *c = f->call;
    free(f);
    if (c) {
        c->context = NULL;
        c->gone = NULL;
    }
    return c;
}

/* ---- one file, a list ---- */

static void on_view(void *arg, enum queue_answer answer, const struct session_view *view)
{
    struct file_call *f = arg;
    void (*found)(struct file_call *, const struct session_view *) = f->found;
    bool missing = answer == QUEUE_NOT_FOUND || (answer == QUEUE_OK && f->file.text[0] && view->count == 0);
    if (f->call && answer == QUEUE_OK && !missing) {
        found(f, view);
        return;
    }
    struct call *c = take_call(f);
    if (c && missing)
        fail_missing(c);
    else if (c)
        call_queue_failed(c, answer, 0);
}

static void look_at_file(struct call *c, void (*found)(struct file_call *f, const struct session_view *view))
{
    struct file_call *f = begin(c, 2);
    if (!f)
        return;
    f->found = found;
    session_look(c->api->queue, owner_of(c), f->session, &f->file, 1, on_view, f);
}

static void tell_object(struct file_call *f, const struct session_view *view)
{
    auto_buf body = BUF_INIT(LIST_MAX);
    file_write(&body, view->id, &view->files[0], FILE_OBJECT);
    call_json(take_call(f), 200, &body);
}

void handle_file_head(struct call *c)
{
    look_at_file(c, tell_object);
}

static void tell_list(struct file_call *f, const struct session_view *view)
{
    struct call *c = take_call(f);
    enum file_detail detail = file_detail_parse(http_query(c->request, "detail", NULL));
    auto_buf body = BUF_INIT(LIST_MAX);
    buf_append_char(&body, '[');
    for (size_t i = 0; i < view->count; i++) {
        if (view->files[i].hash.n == 0)
            continue; /* a workspace's folder or link */
        if (body.len > 1)
            buf_append_char(&body, ',');
        file_write(&body, view->id, &view->files[i], detail);
    }
    buf_append_char(&body, ']');
    call_json(c, 200, &body);
}

void handle_file_list(struct call *c)
{
    struct file_call *f = begin(c, 1);
    if (!f)
        return;
    f->found = tell_list;
    session_list(c->api->queue, owner_of(c), f->session, on_view, f);
}

/* ---- delete ---- */

static void on_object_gone(void *arg, const struct object_result *result)
{
    (void)arg;
    if (result->e != ERR_OK) /* nothing names it any more: the sweeper finds it */
        log_warn("an object could not be deleted", F_STR("why", result->why ? result->why : ""));
}

static void on_removed(void *arg, enum queue_answer answer, const struct session_removed *removed)
{
    struct file_call *f = arg;
    struct id session = f->session, file = f->file;
    struct object_store *store = f->call ? f->call->api->objects.store : NULL;
    for (size_t i = 0; store && answer == QUEUE_OK && i < removed->count; i++) {
        auto_buf key = BUF_INIT(OBJECT_KEY_MAX);
        if (session_object_name(removed->tenant, session, &removed->files[i], &key) == ERR_OK)
            (void)!object_delete(store, buf_cstr(&key), on_object_gone, NULL, NULL); /* as above */
    }
    struct call *c = take_call(f);
    if (!c)
        return;
    if (answer == QUEUE_NOT_FOUND) {
        fail_missing(c);
    } else if (answer != QUEUE_OK) {
        call_queue_failed(c, answer, 0);
    } else {
        auto_buf body = BUF_INIT(1024);
        buf_printf(
            &body,
            "{\"message\":\"File deleted successfully\",\"session_id\":\"%s\",\"storage_session_id\":\"%s\","
            "\"fileId\":\"%s\"}",
            session.text, session.text, file.text);
        call_json(c, 200, &body);
    }
}

void handle_file_delete(struct call *c)
{
    struct file_call *f = begin(c, 2);
    if (f)
        session_remove_file(c->api->queue, owner_of(c), f->session, f->file, on_removed, f);
}
