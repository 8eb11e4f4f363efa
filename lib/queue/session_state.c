/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/archive.h"
#include "queue/consumer.h"
#include "queue/state.h"
#include "queue/state_restore.h"

#include "base/point.h"
#include "io/state_blob.h"
#include "json/json.h"

#include <inttypes.h>
#include <string.h>

enum { RESTORES_MAX = 3, VERSIONS_MAX = 1000, DETAILS_MAX = 1024 };

/* What session_state.lua answers behind `ok`. */
enum { S_PRESENT = 1, S_DUE, S_NOW, S_CREATED, S_REST, S_RECORD, S_BLOB };

struct state_call {
    state_cb read;
    state_put_cb put;
    queue_done_cb done;
    void *arg;
    /* of state_read: what is asked again when an archived version has come back */
    struct queue *q;
    struct id session;
    char version[24];
    struct buf tenant, user;
    unsigned restores;
};

static struct state_call *call_of(void *arg)
{
    struct state_call *x = call_memory(sizeof *x);
    x->arg = arg;
    return x;
}

static bool record_read(struct str version, struct str record, struct state_version *ret_version)
{
    struct state_version v = {0};
    struct str rest = record;
    struct str base = str_split(&rest, ' '), ms = str_split(&rest, ' ');
    v.place = str_split(&rest, ' ');
    v.from = str_split(&rest, ' ');
    v.seal = rest;
    if (str_to_u64(version, &v.version) != ERR_OK || str_to_u64(base, &v.base) != ERR_OK ||
        str_to_i64(ms, &v.made_ms) != ERR_OK || v.seal.n == 0)
        return false;
    *ret_version = v;
    return true;
}

static int by_version(const void *pa, const void *pb)
{
    const struct state_version *a = pa, *b = pb;
    return a->version < b->version ? -1 : a->version > b->version;
}

static void view_head(const struct redis_value *v, struct state_view *ret_view)
{
    *ret_view = (struct state_view){
        .exists = true,
        .present = (uint64_t)redis_integer(redis_item(v, S_PRESENT)),
        .due_ms = redis_integer(redis_item(v, S_DUE)),
        .now_ms = redis_integer(redis_item(v, S_NOW)),
        .created_ms = redis_integer(redis_item(v, S_CREATED)),
    };
}

/* A script refuses what it finds under the session's keys before it writes anything. */
static enum queue_answer state_answer(const struct redis_value *v)
{
    bool damaged = v && v->type == REDIS_ERROR && str_starts(v->text, STR("WRONGTYPE"));
    return damaged ? QUEUE_DAMAGED : answer_of(v);
}

/* True: it was told. */
static bool told_none(struct state_call *x, const struct redis_value *v)
{
    struct state_view none = {.exists = false};
    enum queue_answer answer = state_answer(v);
    none.pending = str_eq(redis_text(redis_item(v, 0)), STR("pending"));
    bool nobody = none.pending || str_eq(redis_text(redis_item(v, 0)), STR("none"));
    if (answer == QUEUE_OK)
        return false;
    x->read(x->arg, nobody ? QUEUE_OK : answer, nobody ? &none : NULL);
    buf_free(&x->tenant);
    buf_free(&x->user);
    free(x);
    return true;
}

static void read_end(struct state_call *x, enum queue_answer answer, const struct state_view *view)
{
    x->read(x->arg, answer, view);
    buf_free(&x->tenant);
    buf_free(&x->user);
    free(x);
}

static void read_again(struct state_call *x);

static void on_restored(void *arg, enum state_restored restored)
{
    struct state_call *x = arg;
    if (restored == STATE_AWAY) {
        read_end(x, QUEUE_UNAVAILABLE, NULL);
        return;
    }
    x->restores = restored == STATE_LOST ? RESTORES_MAX : x->restores + 1;
    read_again(x);
}

