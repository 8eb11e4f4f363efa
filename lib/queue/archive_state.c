/* SPDX-License-Identifier: Apache-2.0 */
/* Idle states and sessions that are due, for the archiver; and the way back of a state that is asked for. */
#include "queue/archive.h"
#include "queue/internal.h"
#include "queue/state_restore.h"

#include "base/point.h"
#include "io/store/object_store.h"

#include <string.h>

enum { BLOB_MAX = 80 << 20 };
static const char folder[] = "archive.state/";

/* ---- names --------------------------------------------------------------------------------------------------------- */

void archive_state_key(struct id session, const struct sha256 *hash, char ret_key[ARCHIVE_STATE_KEY_MAX])
{
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex(hash, hex);
    snprintf(ret_key, ARCHIVE_STATE_KEY_MAX, "%s%s/%s-%s", folder, session.text, hex, id_new().text);
}

bool archive_state_key_is(struct str place, struct sha256 *ret_hash)
{
    size_t at = sizeof folder - 1 + ID_LEN + 1;
    return str_starts(place, STR(folder)) && place.n == at + SHA256_HEX_LEN + 1 + ID_LEN &&
           sha256_parse((struct str){place.p + at, SHA256_HEX_LEN}, ret_hash) == ERR_OK;
}

static struct keyset keys_of(const struct queue *q, struct str session)
{
    return (struct keyset){.partition = id_partition(session, q->partitions), .session = session};
}

/* ---- the archiver's side ---------------------------------------------------------------------------------------------- */

struct ask {
    union {
        archive_taken_cb taken;
        archive_versions_cb versions;
        archive_request_cb blob;
        archive_sessions_cb sessions;
        queue_done_cb done;
    } cb;
    void *arg;
};

static struct ask *ask_new(void *arg)
{
    struct ask *a = call_memory(sizeof *a);
    a->arg = arg;
    return a;
}

static void on_idle(void *arg, const struct redis_value *v)
{
    auto_free struct ask *a = arg;
    archive_tell_taken(v, a->cb.taken, a->arg);
}

void archive_idle(struct queue *q, unsigned partition, unsigned most, int64_t after_ms, int64_t lease_ms,
                  archive_taken_cb cb, void *arg)
{
    struct ask *a = ask_new(arg);
    struct keyset keys = {.partition = partition};
    struct call *c = call_script(q, SCRIPT_archive_idle, &keys, false);
    a->cb.taken = cb;
    call_int(c, most < ARCHIVE_TAKE_MAX ? most : ARCHIVE_TAKE_MAX);
    call_int(c, after_ms);
    call_int(c, lease_ms);
    call_go(c, on_idle, a);
}

/* Is the blob in Redis? "<base> <ms> - ..." */
static bool is_inline(struct str record)
{
    struct str rest = record;
    str_split(&rest, ' ');
    str_split(&rest, ' ');
    return str_eq(str_split(&rest, ' '), STR("-"));
}

static void on_versions(void *arg, const struct redis_value *v)
{
    auto_free struct ask *a = arg;
    bool good = v && v->type == REDIS_ARRAY;
    auto_free struct archive_version *all = calloc(good ? v->count / 2 + 1 : 1, sizeof *all);
    size_t count = 0;
    for (size_t i = 0; all && good && i + 1 < v->count; i += 2) {
        struct archive_version one = {redis_text(&v->items[i]), redis_text(&v->items[i + 1])};
        if (is_inline(one.record))
            all[count++] = one;
    }
    a->cb.versions(a->arg, good && all ? QUEUE_OK : QUEUE_UNAVAILABLE, all, count);
}

void archive_versions(struct queue *q, struct id session, archive_versions_cb cb, void *arg)
{
    struct ask *a = ask_new(arg);
    struct keyset keys = keys_of(q, str_of(session.text));
    struct call *c = call_plain(q, "HGETALL");
    a->cb.versions = cb;
    call_key(c, &keys, "STATES");
    call_go(c, on_versions, a);
}

static void on_blob(void *arg, const struct redis_value *v)
{
    auto_free struct ask *a = arg;
    enum queue_answer answer = !v || v->type == REDIS_ERROR ? QUEUE_UNAVAILABLE
                               : v->type == REDIS_STRING    ? QUEUE_OK
                                                            : QUEUE_NOT_FOUND;
    a->cb.blob(a->arg, answer, redis_text(v));
}

void archive_blob(struct queue *q, struct id session, struct str version, archive_request_cb cb, void *arg)
{
    struct ask *a = ask_new(arg);
    struct keyset keys = keys_of(q, str_of(session.text));
    struct call *c = call_plain(q, "HGET");
    a->cb.blob = cb;
    call_key(c, &keys, "BLOBS");
    call_str(c, version);
    call_go(c, on_blob, a);
}

static void on_done(void *arg, const struct redis_value *v)
{
    auto_free struct ask *a = arg;
    a->cb.done(a->arg, answer_of(v));
}

