/* SPDX-License-Identifier: Apache-2.0 */
/* The versions of a session's state: list, rewind, fork. */
#include "api/state_call.h"

#include "base/log.h"
#include "json/fields.h"

#include <inttypes.h>
#include <string.h>

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
        state_call_fail_answer(x, QUEUE_NOT_FOUND);
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
    struct call *c = state_call_arrive(x);
    if (c != NULL)
        call_json(c, 200, &body);
}

void handle_session_versions(struct call *c)
{
    struct state_call *x = state_call_begin(c, versions_next);
    if (x != NULL)
        state_list(x->api->queue, x->owner, x->session, state_call_on_view, x);
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
    struct call *c = state_call_arrive(x);
    if (c != NULL)
        call_json(c, status, &body);
}

static void on_rewound(void *arg, enum queue_answer answer, uint64_t version)
{
    struct state_call *x = arg;
    if (state_call_changed(x, answer, version))
        reply_version(x, 200, x->session, version);
}

static void rewind_next(struct state_call *x, const struct state_view *view)
{
    if (!state_call_opened(x, view))
        return;
    auto_buf seal = BUF_INIT(STATE_SEAL_TEXT_MAX);
    x->version = view->present;
    state_call_seal(x, x->session, x->version + 1, &x->seal.hash, x->seal.size, &seal);
    struct state_change change = state_call_change(x);
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
    struct state_call *x = state_call_begin(c, rewind_next);
    if (x == NULL)
        return;
    x->base = version;
    state_call_look(x, version);
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
    if (state_call_changed(x, answer, version))
        state_forked(x->api->queue, x->owner, x->session, x->into, x->base, on_noted, x);
}

static void fork_put(struct state_call *x, struct str place)
{
    auto_buf seal = BUF_INIT(STATE_SEAL_TEXT_MAX);
    state_call_seal(x, x->into, 1, &x->seal.hash, x->seal.size, &seal);
    x->version = 0;
    struct state_change change = state_call_change(x);
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
        state_call_fail(x, CE_INTERNAL, "out of memory");
    else
        state_call_place(x, x->into, &x->seal.hash, fork_put);
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
        state_call_free(x);
    else if (e == ERR_OK) {
        struct buf whole = *blob;
        *blob = BUF_INIT(0);
        fork_blob(x, whole);
    } else if (e == ERR_NOT_FOUND || e == ERR_CORRUPT)
        state_call_fail(x, CE_STATE_DAMAGED, "");
    else
        state_call_fail(x, CE_UNAVAILABLE, "the object store cannot give the state at present");
}

static void fork_next(struct state_call *x, const struct state_view *view)
{
    if (!state_call_opened(x, view))
        return;
    x->base = x->version;
    if (state_is_object(view))
        state_call_load(x, view, on_fork_object);
    else
        fork_copy(x, view->blob);
}

void handle_session_fork(struct call *c)
{
    uint64_t version = 0;
    if (!read_version(c, JSON_OPTIONAL, &version))
        return;
    struct state_call *x = state_call_begin(c, fork_next);
    if (x != NULL)
        state_call_look(x, version);
}
