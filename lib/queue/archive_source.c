/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/archive_source.h"

#include "io/store/object_store.h"
#include "queue/internal.h"

#include <string.h>

struct archive_source {
    struct queue *q;
    struct id job;
    struct archive_place place;
    struct object_op *op; /* NULL: it has ended */
    struct record_reader reader;
    archive_source_cb cb;
    void *arg;
    unsigned refs;
    bool paused, closed, over;
};

static void unref(struct archive_source *s)
{
    if (--s->refs > 0)
        return;
    record_reader_free(&s->reader);
    free(s);
}

static void tell(struct archive_source *s, enum source_state state, const struct event *event)
{
    s->over = s->over || state != SOURCE_EVENT;
    if (!s->closed)
        s->cb(s->arg, state, event);
}

static void failed(struct archive_source *s, const char *why)
{
    if (s->over)
        return;
    log_limited(LOG_ERROR, "an archived log cannot be read", F_STR("job", s->job.text),
                F_STR("pack", s->place.pack.text), F_STR("why", why));
    tell(s, SOURCE_FAILED, NULL);
}

static void tell_entry(struct archive_source *s, const struct record_entry *entry)
{
    struct event event;
    enum err e = record_event(entry, s->job, &event);
    if (e == ERR_OK)
        tell(s, SOURCE_EVENT, &event);
    else if (e != ERR_UNSUPPORTED) /* a newer build's: passed over */
        failed(s, "an event cannot be read");
}

static void record_ended(struct archive_source *s)
{
    if (memcmp(s->reader.hash.bytes, s->place.hash.bytes, sizeof s->place.hash.bytes) != 0)
        failed(s, "it is another record");
    else
        tell(s, SOURCE_END, NULL);
}

/* Tells what is there. */
static void drain(struct archive_source *s)
{
    struct record_entry entry;
    enum record_step step = RECORD_EVENT;
    s->refs++;
    while (!s->closed && !s->paused && !s->over && (step == RECORD_EVENT || step == RECORD_TOLD)) {
        step = record_next(&s->reader, &entry);
        if (step == RECORD_EVENT)
            tell_entry(s, &entry);
        else if (step == RECORD_BAD)
            failed(s, s->reader.why);
        else if (step == RECORD_DONE)
            record_ended(s);
        else if (step == RECORD_MORE && !s->op)
            failed(s, "it ends too early");
    }
    unref(s);
}

static void on_data(void *arg, struct str bytes)
{
    struct archive_source *s = arg;
    s->refs++;
    record_feed(&s->reader, bytes);
    drain(s);
    if (s->paused && s->op)
        object_get_pause(s->op);
    unref(s);
}

static void on_done(void *arg, const struct object_result *result)
{
    struct archive_source *s = arg;
    s->op = NULL;
    if (result->e != ERR_OK)
        failed(s, result->why ? result->why : err_text(result->e));
    else
        drain(s);
}

struct archive_source *archive_source_open(struct queue *q, struct id job, const struct archive_place *place,
                                           archive_source_cb cb, void *arg)
{
    char key[ARCHIVE_KEY_MAX];
    struct archive_source *s = q->objects ? calloc(1, sizeof *s) : NULL;
    if (!s)
        return NULL;
    *s = (struct archive_source){.q = q, .job = job, .place = *place, .cb = cb, .arg = arg, .refs = 1};
    record_reader_init(&s->reader);
    archive_pack_key(id_partition(str_of(job.text), q->partitions), &place->pack, key);
    struct object_get get = {.key = key, .from = place->offset, .length = place->length, .data = on_data};
    if (object_get(q->objects, &get, on_done, s, &s->op) != ERR_OK) {
        unref(s);
        return NULL;
    }
    q->stats.archive_reads++;
    return s;
}

void archive_source_pause(struct archive_source *s)
{
    s->paused = true; /* on_data tells the store: nothing but it delivers */
    if (s->op)
        object_get_pause(s->op);
}

void archive_source_resume(struct archive_source *s)
{
    if (!s->paused)
        return;
    s->paused = false;
    s->refs++;
    drain(s);
    if (!s->paused && !s->closed && s->op)
        object_get_resume(s->op);
    unref(s);
}

void archive_source_close(struct archive_source *s)
{
    if (!s)
        return;
    s->closed = true;
    if (s->op)
        object_op_cancel(s->op);
    s->op = NULL;
    unref(s);
}

void queue_set_objects(struct queue *q, struct object_store *objects)
{
    q->objects = objects;
}
