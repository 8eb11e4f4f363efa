/* SPDX-License-Identifier: Apache-2.0 */
#include "api/state_call.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void state_call_free(struct state_call *x)
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
struct call *state_call_arrive(struct state_call *x)
{
    struct call *c = x->call;
    if (c != NULL)
        c->gone = NULL;
    x->load = NULL;
    state_call_free(x);
    return c;
}

void state_call_deleted(struct state_call *x)
{
    struct call *c = state_call_arrive(x);
    if (c != NULL)
        call_reply(c, 204, NULL, NULL, STR(""));
}

void state_call_fail(struct state_call *x, enum client_error error, const char *text)
{
    struct call *c = state_call_arrive(x);
    if (c != NULL)
        call_fail(c, error, "%s", text);
}

void state_call_fail_answer(struct state_call *x, enum queue_answer answer)
{
    struct call *c = state_call_arrive(x);
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

struct state_call *state_call_begin(struct call *c,
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

void state_call_on_view(void *arg, enum queue_answer answer, const struct state_view *view)
{
    struct state_call *x = arg;
    if (answer != QUEUE_OK)
        state_call_fail_answer(x, answer);
    else if (x->call == NULL)
        state_call_free(x);
    else
        x->next(x, view);
}

void state_call_look(struct state_call *x, uint64_t version)
{
    state_read(x->api->queue, x->owner, x->session, version, state_call_on_view, x);
}

/* The seal of what was found; false: the client was told. */
bool state_call_opened(struct state_call *x, const struct state_view *view)
{
    if (!view->found) {
        state_call_fail(x, CE_STATE_NOT_FOUND, "");
        return false;
    }
    const char *why = state_open(&x->api->state_keys, x->owner.tenant, x->session, view, &x->seal);
    if (why != NULL) {
        log_warn("a stored state is refused", F_STR("session", x->session.text), F_STR("why", why));
        state_call_fail(x, CE_STATE_DAMAGED, "");
        return false;
    }
    x->version = view->of.version;
    sha256_hex(&x->seal.hash, x->hash);
    return true;
}

void state_call_load(struct state_call *x, const struct state_view *view, state_load_cb cb)
{
    x->load = state_load(x->api->objects.store, view->of.place, &x->seal, (size_t)x->seal.size, cb, x);
    if (x->load == NULL)
        state_call_fail(x, CE_UNAVAILABLE, "the object store takes no request at present");
}

struct state_change state_call_change(const struct state_call *x)
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
void state_call_seal(const struct state_call *x, struct id session, uint64_t version,
                     const struct sha256 *hash, uint64_t size, struct buf *ret_text)
{
    struct state_scope scope = {
        .tenant = x->owner.tenant, .session = str_of(session.text), .version = version};
    struct state_seal seal = state_seal_make(&x->api->state_keys, &scope, hash, size);
    state_seal_write(&seal, ret_text);
}

/* False: another version came first, or it failed; the client was told. */
bool state_call_changed(struct state_call *x, enum queue_answer answer, uint64_t version)
{
    if (answer == QUEUE_OK)
        return true;
    struct call *c = x->call;
    if (answer == QUEUE_CONFLICT && c != NULL) {
        (void)state_call_arrive(x); /* frees `x` alone */
        call_state_conflict(c, version);
    } else {
        state_call_fail_answer(x, answer);
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
    state_call_fail(x, CE_UNAVAILABLE, "the object store takes no state at present");
}

/* `x->blob` goes to a place of its own when it is large; then `placed`. */
void state_call_place(struct state_call *x, struct id session, const struct sha256 *hash,
                      void (*placed)(struct state_call *x, struct str place))
{
    char maker[40];
    x->placed = placed;
    if (x->blob.len <= STATE_INLINE_MAX) {
        placed(x, STR("-"));
        return;
    }
    snprintf(maker, sizeof maker, "upload.%s", id_new().text);
    x->place = BUF_INIT(OBJECT_KEY_MAX);
    enum err e = state_object_name(x->owner.tenant, session, str_of(maker), &x->place);
    if (e == ERR_OK)
        e = state_store(x->api->objects.store, buf_str(&x->place), buf_str(&x->blob), hash, on_placed, x,
                        &x->op);
    if (e != ERR_OK)
        state_call_fail(x, CE_UNAVAILABLE, "the object store takes no state at present");
}