static void on_read(void *arg, const struct redis_value *v)
{
    struct state_call *x = arg;
    struct sha256 hash;
    if (told_none(x, v))
        return;
    struct state_view view;
    view_head(v, &view);
    view.found =
        record_read(redis_text(redis_item(v, S_REST)), redis_text(redis_item(v, S_RECORD)), &view.of);
    view.blob = redis_text(redis_item(v, S_BLOB));
    if (v->count > S_RECORD && !view.found) {
        read_end(x, QUEUE_DAMAGED, NULL);
        return;
    }
    if (view.found && x->restores < RESTORES_MAX && archive_state_key_is(view.of.place, &hash)) {
        state_restore(x->q, x->session, redis_text(redis_item(v, S_REST)),
                      redis_text(redis_item(v, S_RECORD)), view.of.place, on_restored, x);
    } else {
        if (view.found)
            test_point("state-read");
        read_end(x, QUEUE_OK, &view);
    }
}

bool state_given(const struct redis_value *claimed, struct state_view *ret_view)
{
    if (claimed->count != HANDED_WITH_STATE)
        return false;
    struct state_view view = {.exists = true, .blob = redis_text(redis_item(claimed, HANDED_VALUES + 2))};
    struct str version = redis_text(redis_item(claimed, HANDED_VALUES));
    struct str record = redis_text(redis_item(claimed, HANDED_VALUES + 1));
    view.found = record_read(version, record, &view.of);
    if (str_to_u64(version, &view.present) != ERR_OK || view.found != (record.n > 0))
        return false;
    *ret_view = view;
    return true;
}

static void on_list(void *arg, const struct redis_value *v)
{
    struct state_call *x = arg;
    if (told_none(x, v))
        return;
    struct state_view view;
    view_head(v, &view);
    size_t pairs = v->count > S_REST ? (v->count - S_REST) / 2 : 0;
    pairs = pairs < VERSIONS_MAX ? pairs : VERSIONS_MAX;
    auto_free struct state_version *all = calloc(pairs + 1, sizeof *all);
    if (!all)
        abort(); /* a few kilobytes: nothing can go on without */
    for (size_t i = 0; i < pairs; i++)
        view.count += record_read(redis_text(&v->items[S_REST + 2 * i]),
                                  redis_text(&v->items[S_REST + 2 * i + 1]), &all[view.count]);
    qsort(all, view.count, sizeof *all, by_version);
    view.all = all;
    x->read(x->arg, QUEUE_OK, &view);
    free(x);
}

static struct call *session_script(struct queue *q, enum script s, struct id session)
{
    struct keyset keys = {.partition = id_partition(str_of(session.text), q->partitions),
                          .session = str_of(session.text)};
    return call_script(q, s, &keys, true);
}

static void ask(struct queue *q, struct session_owner owner, struct id session, struct str version,
                call_cb on_answer, struct state_call *x)
{
    if (!q->ready || q->partitions == 0) {
        call_go(call_plain(q, "PING"), on_answer, x); /* answered with QUEUE_UNAVAILABLE in the next turn */
        return;
    }
    struct call *c = session_script(q, SCRIPT_session_state, session);
    call_str(c, owner.tenant);
    call_str(c, owner.user);
    call_str(c, version);
    call_go(c, on_answer, x);
}

static void read_again(struct state_call *x)
{
    struct session_owner owner = {buf_str(&x->tenant), buf_str(&x->user)};
    ask(x->q, owner, x->session, str_of(x->version), on_read, x);
}

void state_read(struct queue *q, struct session_owner owner, struct id session, uint64_t version, state_cb cb,
                void *arg)
{
    struct state_call *x = call_of(arg);
    x->read = cb;
    x->q = q;
    x->session = session;
    x->tenant = x->user = BUF_INIT(NAME_MAX_LEN * 16);
    buf_append_str(&x->tenant, owner.tenant);
    buf_append_str(&x->user, owner.user);
    if (version > 0)
        snprintf(x->version, sizeof x->version, "%" PRIu64, version);
    read_again(x);
}

void state_look(struct queue *q, struct session_owner owner, struct id session, state_cb cb, void *arg)
{
    struct state_call *x = call_of(arg);
    x->read = cb;
    ask(q, owner, session, STR("0"), on_read, x);
}

