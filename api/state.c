/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a session as its owner sees it: download, upload, delete. */
#include "api/state_call.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- preconditions ---- */

/* "a", W/"a", lists, *: does one of them name `hash`? false in *ret_good: it is none of these. */
static bool tag_matches(struct str header, const char *hash, bool *ret_good)
{
    bool matches = false;
    *ret_good = true;
    if (str_eq(str_trim(header), STR("*")))
        return hash[0] != '\0';
    while (header.p != NULL) {
        struct str tag = str_trim(str_split(&header, ','));
        if (str_starts(tag, STR("W/")))
            tag = (struct str){tag.p + 2, tag.n - 2};
        if (tag.n < 2 || tag.p[0] != '"' || tag.p[tag.n - 1] != '"') {
            *ret_good = false;
            return false;
        }
        matches |= hash[0] != '\0' && str_eq((struct str){tag.p + 1, tag.n - 2}, str_of(hash));
    }
    return matches;
}

/* True: the request may go on. `hash`: of the present state, "" when there is none. */
static bool precondition(struct state_call *x, const char *name, const char *hash, bool *ret_matches)
{
    bool good = true;
    struct str header = http_header(x->call->request, name);
    *ret_matches = header.p != NULL && tag_matches(header, hash, &good);
    if (good)
        return true;
    state_call_fail(x, CE_BAD_REQUEST, "If-Match and If-None-Match take * or entity tags in double quotes");
    return false;
}

/* ---- GET /state/{sid} ---- */

static void reply_blob(struct state_call *x, struct str blob)
{
    char tag[SHA256_HEX_LEN + 3], version[24];
    snprintf(tag, sizeof tag, "\"%s\"", x->hash);
    snprintf(version, sizeof version, "%" PRIu64, x->version);
    struct http_field fields[] = {{"ETag", tag}, {"X-State-Version", version}, {NULL, NULL}};
    struct call *c = x->call;
    c->gone = NULL;
    call_reply(c, blob.p != NULL ? 200 : 304, blob.p != NULL ? "application/octet-stream" : NULL, fields,
               blob);
    x->load = NULL;
    state_call_free(x);
}

static void on_object(void *arg, enum err e, struct buf *blob)
{
    struct state_call *x = arg;
    x->load = NULL;
    if (x->call == NULL)
        state_call_free(x);
    else if (e == ERR_OK)
        reply_blob(x, buf_str(blob));
    else if (e == ERR_NOT_FOUND || e == ERR_CORRUPT)
        state_call_fail(x, CE_STATE_DAMAGED, "");
    else
        state_call_fail(x, CE_UNAVAILABLE, "the object store cannot give the state at present");
}

static void get_next(struct state_call *x, const struct state_view *view)
{
    bool same;
    if (!state_call_opened(x, view) || !precondition(x, "if-none-match", x->hash, &same))
        return;
    if (same)
        reply_blob(x, (struct str){NULL, 0});
    else if (state_is_object(view))
        state_call_load(x, view, on_object);
    else
        reply_blob(x, view->blob);
}

void handle_state_get(struct call *c)
{
    struct state_call *x = state_call_begin(c, get_next);
    if (x != NULL)
        state_call_look(x, 0);
}

/* ---- GET /state/{sid}/info ---- */

static void info_next(struct state_call *x, const struct state_view *view)
{
    auto_buf body = BUF_INIT(4096);
    struct state_seal seal = {.size = 0};
    bool there = view->found && state_seal_parse(view->of.seal, &seal) == ERR_OK;
    buf_printf(&body, "{\"exists\":%s,\"session_id\":\"%s\",\"version\":%" PRIu64, there ? "true" : "false",
               x->session.text, view->present);
    if (there) {
        sha256_hex(&seal.hash, x->hash);
        buf_printf(&body,
                   ",\"size_bytes\":%" PRIu64 ",\"hash\":\"%s\",\"created_at\":%" PRId64
                   ",\"expires_at\":%" PRId64 ",\"source\":\"%s\"}\n",
                   seal.size, x->hash, view->of.made_ms, view->due_ms,
                   state_is_object(view) ? "archive" : "redis");
    } else {
        buf_append_cstr(
            &body,
            ",\"size_bytes\":0,\"hash\":null,\"created_at\":null,\"expires_at\":null,\"source\":null}\n");
    }
    struct call *c = state_call_arrive(x);
    if (c != NULL)
        call_json(c, 200, &body);
}

void handle_state_info(struct call *c)
{
    struct state_call *x = state_call_begin(c, info_next);
    if (x != NULL)
        state_call_look(x, 0);
}

/* ---- POST /state/{sid} ---- */

