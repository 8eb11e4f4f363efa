/* SPDX-License-Identifier: Apache-2.0 */
/* Which jobs are listened to, and what is done with messages: each is a wake-up that may carry what a reader wants next. */
#include "queue/topic.h"

#include <stdlib.h>

enum { HOLD_MAX = 256 << 10 };

static struct topic *topic_find(struct queue *q, struct str job)
{
    struct idnode *node = idmap_find(&q->topics, job);
    return node ? container_of(node, struct topic, node) : NULL;
}

struct topic *topic_get(struct queue *q, const struct id *job)
{
    struct topic *t = topic_find(q, str_of(job->text));
    if (t)
        return t;
    t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    list_init(&t->readers);
    list_init(&t->soon);
    t->held = BUF_INIT(HOLD_MAX);
    idmap_add(&q->topics, &t->node, job);
    return t;
}

static void channel_of(const struct queue *q, const char *kind, const char *name, struct buf *out)
{
    buf_printf(out, "%s%s:%s", q->options.key_prefix, kind, name);
}

void topic_free_if_idle(struct queue *q, struct topic *t)
{
    if (t->busy || t->holding || !list_empty(&t->readers))
        return;
    if (t->asked) {
        auto_buf channel = BUF_INIT(256);
        channel_of(q, "ev", t->node.id.text, &channel);
        enum err e = redis_unsubscribe(q->sub, buf_str(&channel));
        (void)e; /* without a connection there is no subscription */
    }
    list_remove(&t->soon);
    idmap_remove(&q->topics, &t->node);
    buf_free(&t->held);
    free(t);
}

struct subscription {
    struct queue *q;
    struct id job;
};

static void on_subscribed(void *arg, const struct redis_value *v)
{
    auto_free struct subscription *s = arg;
    struct topic *t = topic_find(s->q, str_of(s->job.text));
    if (!t || !v)
        return;
    t->subscribed = true;
    list_each(r, &t->readers, struct log_reader, link) reader_read(r);
}

void topic_subscribe(struct queue *q, struct topic *t)
{
    if (t->asked || t->private_channel || !redis_up(q->sub))
        return;
    struct subscription *s = malloc(sizeof *s);
    auto_buf channel = BUF_INIT(256);
    channel_of(q, "ev", t->node.id.text, &channel);
    if (!s)
        return;
    *s = (struct subscription){.q = q, .job = t->node.id};
    if (redis_subscribe(q->sub, buf_str(&channel), on_subscribed, s) == ERR_OK)
        t->asked = true;
    else
        free(s);
}

static void on_own_channel(void *arg, const struct redis_value *v)
{
    (void)arg;
    (void)v; /* if it is lost, topics_connected comes again */
}

void topics_connected(struct queue *q)
{
    auto_buf channel = BUF_INIT(256);
    channel_of(q, "to", q->process, &channel);
    if (redis_subscribe(q->sub, buf_str(&channel), on_own_channel, NULL) != ERR_OK)
        return;
    idmap_each(t, &q->topics, struct topic, node)
    {
        t->asked = t->subscribed = false;
        topic_subscribe(q, t);
    }
}

struct topic *topic_hold(struct queue *q, const struct id *job)
{
    struct topic *t = topic_get(q, job);
    if (!t)
        return NULL;
    t->private_channel = list_empty(&t->readers);
    t->holding = true;
    return t;
}

/* ---- messages ------------------------------------------------------------------------------------------------------ */

static void topic_message(struct queue *q, struct topic *t, const struct message *m)
{
    t->busy++;
    /* A reader that closes itself, or its neighbour, leaves the list: take each by its turn in a second one. */
    struct list todo;
    list_init(&todo);
    while (!list_empty(&t->readers)) {
        struct list *first = t->readers.next;
        list_remove(first);
        list_append(&todo, first);
    }
    while (!list_empty(&todo)) {
        struct log_reader *r = list_first(&todo, struct log_reader, link);
        list_remove(&r->link);
        list_append(&t->readers, &r->link);
        reader_take(r, m);
    }
    t->busy--;
    topic_free_if_idle(q, t);
}

static void dispatch(struct queue *q, struct topic *t, struct str payload)
{
    struct message m;
    if (message_parse(payload, &m) == ERR_OK)
        topic_message(q, t, &m);
}

static void hold(struct topic *t, struct str payload)
{
    size_t before = t->held.len;
    buf_printf(&t->held, "%zu\n", payload.n);
    buf_append_str(&t->held, payload);
    if (buf_status(&t->held) != ERR_OK) { /* the reader will find a gap and read the log */
        t->held.len = before;
        t->held.failed = ERR_OK;
    }
}

