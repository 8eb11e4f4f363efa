/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a session as its owner sees it: download, upload, delete, versions, rewind, fork. A state is bytes here; nothing
   looks into it but the checks of its frame. */
#include "api/app.h"

#include "base/log.h"
#include "queue/state_load.h"
#include "json/fields.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A call under way; it outlives its client, whose answers are then dropped. */
struct state_call {
    struct call *call; /* NULL once the client is gone */
    struct api *api;
    struct id session;
    struct session_owner owner; /* views of `texts` */
    struct buf texts;
    void (*next)(struct state_call *x, const struct state_view *view);
    struct state_load *load;
    struct object_op *op;
    struct buf place;                                       /* of the object that is written */
    void (*placed)(struct state_call *x, struct str place); /* behind it; "-": none was needed */
    struct state_seal seal;
    uint64_t version, base; /* of the path's session; what is asked for */
    struct id into;         /* fork */
    struct buf blob;        /* upload, fork */
    char hash[SHA256_HEX_LEN + 1];
};

static void free_call(struct state_call *x)
{
    state_load_cancel(x->load);
    if (x->op != NULL)
        object_op_cancel(x->op);
    buf_free(&x->place);
    buf_free(&x->texts);
    buf_free(&x->blob);
    free(x);
}

static void on_gone(struct call *c)
{
    struct state_call *x = c->context;
    x->call = NULL;
}

/* Takes the call out; NULL when the client is gone. `x` is freed either way. */
static struct call *arrive(struct state_call *x)
{
    struct call *c = x->call;
    if (c != NULL)
        c->gone = NULL;
    x->load = NULL;
    free_call(x);
    return c;
}

static void fail(struct state_call *x, enum client_error error, const char *text)
{
    struct call *c = arrive(x);
    if (c != NULL)
        call_fail(c, error, "%s", text);
}

static void fail_answer(struct state_call *x, enum queue_answer answer)
{
    struct call *c = arrive(x);
    if (c == NULL)
        return;
    if (answer == QUEUE_NOT_FOUND)
        call_fail(c, CE_STATE_NOT_FOUND, "%s", "");
    else
        call_queue_failed(c, answer, 0);
}

static bool session_of(struct call *c, struct id *ret_session)
{
    if (id_parse(c->param, ret_session) == ERR_OK)
        return true;
    call_fail(c, CE_STATE_NOT_FOUND, "%s", "");
    return false;
}

static struct state_call *begin(struct call *c,
                                void (*next)(struct state_call *x, const struct state_view *view))
{
    struct id session;
    if (!session_of(c, &session) || !call_store_ready(c))
        return NULL;
    struct state_call *x = calloc(1, sizeof *x);
    if (x == NULL) {
        call_fail(c, CE_INTERNAL, "out of memory");
        return NULL;
    }
    *x = (struct state_call){
        .call = c, .api = c->api, .session = session, .next = next, .texts = BUF_INIT(4096)};
    buf_append_cstr(&x->texts, c->who.user);
    x->owner = (struct session_owner){.tenant = c->tenant, .user = buf_str(&x->texts)};
    c->context = x;
    c->gone = on_gone;
    return x;
}

static void on_view(void *arg, enum queue_answer answer, const struct state_view *view)
{
    struct state_call *x = arg;
    if (answer != QUEUE_OK)
        fail_answer(x, answer);
    else if (x->call == NULL)
        free_call(x);
    else
        x->next(x, view);
}

static void look(struct state_call *x, uint64_t version)
{
    state_read(x->api->queue, x->owner, x->session, version, on_view, x);
}

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
    fail(x, CE_BAD_REQUEST, "If-Match and If-None-Match take * or entity tags in double quotes");
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
    free_call(x);
}

