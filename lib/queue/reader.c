/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of logs. A topic is a job that somebody here reads: its subscription, its readers, and, for a synchronous
   submit, the messages that came before the reader. A message is a wake-up that may carry what the reader wants
   next; everything else is read from the log. */
#include "queue/archive_source.h"
#include "queue/internal.h"

#include <string.h>

enum { PAGE = 64, HOLD_MAX = 256 << 10 };

struct topic {
    struct idnode node;
    struct list soon; /* in queue.ready_topics while messages are to be handed on */
    struct list readers;
    bool private_channel; /* messages come on this process's channel: no subscription */
    bool subscribed, asked, holding;
    unsigned busy;   /* being handed a message: not to be freed */
    struct buf held; /* messages, each behind its length in decimal and a line end */
};

enum progress { IDLE, OPENING, READING, LIVE, ARCHIVED, OVER };

struct log_reader {
    struct list link;
    struct queue *q;
    struct topic *topic;
    unsigned refs; /* the owner, each read under way, each delivery */
    enum progress progress;
    bool closed, told_caught_up, reread, paused;
    bool allowed;          /* the tenant was checked */
    bool known;            /* and the offset */
    bool archived, passed; /* the log is at `place`; the offset was met there */
    struct archive_place place;
    struct archive_source *source;
    char tenant[NAME_MAX_LEN];
    char id[EVENT_ID_MAX]; /* the last one delivered; "0" */
    uint64_t seq;          /* of it; 0: not known */
    uint64_t heard;        /* the highest that a message spoke of */
    log_reader_cb cb;
    void *arg;
};

static void read_log(struct log_reader *r);

/* ---- topics -------------------------------------------------------------------------------------------------------- */

static struct topic *topic_find(struct queue *q, struct str job)
{
    struct idnode *node = idmap_find(&q->topics, job);
    return node ? container_of(node, struct topic, node) : NULL;
}

static struct topic *topic_get(struct queue *q, const struct id *job)
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

static void topic_free_if_idle(struct queue *q, struct topic *t)
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
    list_each(r, &t->readers, struct log_reader, link) read_log(r);
}

static void topic_subscribe(struct queue *q, struct topic *t)
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

/* ---- delivery ------------------------------------------------------------------------------------------------------ */

static void reader_unref(struct log_reader *r)
{
    if (--r->refs == 0)
        free(r);
}

static void tell(struct log_reader *r, enum reader_state state, const struct event *e)
{
    if (r->closed)
        return;
    if (state != READER_EVENT && state != READER_CAUGHT_UP)
        r->progress = OVER;
    r->cb(r->arg, state, e);
}

/* The next event in order. */
static void deliver(struct log_reader *r, const struct event *e)
{
    memcpy(r->id, e->id, sizeof r->id);
    r->seq = e->seq;
    tell(r, READER_EVENT, e);
    if (!r->closed && event_is_terminal(e->type))
        tell(r, READER_END, NULL);
}

/* ---- an archived log ------------------------------------------------------------------------------------------- */

static void stop_source(struct log_reader *r)
{
    archive_source_close(r->source);
    r->source = NULL;
}

static void archive_event(struct log_reader *r, const struct event *e)
{
    int order = strcmp(r->id, "0") == 0 ? 1 : event_id_compare(e->id, r->id);
    if (order > 0 && (r->passed || strcmp(r->id, "0") == 0)) {
        r->passed = true;
        deliver(r, e);
    } else if (order > 0) {
        tell(r, READER_BAD_OFFSET, NULL);
    } else if (order == 0) {
        r->passed = true;
        r->seq = e->seq;
        if (event_is_terminal(e->type))
            tell(r, READER_END, NULL);
    }
}

static void on_archived(void *arg, enum source_state state, const struct event *e)
{
    struct log_reader *r = arg;
    r->refs++;
    if (state == SOURCE_EVENT)
        archive_event(r, e);
    else if (r->progress != OVER)
        tell(r,
             state == SOURCE_FAILED ? READER_UNAVAILABLE
             : r->passed            ? READER_GONE
                                    : READER_BAD_OFFSET,
             NULL);
    if (r->progress == OVER || r->closed)
        stop_source(r);
    reader_unref(r);
}

static void read_archive(struct log_reader *r)
{
    r->progress = ARCHIVED;
    r->source = archive_source_open(r->q, r->topic->node.id, &r->place, on_archived, r);
    if (!r->source)
        tell(r, READER_UNAVAILABLE, NULL);
    else if (r->paused)
        archive_source_pause(r->source);
}

/* ---- delivery, live ------------------------------------------------------------------------------------------------ */

static bool wants(const struct log_reader *r)
{
    return !r->closed && r->progress != OVER && !r->paused;
}

