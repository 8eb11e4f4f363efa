/* SPDX-License-Identifier: Apache-2.0 */
/* A command or script call from its making to its answer: sent, repeated after a loss where that is safe, and sent
   whole (EVAL) where the store does not know the script. */
#include "queue/internal.h"

#include <string.h>

/* A client is told at once that the store is away, and asks again by its key; a restart of a few hundred ms it need not
   notice. What a worker has to say can wait. */
enum { MAX_CALL = 80 << 20, RETRY_FOR_MS = 60000, CLIENT_RETRY_FOR_MS = 600, TRANSIENT_PAUSE_MS = 100 };

struct part {
    size_t at, len;
};

struct call {
    struct queue *q;
    struct list link;
    struct buf text;
    struct part *parts;
    size_t count, cap;
    const struct script_text *script; /* NULL: a plain command */
    bool again, early, hasty, in_flight, whole, failed;
    uint64_t deadline, not_before; /* by uv_now */
    call_cb cb;
    void *arg;
};

static void call_free(struct call *c)
{
    list_remove(&c->link);
    buf_free(&c->text);
    free(c->parts);
    free(c);
}

void call_drop(struct call *c)
{
    call_free(c);
}

static void part_end(struct call *c, size_t at)
{
    if (c->count == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 32;
        struct part *parts = realloc(c->parts, cap * sizeof *parts);
        if (!parts) {
            c->failed = true;
            return;
        }
        c->parts = parts;
        c->cap = cap;
    }
    c->parts[c->count++] = (struct part){at, c->text.len - at};
}

void *call_memory(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory)
        abort();
    return memory;
}

void call_str(struct call *c, struct str s)
{
    size_t at = c->text.len;
    buf_append_str(&c->text, s);
    part_end(c, at);
}

void call_cstr(struct call *c, const char *s)
{
    call_str(c, str_of(s));
}

void call_int(struct call *c, int64_t value)
{
    size_t at = c->text.len;
    buf_printf(&c->text, "%lld", (long long)value);
    part_end(c, at);
}

void call_key(struct call *c, const struct keyset *keys, const char *name)
{
    size_t at = c->text.len;
    key_write(c->q, keys, str_of(name), &c->text);
    part_end(c, at);
}

static struct call *call_new(struct queue *q)
{
    struct call *c = call_memory(sizeof *c); /* a few hundred bytes */
    c->q = q;
    c->text = BUF_INIT(MAX_CALL);
    list_init(&c->link);
    return c;
}

struct call *call_plain(struct queue *q, const char *command)
{
    struct call *c = call_new(q);
    call_cstr(c, command);
    return c;
}

void call_early(struct call *c)
{
    c->early = true;
}

void call_hasty(struct call *c)
{
    c->hasty = true;
}

