/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/archive.h"

#include "queue/internal.h"

#include <inttypes.h>
#include <string.h>

enum { PAGE = 64, PRESSED_PERCENT = 90 };

/* ---- names --------------------------------------------------------------------------------------------------------- */

void archive_place_write(const struct archive_place *place, char ret_text[ARCHIVE_PLACE_MAX])
{
    char hash[RECORD_HASH_HEX + 1];
    record_hash_hex(&place->hash, hash);
    snprintf(ret_text, ARCHIVE_PLACE_MAX, "%s %" PRIu64 " %" PRIu64 " %s", place->pack.text, place->offset,
             place->length, hash);
}

enum err archive_place_parse(struct str text, struct archive_place *ret_place)
{
    struct archive_place place;
    struct str rest = text;
    enum err e = id_parse(str_split(&rest, ' '), &place.pack);
    e = e ? e : str_to_u64(str_split(&rest, ' '), &place.offset);
    e = e ? e : str_to_u64(str_split(&rest, ' '), &place.length);
    e = e ? e : record_hash_parse(rest, &place.hash);
    if (e || place.length < 2 * RECORD_HEADER || place.offset > INT64_MAX || place.length > INT64_MAX)
        return ERR_INVALID;
    *ret_place = place;
    return ERR_OK;
}

void archive_pack_key(unsigned partition, const struct id *pack, char ret_key[ARCHIVE_KEY_MAX])
{
    snprintf(ret_key, ARCHIVE_KEY_MAX, "archive.logs/p%02u/%s", partition, pack->text);
}

static struct keyset keys_of(const struct queue *q, const struct id *job)
{
    struct str text = str_of(job->text);
    return (struct keyset){.partition = id_partition(text, q->partitions), .job = text};
}

/* ---- calls and their callbacks ---------------------------------------------------------------------------------------- */

struct ask {
    struct queue *q;
    unsigned partition;
    union {
        archive_taken_cb taken;
        archive_pressed_cb pressed;
        archive_head_cb head;
        archive_page_cb page;
        archive_request_cb request;
        archive_packs_cb packs;
        queue_done_cb done;
    } cb;
    void *arg;
};

static struct ask *ask_new(struct queue *q, void *arg)
{
    struct ask *a = call_memory(sizeof *a);
    a->q = q;
    a->arg = arg;
    return a;
}

static void on_done(void *arg, const struct redis_value *v)
{
    auto_free struct ask *a = arg;
    a->cb.done(a->arg, answer_of(v));
}

/* Of plain commands that answer a number. */
static void on_number(void *arg, const struct redis_value *v)
{
    auto_free struct ask *a = arg;
    a->cb.done(a->arg, v && v->type == REDIS_INTEGER ? QUEUE_OK : QUEUE_UNAVAILABLE);
}

void archive_tell_taken(const struct redis_value *v, archive_taken_cb cb, void *arg)
{
    struct archive_job jobs[ARCHIVE_TAKE_MAX];
    enum queue_answer answer = answer_of(v);
    struct archive_taken taken = {.now_ms = redis_integer(redis_item(v, 1)), .jobs = jobs};
    for (size_t i = 2; answer == QUEUE_OK && i + 1 < v->count && taken.count < ARCHIVE_TAKE_MAX; i += 2) {
        jobs[taken.count].due_ms = redis_integer(&v->items[i + 1]);
        if (id_parse(redis_text(&v->items[i]), &jobs[taken.count].job) == ERR_OK)
            taken.count++;
    }
    cb(arg, answer, &taken);
}

static void on_taken(void *arg, const struct redis_value *v)
{
    auto_free struct ask *a = arg;
    archive_tell_taken(v, a->cb.taken, a->arg);
}

void archive_take(struct queue *q, unsigned partition, unsigned most, bool pressed, int64_t lease_ms,
                  archive_taken_cb cb, void *arg)
{
    struct ask *a = ask_new(q, arg);
    struct keyset keys = {.partition = partition};
    struct call *c = call_script(q, SCRIPT_archive_take, &keys, false);
    a->cb.taken = cb;
    call_int(c, most < ARCHIVE_TAKE_MAX ? most : ARCHIVE_TAKE_MAX);
    call_int(c, pressed);
    call_int(c, lease_ms);
    call_go(c, on_taken, a);
}

void archive_give_back(struct queue *q, unsigned partition, const struct archive_job *jobs, size_t count,
                       queue_done_cb cb, void *arg)
{
    struct ask *a = ask_new(q, arg);
    struct keyset keys = {.partition = partition};
    struct call *c = call_plain(q, "ZADD");
    a->cb.done = cb;
    call_key(c, &keys, "DUE");
    call_cstr(c, "XX");
    for (size_t i = 0; i < count; i++) {
        call_int(c, jobs[i].due_ms);
        call_cstr(c, jobs[i].job.text);
    }
    call_go(c, on_number, a);
}