static void on_object(void *arg, enum err e, struct buf *blob)
{
    struct state_call *x = arg;
    x->load = NULL;
    if (x->call == NULL)
        free_call(x);
    else if (e == ERR_OK)
        reply_blob(x, buf_str(blob));
    else if (e == ERR_NOT_FOUND || e == ERR_CORRUPT)
        fail(x, CE_STATE_DAMAGED, "");
    else
        fail(x, CE_UNAVAILABLE, "the object store cannot give the state at present");
}

/* The seal of what was found; false: the client was told. */
static bool opened(struct state_call *x, const struct state_view *view)
{
    if (!view->found) {
        fail(x, CE_STATE_NOT_FOUND, "");
        return false;
    }
    const char *why = state_open(&x->api->state_keys, x->owner.tenant, x->session, view, &x->seal);
    if (why != NULL) {
        log_warn("a stored state is refused", F_STR("session", x->session.text), F_STR("why", why));
        fail(x, CE_STATE_DAMAGED, "");
        return false;
    }
    x->version = view->of.version;
    sha256_hex(&x->seal.hash, x->hash);
    return true;
}

static void load_object(struct state_call *x, const struct state_view *view, state_load_cb cb)
{
    x->load = state_load(x->api->objects.store, view->of.place, &x->seal, (size_t)x->seal.size, cb, x);
    if (x->load == NULL)
        fail(x, CE_UNAVAILABLE, "the object store takes no request at present");
}

static void get_next(struct state_call *x, const struct state_view *view)
{
    bool same;
    if (!opened(x, view) || !precondition(x, "if-none-match", x->hash, &same))
        return;
    if (same)
        reply_blob(x, (struct str){NULL, 0});
    else if (state_is_object(view))
        load_object(x, view, on_object);
    else
        reply_blob(x, view->blob);
}

void handle_state_get(struct call *c)
{
    struct state_call *x = begin(c, get_next);
    if (x != NULL)
        look(x, 0);
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
    struct call *c = arrive(x);
    if (c != NULL)
        call_json(c, 200, &body);
}

void handle_state_info(struct call *c)
{
    struct state_call *x = begin(c, info_next);
    if (x != NULL)
        look(x, 0);
}

/* ---- changes ---- */

static struct state_change change_of(const struct state_call *x)
{
    return (struct state_change){
        .owner = x->owner,
        .session = x->session,
        .expected = x->version,
        .base = x->version,
        .place = STR("-"),
        .keep = (unsigned)x->api->config.state_versions,
        .ttl_ms = x->api->config.state_ttl_ms,
    };
}

/* Seals `hash` for the version behind `x->version` of `session`. */
static void seal_next(const struct state_call *x, struct id session, uint64_t version,
                      const struct sha256 *hash, uint64_t size, struct buf *ret_text)
{
    struct state_scope scope = {
        .tenant = x->owner.tenant, .session = str_of(session.text), .version = version};
    struct state_seal seal = state_seal_make(&x->api->state_keys, &scope, hash, size);
    state_seal_write(&seal, ret_text);
}

/* False: another version came first, or it failed; the client was told. */
static bool changed(struct state_call *x, enum queue_answer answer, uint64_t version)
{
    if (answer == QUEUE_OK)
        return true;
    struct call *c = x->call;
    if (answer == QUEUE_CONFLICT && c != NULL) {
        (void)arrive(x); /* frees `x` alone */
        call_state_conflict(c, version);
    } else {
        fail_answer(x, answer);
    }
    return false;
}

/* ---- large blobs ---- */

static void on_placed(void *arg, const struct object_result *result)
{
    struct state_call *x = arg;
    x->op = NULL;
    if (result->e == ERR_OK) {
        x->placed(x, buf_str(&x->place));
        return;
    }
    log_limited(LOG_WARN, "a state could not be stored", F_STR("why", result->why));
    fail(x, CE_UNAVAILABLE, "the object store takes no state at present");
}