struct call *call_script(struct queue *q, enum script s, const struct keyset *keys, bool again)
{
    struct call *c = call_new(q);
    c->script = script_get(s);
    c->again = again;
    call_cstr(c, "EVALSHA");
    call_cstr(c, c->script->sha);
    call_int(c, 0); /* the number of keys, below */
    struct str rest = str_of(c->script->keys);
    while (rest.p) {
        size_t at = c->text.len;
        key_write(q, keys, str_split(&rest, ' '), &c->text);
        part_end(c, at);
    }
    return c;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void call_end(struct call *c, const struct redis_value *v)
{
    call_cb cb = c->cb;
    void *arg = c->arg;
    struct queue *q = c->q;
    bool failed = !v || v->type == REDIS_ERROR;
    q->stats.commands++;
    q->stats.command_failures += failed;
    call_free(c);
    if (cb)
        cb(arg, v);
}

static void call_send(struct call *c);

static bool may_wait(const struct call *c)
{
    return c->again && !c->q->closing && uv_now(c->q->loop) < c->deadline;
}

static void on_reply(void *arg, const struct redis_value *v)
{
    struct call *c = arg;
    struct queue *q = c->q;
    c->in_flight = false;
    if (!v && may_wait(c))
        return; /* sent again when there is a connection */
    if (!v || v->type != REDIS_ERROR) {
        call_end(c, v);
        return;
    }
    if (c->script && !c->whole && str_starts(v->text, STR("NOSCRIPT"))) {
        c->whole = true;
        call_send(c);
        return;
    }
    if (store_error(q, v->text) && may_wait(c)) {
        c->not_before = uv_now(q->loop) + TRANSIENT_PAUSE_MS;
        return;
    }
    call_end(c, v);
}

/* The keys are those parts that come before the first argument; both begin behind "EVALSHA sha n". */
static void args_of(struct call *c, struct str *args)
{
    for (size_t i = 0; i < c->count; i++)
        args[i] = (struct str){c->text.data + c->parts[i].at, c->parts[i].len};
    if (c->script && c->whole) {
        args[0] = STR("EVAL");
        args[1] = (struct str){c->script->text, c->script->len};
    }
}

static void call_send(struct call *c)
{
    auto_free struct str *args = calloc(c->count, sizeof *args);
    enum err e = c->q->ready || c->early ? ERR_NOMEM : ERR_CLOSED;
    if (e != ERR_CLOSED && args && !c->failed && buf_status(&c->text) == ERR_OK) {
        args_of(c, args);
        e = redis_command(c->q->cmd, args, c->count, 0, on_reply, c);
    }
    if (e == ERR_OK)
        c->in_flight = true;
    else
        c->not_before = e == ERR_CLOSED ? 0 : uv_now(c->q->loop) + TRANSIENT_PAUSE_MS;
}

static size_t count_keys(const struct call *c)
{
    size_t n = 1;
    for (const char *p = c->script->keys; *p; p++)
        n += *p == ' ';
    return n;
}

void call_go_keys(struct call *c, size_t more_keys, call_cb cb, void *arg)
{
    c->cb = cb;
    c->arg = arg;
    c->deadline = uv_now(c->q->loop) + (c->hasty ? CLIENT_RETRY_FOR_MS : RETRY_FOR_MS);
    if (c->script) {
        size_t at = c->text.len;
        buf_printf(&c->text, "%zu", count_keys(c) + more_keys);
        c->parts[2] = (struct part){at, c->text.len - at};
    }
    list_append(&c->q->calls, &c->link);
    call_send(c);
    if (!c->in_flight && !may_wait(c))
        queue_soon(c->q); /* answered in the next turn, never from here */
}

void call_go(struct call *c, call_cb cb, void *arg)
{
    call_go_keys(c, 0, cb, arg);
}

void calls_resend(struct queue *q)
{
    uint64_t now = uv_now(q->loop);
    list_each(c, &q->calls, struct call, link)
    {
        if (!c->in_flight && c->again && c->not_before <= now && q->ready)
            call_send(c);
    }
}

/* Callbacks may make and end calls, so begin anew after each. */
static struct call *next_hopeless(struct queue *q)
{
    list_each(c, &q->calls, struct call, link)
    {
        if (!c->in_flight && !may_wait(c))
            return c;
    }
    return NULL;
}

void calls_tick(struct queue *q)
{
    struct call *c;
    while ((c = next_hopeless(q)))
        call_end(c, NULL);
    calls_resend(q);
}

void calls_fail_all(struct queue *q)
{
    while (!list_empty(&q->calls))
        call_end(list_first(&q->calls, struct call, link), NULL);
}

static struct keyset job_keys(const struct queue *q, const struct id *job)
{
    return (struct keyset){.partition = id_partition(str_of(job->text), q->partitions),
                           .job = str_of(job->text)};
}

void call_head(struct queue *q, const struct id *job, call_cb cb, void *arg)
{
    struct keyset keys = job_keys(q, job);
    struct call *c = call_plain(q, "HMGET");
    call_key(c, &keys, "JOB");
    call_cstr(c, "session");
    call_cstr(c, "class");
    call_go(c, cb, arg);
}

struct keyset head_keys(const struct queue *q, const struct id *job, const struct redis_value *head)
{
    struct keyset keys = job_keys(q, job);
    keys.session = redis_text(redis_item(head, 0));
    keys.class_name = redis_text(redis_item(head, 1));
    return keys;
}

enum queue_answer answer_of(const struct redis_value *v)
{
    static const struct {
        const char *word;
        enum queue_answer answer;
    } words[] = {
        {"ok", QUEUE_OK},         {"dup", QUEUE_DUP},
        {"fenced", QUEUE_FENCED}, {"conflict", QUEUE_CONFLICT},
        {"full", QUEUE_FULL},     {"missing", QUEUE_NOT_FOUND},
        {"closed", QUEUE_CLOSED},
    };
    struct str word = redis_text(redis_item(v, 0));
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (str_eq(word, str_of(words[i].word)))
            return words[i].answer;
    }
    return QUEUE_UNAVAILABLE;
}
