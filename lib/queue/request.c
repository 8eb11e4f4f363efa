/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/request.h"

#include "queue/internal.h"

enum { OPEN_MS = 2 * 3600 * 1000, CLOSED_MS = 60 * 1000 };

static struct call *make(struct queue *q, const struct request_ref *ref, const char *what, const char *job,
                         int life_ms)
{
    auto_buf owner = BUF_INIT(NAME_MAX_LEN * 2);
    struct keyset keys = {.partition = id_partition(ref->id, q->partitions), .request = ref->id};
    buf_append_str(&owner, ref->tenant);
    buf_append_char(&owner, '\0'); /* which a tenant cannot hold */
    buf_append_str(&owner, ref->user);
    struct call *c = call_script(q, SCRIPT_request, &keys, true);
    call_hasty(c);
    call_cstr(c, what);
    call_str(c, buf_str(&owner));
    call_cstr(c, job);
    call_int(c, life_ms);
    return c;
}

static bool usable(const struct queue *q)
{
    return q->ready && q->partitions > 0;
}

struct asked {
    queue_done_cb done;
    request_cancel_cb cancelled;
    void *arg;
};

static struct asked *asked_new(queue_done_cb done, request_cancel_cb cancelled, void *arg)
{
    struct asked *a = call_memory(sizeof *a);
    *a = (struct asked){.done = done, .cancelled = cancelled, .arg = arg};
    return a;
}

static void on_open(void *arg, const struct redis_value *v)
{
    auto_free struct asked *a = arg;
    a->done(a->arg, answer_of(v));
}

void request_open(struct queue *q, const struct request_ref *ref, struct id job, queue_done_cb cb, void *arg)
{
    struct call *c = usable(q) ? make(q, ref, "open", job.text, OPEN_MS) : call_plain(q, "PING");
    call_go(c, on_open, asked_new(cb, NULL, arg));
}

void request_close(struct queue *q, const struct request_ref *ref)
{
    if (usable(q))
        call_go(make(q, ref, "close", "", CLOSED_MS), NULL, NULL);
}

static void on_cancelled(void *arg, const struct redis_value *v)
{
    auto_free struct asked *a = arg;
    struct id job = {0};
    if (!v || id_parse(redis_text(redis_item(v, 1)), &job) != ERR_OK)
        job.text[0] = '\0';
    a->cancelled(a->arg, answer_of(v), job);
}

void request_cancel(struct queue *q, const struct request_ref *ref, request_cancel_cb cb, void *arg)
{
    struct call *c = usable(q) ? make(q, ref, "cancel", "", CLOSED_MS) : call_plain(q, "PING");
    call_go(c, on_cancelled, asked_new(NULL, cb, arg));
}