/* `x->blob` goes to a place of its own when it is large; then `placed`. */
static void place_blob(struct state_call *x, struct id session,
                       void (*placed)(struct state_call *x, struct str place))
{
    char maker[40];
    struct sha256 hash = sha256_of(buf_str(&x->blob));
    x->placed = placed;
    if (x->blob.len <= STATE_INLINE_MAX) {
        placed(x, STR("-"));
        return;
    }
    snprintf(maker, sizeof maker, "upload.%s", id_new().text);
    x->place = BUF_INIT(OBJECT_KEY_MAX);
    enum err e = state_object_name(x->owner.tenant, session, str_of(maker), &x->place);
    if (e == ERR_OK)
        e = state_store(x->api->objects.store, buf_str(&x->place), buf_str(&x->blob), &hash, on_placed, x,
                        &x->op);
    if (e != ERR_OK)
        fail(x, CE_UNAVAILABLE, "the object store takes no state at present");
}

/* ---- POST /state/{sid} ---- */

static void on_uploaded(void *arg, enum queue_answer answer, uint64_t version)
{
    struct state_call *x = arg;
    if (!changed(x, answer, version))
        return;
    auto_buf body = BUF_INIT(1024);
    buf_printf(
        &body,
        "{\"message\":\"state_uploaded\",\"session_id\":\"%s\",\"size\":%zu,\"hash\":\"%s\",\"version\":%" PRIu64
        "}\n",
        x->session.text, x->blob.len, x->hash, version);
    struct call *c = arrive(x);
    if (c != NULL)
        call_json(c, 201, &body);
}

static void put_blob(struct state_call *x, struct str place)
{
    auto_buf seal = BUF_INIT(STATE_SEAL_TEXT_MAX);
    struct sha256 hash = sha256_of(buf_str(&x->blob));
    sha256_hex(&hash, x->hash);
    seal_next(x, x->session, x->version + 1, &hash, x->blob.len, &seal);
    struct state_change change = change_of(x);
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
        fail(x, CE_PRECONDITION_FAILED, "");
        return;
    }
    x->version = view->present;
    place_blob(x, x->session, put_blob);
}

/* Size, version byte, frame, and what comes out of it. False: the client was told. */
static bool acceptable(struct call *c, struct str blob)
{
    size_t most = (size_t)c->api->config.state_max_bytes;
    enum err e = blob.n < 2                               ? ERR_PROTOCOL
                 : blob.n > most + most / 64 + 128 * 1024 ? ERR_FULL
                                                          : state_check(blob, most);
    if (e == ERR_OK)
        return true;
    if (e == ERR_FULL)
        call_fail(c, CE_STATE_TOO_LARGE, "%s", "");
    else
        call_fail(c, CE_INVALID_STATE, "%s", "");
    return false;
}

void handle_state_put(struct call *c)
{
    if (!acceptable(c, http_body(c->request)))
        return;
    struct state_call *x = begin(c, upload_next);
    if (x == NULL)
        return;
    struct str body = http_body(c->request);
    x->blob = BUF_INIT(body.n);
    buf_append_str(&x->blob, body);
    if (buf_status(&x->blob) != ERR_OK)
        fail(x, CE_INTERNAL, "out of memory");
    else
        look(x, 0);
}

/* ---- DELETE /state/{sid} ---- */

static void reply_deleted(struct state_call *x)
{
    struct call *c = arrive(x);
    if (c != NULL)
        call_reply(c, 204, NULL, NULL, (struct str){"", 0});
}

static void on_deleted(void *arg, enum queue_answer answer, uint64_t version)
{
    struct state_call *x = arg;
    if (answer == QUEUE_CONFLICT && x->call != NULL) { /* a run came first: its state is to go, too */
        struct state_change change = change_of(x);
        x->version = change.expected = change.base = version;
        state_put(x->api->queue, &change, STR("upload"), on_deleted, x);
    } else if (answer == QUEUE_OK || answer == QUEUE_NOT_FOUND) {
        reply_deleted(x);
    } else {
        fail_answer(x, answer);
    }
}