static void on_uploaded(void *arg, enum queue_answer answer, uint64_t version)
{
    struct state_call *x = arg;
    if (!state_call_changed(x, answer, version))
        return;
    auto_buf body = BUF_INIT(1024);
    buf_printf(
        &body,
        "{\"message\":\"state_uploaded\",\"session_id\":\"%s\",\"size\":%zu,\"hash\":\"%s\",\"version\":%" PRIu64
        "}\n",
        x->session.text, x->blob.len, x->hash, version);
    struct call *c = state_call_arrive(x);
    if (c != NULL)
        call_json(c, 201, &body);
}

static void put_blob(struct state_call *x, struct str place)
{
    auto_buf seal = BUF_INIT(STATE_SEAL_TEXT_MAX);
    sha256_hex(&x->blob_hash, x->hash);
    state_call_seal(x, x->session, x->version + 1, &x->blob_hash, x->blob.len, &seal);
    struct state_change change = state_call_change(x);
    change.place = place;
    change.seal = buf_str(&seal);
    change.blob = str_eq(place, STR("-")) ? buf_str(&x->blob) : (struct str){"", 0};
    change.hash = str_of(x->hash);
    change.size = x->blob.len;
    state_put(x->api->queue, &change, STR("upload"), on_uploaded, x);
}

static void upload_next(struct state_call *x, const struct state_view *view)
{
    struct state_seal seal;
    char hash[SHA256_HEX_LEN + 1] = "";
    bool wanted, unwanted;
    if (view->found && state_seal_parse(view->of.seal, &seal) == ERR_OK)
        sha256_hex(&seal.hash, hash);
    bool conditional = http_header(x->call->request, "if-match").p != NULL;
    if (!precondition(x, "if-match", hash, &wanted) || !precondition(x, "if-none-match", hash, &unwanted))
        return;
    if ((conditional && !wanted) || unwanted) {
        state_call_fail(x, CE_PRECONDITION_FAILED, "");
        return;
    }
    x->version = view->present;
    state_call_place(x, x->session, &x->blob_hash, put_blob);
}

static void check_blob(uv_work_t *work)
{
    struct state_call *x = work->data;
    x->checked = state_check(buf_str(&x->blob), (size_t)x->api->config.state_max_bytes);
    if (x->checked == ERR_OK)
        x->blob_hash = sha256_of(buf_str(&x->blob));
}

static void on_checked(uv_work_t *work, int status)
{
    struct state_call *x = work->data;
    (void)status; /* nobody cancels it */
    if (x->call == NULL)
        state_call_free(x);
    else if (x->checked == ERR_OK)
        state_call_look(x, 0);
    else
        state_call_fail(x, x->checked == ERR_FULL ? CE_STATE_TOO_LARGE : CE_INVALID_STATE, "");
}

/* The version byte, the frame, and what comes out of it: beside the loop, for a small frame may be 255 times as large inside. */
void handle_state_put(struct call *c)
{
    struct str body = http_body(c->request);
    size_t most = (size_t)c->api->config.state_max_bytes;
    if (body.n < 2 || body.n > most + most / 64 + 128 * 1024) {
        call_fail(c, body.n < 2 ? CE_INVALID_STATE : CE_STATE_TOO_LARGE, "%s", "");
        return;
    }
    struct state_call *x = state_call_begin(c, upload_next);
    if (x == NULL)
        return;
    x->blob = BUF_INIT(body.n);
    buf_append_str(&x->blob, body);
    if (buf_status(&x->blob) != ERR_OK) {
        state_call_fail(x, CE_INTERNAL, "out of memory");
        return;
    }
    x->work.data = x;
    if (uv_queue_work(&x->api->loop.uv, &x->work, check_blob, on_checked) != 0)
        abort(); /* only a missing function is refused */
}

/* ---- DELETE /state/{sid} ---- */

static void on_deleted(void *arg, enum queue_answer answer, uint64_t version)
{
    struct state_call *x = arg;
    if (answer == QUEUE_CONFLICT && x->call != NULL) { /* a run came first: its state is to go, too */
        struct state_change change = state_call_change(x);
        x->version = change.expected = change.base = version;
        state_put(x->api->queue, &change, STR("upload"), on_deleted, x);
    } else if (answer == QUEUE_OK || answer == QUEUE_NOT_FOUND) {
        state_call_deleted(x);
    } else {
        state_call_fail_answer(x, answer);
    }
}

static void delete_next(struct state_call *x, const struct state_view *view)
{
    if (!view->exists || !view->found) {
        state_call_deleted(x);
        return;
    }
    x->version = view->present;
    struct state_change change = state_call_change(x);
    state_put(x->api->queue, &change, STR("upload"), on_deleted, x);
}

static void on_delete_view(void *arg, enum queue_answer answer, const struct state_view *view)
{
    struct state_call *x = arg;
    if (answer == QUEUE_NOT_FOUND)
        state_call_deleted(x); /* somebody else's looks like none */
    else
        state_call_on_view(x, answer, view);
}

void handle_state_delete(struct call *c)
{
    struct state_call *x = state_call_begin(c, delete_next);
    if (x != NULL)
        state_read(x->api->queue, x->owner, x->session, 0, on_delete_view, x);
}
