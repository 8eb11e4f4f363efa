/* SPDX-License-Identifier: Apache-2.0 */
/* GET /download/{session}/{file}: streamed, with HEAD and Range. The last piece is held back until the store has said that
   all of it is what was written, so that a damaged object never arrives whole. */
#include "api/app.h"
#include "api/file_text.h"

#include "base/log.h"
#include "queue/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELD_MAX = 1 << 20, DISPOSITION_MAX = 2048 };

struct download {
    struct call *call; /* NULL once the client is gone */
    struct id session, file;
    struct object_op *op;
    struct buf held, type, disposition;
    char etag[FILE_HASH_LEN + 3], range[96], modified[64];
    uint64_t size, from, length;
    bool partial, read_only, begun, paused;
};

static void release(struct download *d)
{
    buf_free(&d->held);
    buf_free(&d->type);
    buf_free(&d->disposition);
    free(d);
}

static struct call *take_call(struct download *d)
{
    struct call *c = d->call;
    d->call = NULL;
    c->context = NULL;
    c->gone = NULL;
    c->drained = NULL;
    return c;
}

static void on_gone(struct call *c)
{
    struct download *d = c->context;
    d->call = NULL;
    if (!d->op)
        return; /* the table's answer is still to come */
    object_op_cancel(d->op);
    release(d);
}

static void on_drained(struct call *c)
{
    struct download *d = c->context;
    if (!d->paused || !d->op)
        return;
    d->paused = false;
    object_get_resume(d->op);
}

static void begin_reply(struct download *d)
{
    struct http_field fields[8];
    unsigned n = 0;
    fields[n++] = (struct http_field){"Content-Disposition", buf_cstr(&d->disposition)};
    fields[n++] = (struct http_field){"ETag", d->etag};
    fields[n++] = (struct http_field){"Last-Modified", d->modified};
    fields[n++] = (struct http_field){"Accept-Ranges", "bytes"};
    if (d->partial)
        fields[n++] = (struct http_field){"Content-Range", d->range};
    if (d->read_only)
        fields[n++] = (struct http_field){"X-Read-Only", "true"};
    fields[n] = (struct http_field){NULL, NULL};
    d->begun = true;
    http_stream_begin_sized(d->call->request, d->partial ? 206 : 200, buf_cstr(&d->type), fields, d->length);
}

static void end_reply(struct download *d)
{
    struct call *c = take_call(d);
    http_stream_end(c->request);
    call_end(c, d->partial ? 206 : 200);
    release(d);
}

static void on_begin(void *arg, const struct object_meta *meta)
{
    struct download *d = arg;
    if (d->call && meta->size == d->size)
        begin_reply(d);
}

static void on_data(void *arg, struct str bytes)
{
    struct download *d = arg;
    if (!d->call || !d->begun)
        return;
    if (d->held.len > 0 && !http_stream_write(d->call->request, buf_str(&d->held)) && d->call && !d->paused) {
        d->paused = true;
        object_get_pause(d->op);
    }
    buf_reset(&d->held);
    buf_append_str(&d->held, bytes);
}

static void on_got(void *arg, const struct object_result *result)
{
    struct download *d = arg;
    d->op = NULL;
    if (!d->call) {
        release(d);
        return;
    }
    if (result->e != ERR_OK)
        log_warn("a file could not be read", F_STR("file", d->file.text),
                 F_STR("why", result->why ? result->why : ""));
    if (d->begun) {
        if (result->e == ERR_OK && d->held.len > 0)
            (void)http_stream_write(d->call->request, buf_str(&d->held));
        if (d->call)
            end_reply(d); /* what is missing closes the connection */
        return;
    }
    struct call *c = take_call(d);
    if (result->e == ERR_NOT_FOUND || result->e == ERR_CORRUPT || result->e == ERR_OK)
        call_fail(c, CE_NOT_FOUND, "File not found");
    else
        call_queue_failed(c, QUEUE_UNAVAILABLE, 0);
    release(d);
}

/* ---- which file, which part of it ---- */

