/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of logs. What a message does not carry is read from the log, or from the archive. */
#include "queue/topic.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 64 };

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
        r->progress = PROGRESS_OVER;
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
    else if (r->progress != PROGRESS_OVER)
        tell(r,
             state == SOURCE_FAILED ? READER_UNAVAILABLE
             : r->passed            ? READER_GONE
                                    : READER_BAD_OFFSET,
             NULL);
    if (r->progress == PROGRESS_OVER || r->closed)
        stop_source(r);
    reader_unref(r);
}

static void read_archive(struct log_reader *r)
{
    r->progress = PROGRESS_ARCHIVED;
    r->source = archive_source_open(r->q, r->topic->node.id, &r->place, on_archived, r);
    if (!r->source)
        tell(r, READER_UNAVAILABLE, NULL);
    else if (r->paused)
        archive_source_pause(r->source);
}

/* ---- delivery, live ------------------------------------------------------------------------------------------------ */

static bool wants(const struct log_reader *r)
{
    return !r->closed && r->progress != PROGRESS_OVER && !r->paused;
}

void reader_take(struct log_reader *r, const struct message *m)
{
    if (m->seq > r->heard)
        r->heard = m->seq;
    if (r->progress == PROGRESS_READING) /* the read may have been made before this: once more */
        r->reread = r->reread || m->seq > r->seq;
    if (!wants(r) || r->progress != PROGRESS_LIVE)
        return;
    r->refs++;
    for (size_t i = 0; i < m->count && wants(r); i++) {
        if (m->events[i].seq == r->seq + 1)
            deliver(r, &m->events[i]);
    }
    if (wants(r) && r->heard > r->seq)
        reader_read(r);
    reader_unref(r);
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static void finish_read(struct log_reader *r, bool more)
{
    if (!wants(r))
        return;
    r->progress = PROGRESS_LIVE;
    if (more || r->reread || r->heard > r->seq) {
        r->reread = false;
        reader_read(r);
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
    if (r->progress == PROGRESS_READING)
        r->progress = PROGRESS_LIVE;
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
    r->progress = PROGRESS_READING;
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
    if (!r->closed && r->progress == PROGRESS_OPENING) {
        const struct redis_value *entry = redis_item(v, 0);
        struct event e;
        if (!r->allowed || !v || v->type != REDIS_ARRAY) {
            r->progress = PROGRESS_IDLE; /* again in a second */
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
    if (!r->closed && r->progress == PROGRESS_OPENING && v && v->type == REDIS_ARRAY) {
        if (tenant.n == 0)
            tell(r, r->allowed ? READER_GONE : READER_NOT_FOUND, NULL);
        else if (!r->allowed && !str_eq(tenant, str_of(r->tenant)))
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
    if (!r->closed && r->progress == PROGRESS_OPENING && v && v->type == REDIS_INTEGER && v->integer == 0 &&
        !r->archived)
        tell(r, READER_GONE, NULL);
    reader_unref(r);
}

static void open_log(struct log_reader *r)
{
    struct queue *q = r->q;
    struct str job = str_of(r->topic->node.id.text);
    struct keyset keys = {.partition = id_partition(job, q->partitions), .job = job};
    r->progress = PROGRESS_OPENING;
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

void reader_read(struct log_reader *r)
{
    if (!wants(r) || !r->q->ready || r->progress == PROGRESS_ARCHIVED)
        return;
    if (r->progress == PROGRESS_READING || r->progress == PROGRESS_OPENING)
        r->reread = r->progress == PROGRESS_READING;
    else if (!r->known)
        open_log(r);
    else
        send_read(r);
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
        reader_read(r); /* else when the subscription stands */
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
    r->known = r->allowed = true; /* whoever submits a job may read it */
    r->seq = after && *after ? QUEUED_SEQ : 0;
    r->progress = PROGRESS_LIVE;
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
    if (reader->progress == PROGRESS_LIVE)
        reader->progress = PROGRESS_IDLE;
    if (reader->source)
        archive_source_resume(reader->source);
    else
        reader_read(reader);
}

void reader_gone(struct log_reader *r)
{
    tell(r, READER_GONE, NULL);
}

void reader_drop(struct log_reader *r)
{
    r->closed = true;
    list_remove(&r->link);
    stop_source(r);
    reader_unref(r);
}