void archive_state(struct queue *q, struct id session, struct str version, struct str record,
                   const char *place, int64_t ttl_ms, queue_done_cb cb, void *arg)
{
    struct ask *a = ask_new(arg);
    struct keyset keys = keys_of(q, str_of(session.text));
    struct call *c = call_script(q, SCRIPT_session_archive, &keys, false);
    a->cb.done = cb;
    call_cstr(c, session.text);
    call_str(c, version);
    call_str(c, record);
    call_cstr(c, place);
    call_int(c, ttl_ms);
    call_go(c, on_done, a);
}

static void on_sessions(void *arg, const struct redis_value *v)
{
    auto_free struct ask *a = arg;
    struct id ids[ARCHIVE_TAKE_MAX];
    bool good = v && v->type == REDIS_ARRAY;
    size_t count = 0;
    for (size_t i = 0; good && i < v->count && count < ARCHIVE_TAKE_MAX; i++)
        if (id_parse(redis_text(&v->items[i]), &ids[count]) == ERR_OK)
            count++;
    a->cb.sessions(a->arg, good ? QUEUE_OK : QUEUE_UNAVAILABLE, ids, count);
}

void archive_sessions(struct queue *q, unsigned partition, unsigned most, archive_sessions_cb cb, void *arg)
{
    struct ask *a = ask_new(arg);
    struct keyset keys = {.partition = partition};
    struct call *c = call_script(q, SCRIPT_archive_sessions, &keys, false);
    a->cb.sessions = cb;
    call_int(c, most < ARCHIVE_TAKE_MAX ? most : ARCHIVE_TAKE_MAX);
    call_go(c, on_sessions, a);
}

/* ---- back -------------------------------------------------------------------------------------------------------------- */

struct restore {
    struct queue *q;
    struct buf session, version, record, blob;
    struct sha256 hash;
    state_restore_cb cb;
    void *arg;
};

static void restore_end(struct restore *r, enum state_restored restored)
{
    r->cb(r->arg, restored);
    struct buf *all[] = {&r->session, &r->version, &r->record, &r->blob};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buf_free(all[i]);
    free(r);
}

/* A conflict is one that was quicker, or a change: whoever asks reads again. */
static void on_restored(void *arg, const struct redis_value *v)
{
    struct restore *r = arg;
    enum queue_answer answer = answer_of(v);
    test_point("restore-done");
    r->q->stats.state_restores += answer == QUEUE_OK;
    restore_end(r, answer == QUEUE_UNAVAILABLE ? STATE_AWAY : STATE_RESTORED);
}

static void on_piece(void *arg, struct str bytes)
{
    struct restore *r = arg;
    buf_append_str(&r->blob, bytes);
}

static void on_object(void *arg, const struct object_result *result)
{
    struct restore *r = arg;
    bool lost = result->e == ERR_NOT_FOUND || result->e == ERR_CORRUPT || buf_status(&r->blob) != ERR_OK;
    if (result->e != ERR_OK || lost) {
        log_limited(LOG_ERROR, "an archived state cannot be read", F_STR("session", buf_cstr(&r->session)),
                    F_STR("why", result->why ? result->why : err_text(result->e)));
        restore_end(r, lost ? STATE_LOST : STATE_AWAY);
        return;
    }
    test_point("restore-read");
    struct keyset keys = keys_of(r->q, buf_str(&r->session));
    struct call *c = call_script(r->q, SCRIPT_session_restore, &keys, true);
    call_str(c, buf_str(&r->session));
    call_str(c, buf_str(&r->version));
    call_str(c, buf_str(&r->record));
    call_str(c, buf_str(&r->blob));
    call_int(c, ARCHIVE_DROP_GRACE_MS);
    call_go(c, on_restored, r);
}

void state_restore(struct queue *q, struct id session, struct str version, struct str record,
                   struct str place, state_restore_cb cb, void *arg)
{
    struct restore *r = call_memory(sizeof *r);
    char key[ARCHIVE_STATE_KEY_MAX];
    *r = (struct restore){.q = q,
                          .session = BUF_INIT(64),
                          .version = BUF_INIT(64),
                          .record = BUF_INIT(4096),
                          .blob = BUF_INIT(BLOB_MAX),
                          .cb = cb,
                          .arg = arg};
    buf_append_cstr(&r->session, session.text);
    buf_append_str(&r->version, version);
    buf_append_str(&r->record, record);
    snprintf(key, sizeof key, STR_FMT, STR_ARG(place));
    test_point("restore-wanted");
    bool good = q->objects && archive_state_key_is(place, &r->hash);
    struct object_get get = {.key = key, .sha256 = &r->hash, .data = on_piece};
    if (!good || object_get(q->objects, &get, on_object, r, NULL) != ERR_OK)
        restore_end(r, STATE_AWAY);
}