void on_pubsub(void *arg, struct str channel, struct str payload)
{
    struct queue *q = arg;
    struct str rest = payload;
    (void)channel; /* the job is in the message */
    if (q->consumer && str_starts(payload, STR("handed "))) {
        consumer_handed(q, payload);
        return;
    }
    struct topic *t = topic_find(q, str_split(&rest, ' '));
    struct message m;
    if (q->consumer && message_parse(payload, &m) == ERR_OK)
        consumer_message(q, &m);
    if (!t)
        return;
    if (t->holding)
        hold(t, payload);
    else
        dispatch(q, t, payload);
}

void topic_keep(struct queue *q, const struct id *job, struct str message)
{
    struct topic *t = message.n ? topic_find(q, str_of(job->text)) : NULL;
    if (t && t->holding)
        hold(t, message);
}

static void release_held(struct queue *q, struct topic *t)
{
    struct buf held = t->held;
    t->held = BUF_INIT(HOLD_MAX);
    t->holding = false;
    list_remove(&t->soon);
    t->busy++;
    struct str rest = buf_str(&held);
    while (rest.n > 0) {
        uint64_t len = 0;
        struct str count = str_split(&rest, '\n');
        if (str_to_u64(count, &len) != ERR_OK || len > rest.n)
            break;
        dispatch(q, t, (struct str){rest.p, (size_t)len});
        rest = (struct str){rest.p + len, rest.n - (size_t)len};
    }
    t->busy--;
    buf_free(&held);
    topic_free_if_idle(q, t);
}

void topics_soon(struct queue *q)
{
    while (!list_empty(&q->ready_topics))
        release_held(q, list_first(&q->ready_topics, struct topic, soon));
}

void topic_unhold(struct queue *q, struct topic *t)
{
    if (!list_empty(&t->soon))
        return;
    list_append(&q->ready_topics, &t->soon);
    queue_soon(q);
}

/* ---- each second: what if a message was lost? -------------------------------------------------------------------- */

static void topic_gone(struct queue *q, struct topic *t)
{
    t->busy++;
    struct log_reader *r = NULL;
    do {
        r = NULL;
        list_each(it, &t->readers, struct log_reader, link)
        {
            if (it->progress == PROGRESS_LIVE && !it->closed)
                r = it;
        }
        if (r)
            reader_gone(r);
    } while (r);
    t->busy--;
    topic_free_if_idle(q, t);
}

static void on_seq(void *arg, const struct redis_value *v)
{
    auto_free struct subscription *s = arg;
    struct topic *t = topic_find(s->q, str_of(s->job.text));
    struct message m;
    if (!t || !v || v->type == REDIS_ERROR)
        return;
    if (v->type == REDIS_NIL) {
        topic_gone(s->q, t);
        return;
    }
    m.job = s->job;
    m.count = 0;
    m.seq = (uint64_t)redis_integer(v);
    list_each(r, &t->readers, struct log_reader, link)
    {
        if (r->progress == PROGRESS_LIVE && !r->paused && t->subscribed && m.seq > r->heard && m.seq > r->seq)
            s->q->stats.wakeups_lost++;
    }
    topic_message(s->q, t, &m);
}

/* One question for all readers of a job. */
static void ask_seq(struct queue *q, struct topic *t)
{
    struct str job = str_of(t->node.id.text);
    struct keyset keys = {.partition = id_partition(job, q->partitions), .job = job};
    struct subscription *s = malloc(sizeof *s);
    if (!s)
        return;
    *s = (struct subscription){.q = q, .job = t->node.id};
    struct call *c = call_plain(q, "HGET");
    call_key(c, &keys, "JOB");
    call_cstr(c, "seq");
    call_go(c, on_seq, s);
}

static void on_pong(void *arg, const struct redis_value *v)
{
    (void)arg;
    (void)v; /* without one in time the connection is dropped and made anew */
}

/* A connection that only listens would not notice that its peer is gone. */
static void ask_whether_alive(struct queue *q)
{
    enum { EVERY = 5 };
    if (++q->listened % EVERY != 0 || !redis_up(q->sub))
        return;
    enum err e = redis_command(q->sub, (struct str[]){STR("PING")}, 1, 0, on_pong, NULL);
    (void)e; /* not up: then it is being made anew already */
}

void topics_second(struct queue *q)
{
    if (!q->ready)
        return;
    ask_whether_alive(q);
    idmap_each(t, &q->topics, struct topic, node)
    {
        bool live = false;
        topic_subscribe(q, t);
        list_each(r, &t->readers, struct log_reader, link)
        {
            live = live || (r->progress == PROGRESS_LIVE && !r->paused);
            if (r->progress == PROGRESS_IDLE && (t->subscribed || t->private_channel || !redis_up(q->sub)))
                reader_read(r);
        }
        if (live)
            ask_seq(q, t);
    }
}

/* ---- the end -------------------------------------------------------------------------------------------------------- */

void topics_free(struct queue *q)
{
    idmap_each(t, &q->topics, struct topic, node)
    {
        list_each(r, &t->readers, struct log_reader, link)
        {
            reader_drop(r);
        }
        t->holding = false;
        t->busy = 0;
        topic_free_if_idle(q, t);
    }
}
