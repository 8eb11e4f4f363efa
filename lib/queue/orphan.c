/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/orphan.h"

#include "queue/internal.h"

#include <stdlib.h>

enum { HASH_LEN = 64 };

/* ---- names ----------------------------------------------------------------------------------------------------------- */

/* "archive.logs/pNN/<pack>", behind the first slash. */
static bool parse_pack(struct str rest, unsigned partitions, struct orphan_key *ret_key)
{
    struct str part = str_split(&rest, '/');
    uint64_t number = 0;
    if (part.n != 3 || part.p[0] != 'p' || str_to_u64((struct str){part.p + 1, 2}, &number) != ERR_OK ||
        number >= partitions || !id_valid(rest))
        return false;
    *ret_key = (struct orphan_key){.partition = (unsigned)number, .name = rest};
    return true;
}

static bool is_hex(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

/* "<hash>-<id>" */
static bool is_hashed(struct str name)
{
    return name.n == HASH_LEN + 1 + ID_LEN && name.p[HASH_LEN] == '-' &&
           is_hex((struct str){name.p, HASH_LEN}) && id_valid((struct str){name.p + HASH_LEN + 1, ID_LEN});
}

/* "<folder>/<session>/<name>": an archived state, a state, or a file. */
bool orphan_key_parse(struct str key, unsigned partitions, struct orphan_key *ret_key)
{
    struct str name = key;
    struct str folder = str_split(&name, '/');
    if (str_eq(folder, STR("archive.logs")))
        return parse_pack(name, partitions, ret_key);
    struct str session = str_split(&name, '/');
    bool state = str_starts(name, STR("state-"));
    if (!id_valid(session) || (!state && !is_hashed(name)))
        return false;
    bool file = !state && !str_eq(folder, STR("archive.state"));
    *ret_key = (struct orphan_key){
        .partition = id_partition(session, partitions),
        .session = session,
        .file = file ? (struct str){name.p + HASH_LEN + 1, ID_LEN} : (struct str){0},
        .name = key,
    };
    return true;
}

/* ---- calls ------------------------------------------------------------------------------------------------------------ */

struct ask {
    union {
        queue_done_cb done;
        orphan_store_cb store;
    } cb;
    void *arg;
};

static struct ask *ask_new(void *arg)
{
    struct ask *a = call_memory(sizeof *a);
    a->arg = arg;
    return a;
}

/* Of SET NX and PEXPIRE: nil and 0 say no. */
static void on_turn(void *arg, const struct redis_value *v)
{
    auto_free struct ask *a = arg;
    enum queue_answer answer = !v || v->type == REDIS_ERROR ? QUEUE_UNAVAILABLE
                               : v->type == REDIS_NIL || (v->type == REDIS_INTEGER && !v->integer)
                                   ? QUEUE_CONFLICT
                                   : QUEUE_OK;
    a->cb.done(a->arg, answer);
}

static void turn(struct queue *q, const char *command, bool take, int64_t ms, queue_done_cb cb, void *arg)
{
    struct ask *a = ask_new(arg);
    struct keyset keys = {.partition = 0};
    struct call *c = call_plain(q, command);
    a->cb.done = cb;
    call_key(c, &keys, "SWEEP");
    if (take) {
        call_cstr(c, "1");
        call_cstr(c, "NX");
        call_cstr(c, "PX");
    }
    call_int(c, ms);
    call_go(c, on_turn, a);
}

void orphan_turn(struct queue *q, int64_t ms, queue_done_cb cb, void *arg)
{
    turn(q, "SET", true, ms, cb, arg);
}

void orphan_turn_over(struct queue *q, int64_t ms, queue_done_cb cb, void *arg)
{
    turn(q, "PEXPIRE", false, ms, cb, arg);
}

static void on_store(void *arg, const struct redis_value *v)
{
    auto_free struct ask *a = arg;
    struct str epoch = redis_text(redis_item(v, 0));
    int64_t created = redis_integer(redis_item(v, 1));
    a->cb.store(a->arg, epoch.n && created > 0 ? QUEUE_OK : QUEUE_UNAVAILABLE, epoch, created);
}

void orphan_store(struct queue *q, orphan_store_cb cb, void *arg)
{
    struct ask *a = ask_new(arg);
    struct keyset keys = {.partition = 0};
    struct call *c = call_plain(q, "HMGET");
    a->cb.store = cb;
    call_key(c, &keys, "STORE");
    call_cstr(c, "epoch");
    call_cstr(c, "created");
    call_go(c, on_store, a);
}

static void on_noted(void *arg, const struct redis_value *v)
{
    auto_free struct ask *a = arg;
    a->cb.done(a->arg, answer_of(v));
}

void orphan_note(struct queue *q, const struct orphan_key *key, int64_t grace_ms, queue_done_cb cb, void *arg)
{
    struct ask *a = ask_new(arg);
    struct keyset keys = {.partition = key->partition, .session = key->session};
    struct call *c = call_script(q, SCRIPT_orphan, &keys, false);
    a->cb.done = cb;
    call_str(c, key->name);
    call_str(c, key->file);
    call_int(c, grace_ms);
    call_go(c, on_noted, a);
}