static void on_bytes(void *arg, const struct redis_value *v)
{
    auto_free struct ask *a = arg;
    uint64_t most = a->q->options.max_bytes / a->q->partitions;
    int64_t bytes = v && v->type == REDIS_STRING ? redis_integer(v) : 0;
    bool many = bytes > 0 && (uint64_t)bytes >= most / 100 * PRESSED_PERCENT;
    a->cb.pressed(a->arg, many || a->q->memory_pressed);
}

void archive_pressed(struct queue *q, unsigned partition, archive_pressed_cb cb, void *arg)
{
    struct ask *a = ask_new(q, arg);
    struct keyset keys = {.partition = partition};
    struct call *c = call_plain(q, "HGET");
    a->cb.pressed = cb;
    call_key(c, &keys, "COUNT");
    call_cstr(c, "bytes");
    call_go(c, on_bytes, a);
}

/* ---- reading a log ----------------------------------------------------------------------------------------------------- */

#define HEAD_TABLE(X)                                                                                        \
    X(TENANT, "tenant")                                                                                      \
    X(USER, "user")                                                                                          \
    X(STATUS, "status")                                                                                      \
    X(LANG, "lang")                                                                                          \
    X(SESSION, "session")                                                                                    \
    X(LAST, "last")                                                                                          \
    X(IDEM, "idem")                                                                                          \
    X(ATTEMPT, "attempt")                                                                                    \
    X(SEQ, "seq")                                                                                            \
    X(CREATED, "created")                                                                                    \
    X(STARTED, "started")                                                                                    \
    X(FINISHED, "finished")                                                                                  \
    X(TTL, "ttl")                                                                                            \
    X(ARCH, "arch")

enum {
#define X(symbol, name) H_##symbol,
    HEAD_TABLE(X)
#undef X
};

static void on_head(void *arg, const struct redis_value *v)
{
    auto_free struct ask *a = arg;
    if (!v || v->type != REDIS_ARRAY) {
        a->cb.head(a->arg, QUEUE_UNAVAILABLE, NULL);
        return;
    }
    struct archive_head head = {
        .tenant = redis_text(redis_item(v, H_TENANT)),
        .user = redis_text(redis_item(v, H_USER)),
        .status = redis_text(redis_item(v, H_STATUS)),
        .lang = redis_text(redis_item(v, H_LANG)),
        .last = redis_text(redis_item(v, H_LAST)),
        .idem = redis_text(redis_item(v, H_IDEM)),
        .attempt = (uint32_t)redis_integer(redis_item(v, H_ATTEMPT)),
        .seq = (uint64_t)redis_integer(redis_item(v, H_SEQ)),
        .created_ms = redis_integer(redis_item(v, H_CREATED)),
        .started_ms = redis_integer(redis_item(v, H_STARTED)),
        .finished_ms = redis_integer(redis_item(v, H_FINISHED)),
        .archived = redis_item(v, H_ARCH)->type == REDIS_STRING,
    };
    head.due_ms = head.finished_ms + redis_integer(redis_item(v, H_TTL));
    bool known = head.status.n && id_parse(redis_text(redis_item(v, H_SESSION)), &head.session) == ERR_OK;
    a->cb.head(a->arg, known ? QUEUE_OK : QUEUE_NOT_FOUND, known ? &head : NULL);
}

void archive_head(struct queue *q, struct id job, archive_head_cb cb, void *arg)
{
    static const char *const fields[] = {
#define X(symbol, name) name,
        HEAD_TABLE(X)
#undef X
    };
    struct ask *a = ask_new(q, arg);
    struct keyset keys = keys_of(q, &job);
    struct call *c = call_plain(q, "HMGET");
    a->cb.head = cb;
    call_key(c, &keys, "JOB");
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        call_cstr(c, fields[i]);
    call_go(c, on_head, a);
}

static bool entry_of(const struct redis_value *v, struct record_entry *ret_entry)
{
    const struct redis_value *list = redis_item(v, 1);
    ret_entry->id = redis_text(redis_item(v, 0));
    ret_entry->pairs = list->count / 2;
    for (size_t i = 0; i < list->count && i < 2 * RECORD_FIELDS_MAX; i++)
        ret_entry->fields[i] = redis_text(&list->items[i]);
    return ret_entry->id.n && ret_entry->pairs <= RECORD_FIELDS_MAX;
}

static void on_page(void *arg, const struct redis_value *v)
{
    auto_free struct ask *a = arg;
    auto_free struct record_entry *entries = calloc(PAGE, sizeof *entries);
    enum queue_answer answer = entries && v && v->type == REDIS_ARRAY ? QUEUE_OK : QUEUE_UNAVAILABLE;
    size_t count = 0;
    for (; answer == QUEUE_OK && count < v->count && count < PAGE; count++)
        if (!entry_of(&v->items[count], &entries[count]))
            answer = QUEUE_CONFLICT;
    a->cb.page(a->arg, answer, entries, answer == QUEUE_OK ? count : 0);
}