static void delete_next(struct state_call *x, const struct state_view *view)
{
    if (!view->exists || !view->found) {
        reply_deleted(x);
        return;
    }
    x->version = view->present;
    struct state_change change = change_of(x);
    state_put(x->api->queue, &change, STR("upload"), on_deleted, x);
}

static void on_delete_view(void *arg, enum queue_answer answer, const struct state_view *view)
{
    struct state_call *x = arg;
    if (answer == QUEUE_NOT_FOUND)
        reply_deleted(x); /* somebody else's looks like none */
    else
        on_view(x, answer, view);
}

void handle_state_delete(struct call *c)
{
    struct state_call *x = begin(c, delete_next);
    if (x != NULL)
        state_read(x->api->queue, x->owner, x->session, 0, on_delete_view, x);
}

/* ---- GET /v1/sessions/{id}/versions ---- */

static void write_version(const struct state_version *v, struct buf *out)
{
    struct state_seal seal = {.size = 0};
    char hash[SHA256_HEX_LEN + 1] = "";
    if (state_seal_parse(v->seal, &seal) == ERR_OK)
        sha256_hex(&seal.hash, hash);
    buf_printf(out,
               "{\"version\":%" PRIu64 ",\"base\":%" PRIu64 ",\"created_at\":%" PRId64 ",\"size\":%" PRIu64
               ",\"hash\":\"%s\"",
               v->version, v->base, v->made_ms, seal.size, hash);
    struct str attempt = v->from;
    struct str job = str_split(&attempt, ':');
    buf_printf(out, ",\"from\":\"" STR_FMT "\",\"job_id\":", STR_ARG(attempt.p != NULL ? STR("run") : job));
    if (attempt.p != NULL)
        buf_printf(out, "\"" STR_FMT "\"}", STR_ARG(job));
    else
        buf_append_cstr(out, "null}");
}

static void versions_next(struct state_call *x, const struct state_view *view)
{
    auto_buf body = BUF_INIT(1 << 20);
    if (!view->exists) {
        fail_answer(x, QUEUE_NOT_FOUND);
        return;
    }
    buf_printf(&body, "{\"session_id\":\"%s\",\"version\":%" PRIu64 ",\"versions\":[", x->session.text,
               view->present);
    for (size_t i = view->count; i > 0; i--) {
        write_version(&view->all[i - 1], &body);
        if (i > 1)
            buf_append_char(&body, ',');
    }
    buf_append_cstr(&body, "]}\n");
    struct call *c = arrive(x);
    if (c != NULL)
        call_json(c, 200, &body);
}

void handle_session_versions(struct call *c)
{
    struct state_call *x = begin(c, versions_next);
    if (x != NULL)
        state_list(x->api->queue, x->owner, x->session, on_view, x);
}

/* ---- POST /v1/sessions/{id}/rewind and /fork ---- */

static bool read_version(struct call *c, enum json_need need, uint64_t *ret_version)
{
    struct errinfo info;
    auto_json root = NULL;
    int64_t version = 0;
    struct str body = http_body(c->request);
    if (body.n == 0 && need == JSON_OPTIONAL)
        return true;
    if (json_parse(body, &root, &info) != ERR_OK) {
        call_fail(c, CE_BAD_JSON, "%s", info.text);
        return false;
    }
    if (json_expect_object(root, "the body", &info) != ERR_OK ||
        json_field_int(root, "version", need, 1, INT64_MAX, "", &version, &info) != ERR_OK) {
        call_fail(c, CE_INVALID_FIELD, "%s", info.text);
        return false;
    }
    *ret_version = (uint64_t)version;
    return true;
}

static void reply_version(struct state_call *x, int status, struct id session, uint64_t version)
{
    auto_buf body = BUF_INIT(1024);
    buf_printf(&body,
               "{\"session_id\":\"%s\",\"version\":%" PRIu64
               ",\"from_session_id\":\"%s\",\"from_version\":%" PRIu64 "}\n",
               session.text, version, x->session.text, x->base);
    struct call *c = arrive(x);
    if (c != NULL)
        call_json(c, status, &body);
}