static void take_message(struct log_reader *r, const struct message *m)
{
    if (m->seq > r->heard)
        r->heard = m->seq;
    if (r->progress == READING) /* the read may have been made before this: once more */
        r->reread = r->reread || m->seq > r->seq;
    if (!wants(r) || r->progress != LIVE)
        return;
    r->refs++;
    for (size_t i = 0; i < m->count && wants(r); i++) {
        if (m->events[i].seq == r->seq + 1)
            deliver(r, &m->events[i]);
    }
    if (wants(r) && r->heard > r->seq)
        read_log(r);
    reader_unref(r);
}

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
        take_message(r, m);
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

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static void finish_read(struct log_reader *r, bool more)
{
    if (!wants(r))
        return;
    r->progress = LIVE;
    if (more || r->reread || r->heard > r->seq) {
        r->reread = false;
        read_log(r);
        return;
    }
    if (!r->told_caught_up) {
        r->told_caught_up = true;
        tell(r, READER_CAUGHT_UP, NULL);
    }
}

/* What an unknown type, written by a newer build, means to the order: one more. */
static void skip(struct log_reader *r, const struct redis_value *entry)
{
    struct str id = redis_text(redis_item(entry, 0));
    if (id.n >= sizeof r->id)
        return;
    memcpy(r->id, id.p, id.n);
    r->id[id.n] = '\0';
    r->seq++;
}

static void on_entries(void *arg, const struct redis_value *v)
{
    struct log_reader *r = arg;
    size_t count = v && v->type == REDIS_ARRAY ? v->count : 0;
    bool failed = !v || v->type != REDIS_ARRAY;
    if (r->progress == READING)
        r->progress = LIVE;
    for (size_t i = 0; i < count && wants(r); i++) {
        struct event e;
        enum err err = entry_decode(&v->items[i], r->topic->node.id, &e);
        if (err != ERR_OK)
            skip(r, &v->items[i]);
        else if (e.seq > r->seq) /* a read that overlaps another, after pause and resume */
            deliver(r, &e);
    }
    /* A failed read is made again by the next second. A log that ends before what was heard of is read again, but
       without haste. */
    if (!failed && wants(r)) {
        if (count == 0 && r->heard > r->seq) /* has it left for the archive? */
            r->known = false;
        if (count < PAGE && r->heard > r->seq && !r->reread)
            r->heard = r->seq;
        finish_read(r, count == PAGE);
    }
    reader_unref(r);
}

static void send_read(struct log_reader *r)
{
    struct keyset keys = {.partition = id_partition(str_of(r->topic->node.id.text), r->q->partitions),
                          .job = str_of(r->topic->node.id.text)};
    char from[EVENT_ID_MAX + 1];
    snprintf(from, sizeof from, "(%s", r->id);
    struct call *c = call_plain(r->q, "XRANGE");
    call_key(c, &keys, "LOG");
    call_cstr(c, strcmp(r->id, "0") == 0 ? "-" : from);
    call_cstr(c, "+");
    call_cstr(c, "COUNT");
    call_int(c, PAGE);
    r->progress = READING;
    r->q->stats.log_reads++;
    r->refs++;
    call_go(c, on_entries, r);
}

/* ---- opening -------------------------------------------------------------------------------------------------------- */

/* HMGET tenant status last; EXISTS log; XRANGE of the offset: answers arrive in this order. */
static void on_offset(void *arg, const struct redis_value *v)
{
    struct log_reader *r = arg;
    bool from_start = strcmp(r->id, "0") == 0;
    if (!r->closed && r->progress == OPENING) {
        const struct redis_value *entry = redis_item(v, 0);
        struct event e;
        if (!r->allowed || !v || v->type != REDIS_ARRAY) {
            r->progress = IDLE; /* again in a second */
        } else if (r->archived) {
            r->known = true;
            read_archive(r);
        } else if (!from_start && v->count == 0) {
            tell(r, READER_BAD_OFFSET, NULL);
        } else {
            r->known = true;
            if (!from_start && entry_decode(entry, r->topic->node.id, &e) == ERR_OK) {
                r->seq = e.seq;
                if (event_is_terminal(e.type))
                    tell(r, READER_END, NULL);
            }
            if (wants(r))
                send_read(r);
        }
    }
    reader_unref(r);
}

static void on_head(void *arg, const struct redis_value *v)
{
    struct log_reader *r = arg;
    struct str tenant = redis_text(redis_item(v, 0));
    if (!r->closed && r->progress == OPENING && v && v->type == REDIS_ARRAY) {
        if (tenant.n == 0 || !str_eq(tenant, str_of(r->tenant)))
            tell(r, READER_NOT_FOUND, NULL);
        else
            r->allowed = true;
        r->archived = archive_place_parse(redis_text(redis_item(v, 1)), &r->place) == ERR_OK;
    }
    reader_unref(r);
}

static void on_log_exists(void *arg, const struct redis_value *v)
{
    struct log_reader *r = arg;
    if (!r->closed && r->progress == OPENING && v && v->type == REDIS_INTEGER && v->integer == 0 &&
        !r->archived)
        tell(r, READER_GONE, NULL);
    reader_unref(r);
}