void archive_page(struct queue *q, struct id job, const char *after, archive_page_cb cb, void *arg)
{
    struct ask *a = ask_new(q, arg);
    struct keyset keys = keys_of(q, &job);
    char from[EVENT_ID_MAX + 1];
    snprintf(from, sizeof from, "(%s", after);
    struct call *c = call_plain(q, "XRANGE");
    a->cb.page = cb;
    call_key(c, &keys, "LOG");
    call_cstr(c, *after ? from : "-");
    call_cstr(c, "+");
    call_cstr(c, "COUNT");
    call_int(c, PAGE);
    call_go(c, on_page, a);
}

static void on_request(void *arg, const struct redis_value *v)
{
    auto_free struct ask *a = arg;
    bool good = v && v->type == REDIS_STRING;
    a->cb.request(a->arg, good ? QUEUE_OK : QUEUE_UNAVAILABLE, good ? v->text : (struct str){0});
}

void archive_request(struct queue *q, struct id job, uint64_t from, archive_request_cb cb, void *arg)
{
    struct ask *a = ask_new(q, arg);
    struct keyset keys = keys_of(q, &job);
    struct call *c = call_plain(q, "GETRANGE");
    a->cb.request = cb;
    call_key(c, &keys, "REQ");
    call_int(c, (int64_t)from);
    call_int(c, (int64_t)from + RECORD_REQUEST_PIECE - 1);
    call_go(c, on_request, a);
}

/* ---- leaving -------------------------------------------------------------------------------------------------------------- */

static struct call *pack_call(struct queue *q, unsigned partition, const char *command)
{
    struct keyset keys = {.partition = partition};
    struct call *c = call_plain(q, command);
    call_key(c, &keys, "PACKS");
    return c;
}

void archive_register(struct queue *q, unsigned partition, struct str name, int64_t until_ms,
                      queue_done_cb cb, void *arg)
{
    struct ask *a = ask_new(q, arg);
    struct call *c = pack_call(q, partition, "ZADD");
    a->cb.done = cb;
    call_int(c, until_ms);
    call_str(c, name);
    call_go(c, on_number, a);
}

void archive_commit(struct queue *q, const struct archive_commit *commit, queue_done_cb cb, void *arg)
{
    struct ask *a = ask_new(q, arg);
    struct keyset keys = keys_of(q, &commit->job);
    char place[ARCHIVE_PLACE_MAX];
    struct call *c = call_script(q, SCRIPT_archive, &keys, true);
    a->cb.done = cb;
    archive_place_write(&commit->place, place);
    call_cstr(c, commit->job.text);
    call_cstr(c, commit->last);
    call_cstr(c, commit->place.pack.text);
    call_cstr(c, place);
    call_int(c, commit->ttl_ms);
    call_int(c, commit->spare_ms);
    call_go(c, on_done, a);
}

void archive_expire(struct queue *q, struct id job, struct str tenant, struct str idem, queue_done_cb cb,
                    void *arg)
{
    struct ask *a = ask_new(q, arg);
    struct keyset keys = keys_of(q, &job);
    keys.tenant = tenant;
    keys.idem = idem;
    struct call *c = call_script(q, SCRIPT_expire, &keys, true);
    a->cb.done = cb;
    call_cstr(c, job.text);
    call_cstr(c, q->options.key_prefix);
    call_int(c, 0);
    call_go(c, on_done, a);
}

static void on_packs(void *arg, const struct redis_value *v)
{
    auto_free struct ask *a = arg;
    struct str names[ARCHIVE_TAKE_MAX];
    enum queue_answer answer = answer_of(v);
    size_t count = 0;
    for (size_t i = 1; answer == QUEUE_OK && i < v->count && count < ARCHIVE_TAKE_MAX; i++)
        names[count++] = redis_text(&v->items[i]);
    a->cb.packs(a->arg, answer, names, count);
}

void archive_packs(struct queue *q, unsigned partition, unsigned most, int64_t lease_ms, archive_packs_cb cb,
                   void *arg)
{
    struct ask *a = ask_new(q, arg);
    struct keyset keys = {.partition = partition};
    struct call *c = call_script(q, SCRIPT_archive_packs, &keys, false);
    a->cb.packs = cb;
    call_int(c, most < ARCHIVE_TAKE_MAX ? most : ARCHIVE_TAKE_MAX);
    call_int(c, lease_ms);
    call_go(c, on_packs, a);
}

void archive_pack_gone(struct queue *q, unsigned partition, struct str name, queue_done_cb cb, void *arg)
{
    struct ask *a = ask_new(q, arg);
    struct call *c = pack_call(q, partition, "ZREM");
    a->cb.done = cb;
    call_str(c, name);
    call_go(c, on_number, a);
}

void archive_drop(struct queue *q, unsigned partition, unsigned most, int64_t grace_ms, queue_done_cb cb,
                  void *arg)
{
    struct ask *a = ask_new(q, arg);
    struct keyset keys = {.partition = partition};
    struct call *c = call_script(q, SCRIPT_archive_drop, &keys, false);
    a->cb.done = cb;
    call_int(c, most);
    call_int(c, grace_ms);
    call_go(c, on_done, a);
}