static void on_rewound(void *arg, enum queue_answer answer, uint64_t version)
{
    struct state_call *x = arg;
    if (changed(x, answer, version))
        reply_version(x, 200, x->session, version);
}

static void rewind_next(struct state_call *x, const struct state_view *view)
{
    if (!opened(x, view))
        return;
    auto_buf seal = BUF_INIT(STATE_SEAL_TEXT_MAX);
    x->version = view->present;
    seal_next(x, x->session, x->version + 1, &x->seal.hash, x->seal.size, &seal);
    struct state_change change = change_of(x);
    change.base = x->base;
    change.seal = buf_str(&seal);
    change.hash = str_of(x->hash);
    change.size = x->seal.size;
    state_put(x->api->queue, &change, STR("rewind"), on_rewound, x);
}

void handle_session_rewind(struct call *c)
{
    uint64_t version = 0;
    if (!read_version(c, JSON_REQUIRED, &version))
        return;
    struct state_call *x = begin(c, rewind_next);
    if (x == NULL)
        return;
    x->base = version;
    look(x, version);
}

static void on_noted(void *arg, enum queue_answer answer)
{
    struct state_call *x = arg;
    if (answer != QUEUE_OK)
        log_info("a fork was not noted in its origin's log", F_STR("session", x->session.text));
    reply_version(x, 201, x->into, 1);
}

static void on_forked(void *arg, enum queue_answer answer, uint64_t version)
{
    struct state_call *x = arg;
    if (changed(x, answer, version))
        state_forked(x->api->queue, x->owner, x->session, x->into, x->base, on_noted, x);
}

static void fork_put(struct state_call *x, struct str place)
{
    auto_buf seal = BUF_INIT(STATE_SEAL_TEXT_MAX);
    seal_next(x, x->into, 1, &x->seal.hash, x->seal.size, &seal);
    x->version = 0;
    struct state_change change = change_of(x);
    change.session = x->into;
    change.place = place;
    change.seal = buf_str(&seal);
    change.blob = str_eq(place, STR("-")) ? buf_str(&x->blob) : (struct str){"", 0};
    change.hash = str_of(x->hash);
    change.size = x->seal.size;
    state_put(x->api->queue, &change, STR("fork"), on_forked, x);
}

static void fork_blob(struct state_call *x, struct buf blob)
{
    x->into = id_new_in(id_partition(str_of(x->session.text), queue_partitions(x->api->queue)),
                        queue_partitions(x->api->queue));
    x->blob = blob;
    if (buf_status(&x->blob) != ERR_OK)
        fail(x, CE_INTERNAL, "out of memory");
    else
        place_blob(x, x->into, fork_put);
}

static void fork_copy(struct state_call *x, struct str blob)
{
    struct buf copy = BUF_INIT(blob.n);
    buf_append_str(&copy, blob);
    fork_blob(x, copy);
}

static void on_fork_object(void *arg, enum err e, struct buf *blob)
{
    struct state_call *x = arg;
    x->load = NULL;
    if (x->call == NULL)
        free_call(x);
    else if (e == ERR_OK) {
        struct buf whole = *blob;
        *blob = BUF_INIT(0);
        fork_blob(x, whole);
    } else if (e == ERR_NOT_FOUND || e == ERR_CORRUPT)
        fail(x, CE_STATE_DAMAGED, "");
    else
        fail(x, CE_UNAVAILABLE, "the object store cannot give the state at present");
}

static void fork_next(struct state_call *x, const struct state_view *view)
{
    if (!opened(x, view))
        return;
    x->base = x->version;
    if (state_is_object(view))
        load_object(x, view, on_fork_object);
    else
        fork_copy(x, view->blob);
}

void handle_session_fork(struct call *c)
{
    uint64_t version = 0;
    if (!read_version(c, JSON_OPTIONAL, &version))
        return;
    struct state_call *x = begin(c, fork_next);
    if (x != NULL)
        look(x, version);
}