static void refuse_range(struct download *d)
{
    char all[64];
    auto_buf body = BUF_INIT(1024);
    struct call *c = take_call(d);
    snprintf(all, sizeof all, "bytes */%" PRIu64, d->size);
    struct http_field fields[] = {{"Content-Range", all}, {NULL, NULL}};
    client_error_write(CE_RANGE_NOT_SATISFIABLE, NULL, http_request_id(c->request), 0, &body);
    call_reply(c, 416, "application/json", fields, buf_str(&body));
    release(d);
}

/* False: answered. */
static bool choose_range(struct download *d)
{
    struct http_request *r = d->call->request;
    struct str range = http_header(r, "range"), only_if = http_header(r, "if-range");
    d->length = d->size;
    if (range.n == 0 || (only_if.n > 0 && !str_eq(only_if, str_of(d->etag))))
        return true;
    enum err e = file_range_parse(range, d->size, &d->from, &d->length);
    if (e == ERR_RANGE) {
        refuse_range(d);
        return false;
    }
    d->partial = e == ERR_OK;
    if (d->partial)
        snprintf(d->range, sizeof d->range, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, d->from,
                 d->from + d->length - 1, d->size);
    return true;
}

static void keep_facts(struct download *d, const struct session_file *file)
{
    time_t added = (time_t)(file->added_ms / 1000);
    struct tm tm;
    d->size = file->size;
    d->read_only = file->read_only;
    d->type = BUF_INIT(256);
    d->disposition = BUF_INIT(DISPOSITION_MAX);
    d->held = BUF_INIT(HELD_MAX);
    buf_append_str(&d->type, file_type(file));
    file_write_disposition(&d->disposition, file->path);
    snprintf(d->etag, sizeof d->etag, "\"" STR_FMT "\"", STR_ARG(file->hash));
    strftime(d->modified, sizeof d->modified, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&added, &tm));
}

static void get(struct download *d, const struct session_view *view)
{
    const struct session_file *file = &view->files[0];
    auto_buf key = BUF_INIT(OBJECT_KEY_MAX);
    struct sha256 hash;
    keep_facts(d, file);
    if (!choose_range(d))
        return;
    if (str_eq(http_method(d->call->request), STR("HEAD"))) {
        begin_reply(d);
        end_reply(d);
        return;
    }
    bool known = session_object_name(view->tenant, view->id, file, &key) == ERR_OK &&
                 sha256_parse(file->hash, &hash) == ERR_OK;
    bool whole = !d->partial || d->length == d->size;
    struct object_get what = {.key = buf_cstr(&key), .begin = on_begin, .data = on_data};
    if (whole)
        what.sha256 = &hash;
    else {
        what.from = d->from;
        what.length = d->length;
    }
    if (!known || object_get(d->call->api->objects.store, &what, on_got, d, &d->op) != ERR_OK) {
        call_fail(take_call(d), CE_INTERNAL, "the file cannot be read");
        release(d);
    }
}

static void on_view(void *arg, enum queue_answer answer, const struct session_view *view)
{
    struct download *d = arg;
    if (!d->call) {
        release(d);
        return;
    }
    if (answer == QUEUE_OK && view->count == 1) {
        get(d, view);
        return;
    }
    struct call *c = take_call(d);
    if (answer == QUEUE_OK || answer == QUEUE_NOT_FOUND)
        call_fail(c, CE_NOT_FOUND, "File not found");
    else
        call_queue_failed(c, answer, 0);
    release(d);
}

void handle_download(struct call *c)
{
    struct id session, file;
    if (!call_file_ids(c, &session, &file)) {
        call_fail(c, CE_NOT_FOUND, "File not found");
        return;
    }
    if (!call_store_ready(c))
        return;
    struct download *d = calloc(1, sizeof *d);
    if (!d) {
        call_fail(c, CE_INTERNAL, "out of memory");
        return;
    }
    *d = (struct download){.call = c, .session = session, .file = file};
    c->context = d;
    c->gone = on_gone;
    c->drained = on_drained;
    struct session_owner owner = {c->tenant, str_of(c->who.user)};
    session_look(c->api->queue, owner, session, &d->file, 1, on_view, d);
}