void state_list(struct queue *q, struct session_owner owner, struct id session, state_cb cb, void *arg)
{
    struct state_call *x = call_of(arg);
    x->read = cb;
    ask(q, owner, session, STR("*"), on_list, x);
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

static void on_put(void *arg, const struct redis_value *v)
{
    auto_free struct state_call *x = arg;
    enum queue_answer answer = state_answer(v);
    if (v && v->type == REDIS_ERROR && str_starts(v->text, STR("OOM")))
        answer = QUEUE_FULL;
    x->put(x->arg, answer, (uint64_t)redis_integer(redis_item(v, 1)));
}

/* The fields of session_created. */
static void write_created(const struct state_change *s, struct buf *out)
{
    buf_append_cstr(out, "{\"tenant\":");
    json_write_string(out, s->owner.tenant);
    buf_append_cstr(out, ",\"user\":");
    json_write_string(out, s->owner.user);
    buf_append_char(out, '}');
}

/* What the event of a version says behind its version and base. `from` is plain text. */
static void write_details(const struct state_change *s, struct str from, struct buf *out)
{
    buf_printf(out, ",\"size\":%" PRIu64 ",\"hash\":\"" STR_FMT "\",\"from\":\"" STR_FMT "\"", s->size,
               STR_ARG(s->hash), STR_ARG(from));
}

void state_put(struct queue *q, const struct state_change *s, struct str from, state_put_cb cb, void *arg)
{
    struct state_call *x = call_of(arg);
    x->put = cb;
    if (!q->ready || q->partitions == 0) {
        call_go(call_plain(q, "PING"), on_put, x);
        return;
    }
    auto_buf created = BUF_INIT(NAME_MAX_LEN * 16), details = BUF_INIT(DETAILS_MAX);
    bool rewind = str_eq(from, STR("rewind"));
    write_created(s, &created);
    write_details(s, from, &details);
    test_point("state-put");
    struct call *c = session_script(q, SCRIPT_session_put, s->session);
    call_hasty(c);
    call_cstr(c, s->session.text);
    call_str(c, s->owner.tenant);
    call_str(c, s->owner.user);
    call_str(c, buf_str(&created));
    call_int(c, (int64_t)s->expected);
    call_cstr(c, rewind ? "session_rewound" : "state_committed");
    call_int(c, (int64_t)s->base);
    call_str(c, s->place);
    call_str(c, from);
    call_str(c, s->seal);
    call_int(c, s->keep);
    call_int(c, s->ttl_ms);
    call_str(c, buf_str(&details));
    if (rewind)
        call_int(c, (int64_t)s->base);
    else
        call_cstr(c, "");
    call_str(c, s->blob);
    call_go(c, on_put, x);
}

static void on_done(void *arg, const struct redis_value *v)
{
    auto_free struct state_call *x = arg;
    x->done(x->arg, answer_of(v));
}

void state_forked(struct queue *q, struct session_owner owner, struct id session, struct id into,
                  uint64_t version, queue_done_cb cb, void *arg)
{
    struct state_call *x = call_of(arg);
    x->done = cb;
    auto_buf d = BUF_INIT(DETAILS_MAX);
    buf_printf(&d, "{\"into\":\"%s\",\"version\":%" PRIu64 "}", into.text, version);
    struct call *c = session_script(q, SCRIPT_session_note, session);
    call_hasty(c);
    call_str(c, owner.tenant);
    call_str(c, owner.user);
    call_cstr(c, "session_forked");
    call_str(c, buf_str(&d));
    call_go(c, on_done, x);
}

void state_keys_open(const struct queue *q, const char *const *items, size_t count,
                     struct state_keys *ret_keys)
{
    if (state_keys_of(str_of(q->epoch), items, count, ret_keys) != ERR_OK)
        abort(); /* called too early */
}

/* Behind the drafts of finish_state. */
void state_arguments(struct call *c, const struct state_change *s)
{
    auto_buf created = BUF_INIT(NAME_MAX_LEN * 16), details = BUF_INIT(DETAILS_MAX);
    write_created(s, &created);
    write_details(s, STR("run"), &details);
    call_int(c, (int64_t)s->base);
    call_int(c, s->keep);
    call_int(c, s->ttl_ms);
    call_cstr(c, s->session.text);
    call_str(c, s->owner.user);
    call_str(c, buf_str(&created));
    call_str(c, s->place);
    call_str(c, s->seal);
    call_str(c, buf_str(&details));
    call_str(c, s->blob);
}