static void open_log(struct log_reader *r)
{
    struct queue *q = r->q;
    struct str job = str_of(r->topic->node.id.text);
    struct keyset keys = {.partition = id_partition(job, q->partitions), .job = job};
    r->progress = OPENING;
    struct call *head = call_plain(q, "HMGET");
    call_key(head, &keys, "JOB");
    call_cstr(head, "tenant");
    call_cstr(head, "arch");
    struct call *exists = call_plain(q, "EXISTS");
    call_key(exists, &keys, "LOG");
    struct call *offset = call_plain(q, "XRANGE");
    call_key(offset, &keys, "LOG");
    call_cstr(offset, strcmp(r->id, "0") == 0 ? "-" : r->id);
    call_cstr(offset, strcmp(r->id, "0") == 0 ? "+" : r->id);
    call_cstr(offset, "COUNT");
    call_int(offset, 1);
    r->refs += 3;
    call_go(head, on_head, r);
    call_go(exists, on_log_exists, r);
    call_go(offset, on_offset, r);
}

static void read_log(struct log_reader *r)
{
    if (!wants(r) || !r->q->ready || r->progress == ARCHIVED)
        return;
    if (r->progress == READING || r->progress == OPENING)
        r->reread = r->progress == READING;
    else if (!r->known)
        open_log(r);
    else
        send_read(r);
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
            if (it->progress == LIVE && !it->closed)
                r = it;
        }
        if (r)
            tell(r, READER_GONE, NULL);
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
        if (r->progress == LIVE && !r->paused && t->subscribed && m.seq > r->heard && m.seq > r->seq)
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
            live = live || (r->progress == LIVE && !r->paused);
            if (r->progress == IDLE && (t->subscribed || t->private_channel || !redis_up(q->sub)))
                read_log(r);
        }
        if (live)
            ask_seq(q, t);
    }
}

/* ---- interface ------------------------------------------------------------------------------------------------------ */

static struct log_reader *reader_new(struct queue *q, struct topic *t, const char *after, log_reader_cb cb,
                                     void *arg)
{
    struct log_reader *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->q = q;
    r->topic = t;
    r->refs = 1;
    r->cb = cb;
    r->arg = arg;
    snprintf(r->id, sizeof r->id, "%s", after && *after ? after : "0");
    list_append(&t->readers, &r->link);
    return r;
}

struct log_reader *log_reader_open(struct queue *q, struct str tenant, struct id job, struct str after,
                                   log_reader_cb cb, void *arg)
{
    char offset[EVENT_ID_MAX] = "0";
    uint64_t ms, n;
    bool bad = after.n && (event_id_parse(after, &ms, &n) != ERR_OK);
    if (after.n && !bad)
        snprintf(offset, sizeof offset, "%llu-%llu", (unsigned long long)ms, (unsigned long long)n);
    struct topic *t = tenant.n < NAME_MAX_LEN ? topic_get(q, &job) : NULL;
    struct log_reader *r = t ? reader_new(q, t, strcmp(offset, "0-0") == 0 ? "0" : offset, cb, arg) : NULL;
    if (!r) {
        if (t)
            topic_free_if_idle(q, t);
        return NULL;
    }
    snprintf(r->tenant, sizeof r->tenant, STR_FMT, STR_ARG(tenant));
    if (bad) /* no entry has this id */
        snprintf(r->id, sizeof r->id, "18446744073709551615-18446744073709551615");
    if (t->private_channel)
        t->private_channel = false;
    topic_subscribe(q, t);
    if (t->subscribed || !redis_up(q->sub))
        read_log(r); /* else when the subscription stands */
    return r;
}

struct log_reader *log_reader_open_sync(struct queue *q, struct id job, const char *after, log_reader_cb cb,
                                        void *arg)
{
    enum { QUEUED_SEQ = 2 }; /* submit appends `submitted` and `queued` */
    struct topic *t = topic_get(q, &job);
    struct log_reader *r = t ? reader_new(q, t, after, cb, arg) : NULL;
    if (!r) {
        if (t)
            topic_free_if_idle(q, t);
        return NULL;
    }
    r->known = true;
    r->seq = after && *after ? QUEUED_SEQ : 0;
    r->progress = LIVE;
    r->told_caught_up = true;
    return r;
}

void log_reader_close(struct log_reader *reader)
{
    struct topic *t = reader->topic;
    struct queue *q = reader->q;
    reader->closed = true;
    list_remove(&reader->link);
    stop_source(reader);
    topic_free_if_idle(q, t);
    reader_unref(reader);
}

void log_reader_pause(struct log_reader *reader)
{
    reader->paused = true;
    if (reader->source)
        archive_source_pause(reader->source);
}

void log_reader_resume(struct log_reader *reader)
{
    if (!reader->paused)
        return;
    reader->paused = false;
    if (reader->progress == LIVE)
        reader->progress = IDLE;
    if (reader->source)
        archive_source_resume(reader->source);
    else
        read_log(reader);
}

void topics_free(struct queue *q)
{
    idmap_each(t, &q->topics, struct topic, node)
    {
        list_each(r, &t->readers, struct log_reader, link)
        {
            r->closed = true;
            list_remove(&r->link);
            stop_source(r);
            reader_unref(r);
        }
        t->holding = false;
        t->busy = 0;
        topic_free_if_idle(q, t);
    }
}
