/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in the object store, read for the comparison: one object at a time, each waited for. */
#include "queue/archive.h"
#include "tools/millrace/verify_fold.h"

#include <stdio.h>
#include <string.h>

/* ---- one object ------------------------------------------------------------------------------------------------------ */

struct reading {
    bool done;
    enum err e;
    char why[200];
};

static void on_done(void *arg, const struct object_result *result)
{
    struct reading *reading = arg;
    reading->done = true;
    reading->e = result->e;
    snprintf(reading->why, sizeof reading->why, "%s", result->why ? result->why : "");
}

/* False: it was told; a store that cannot be asked ends the whole look. `get->data` has the reader's `arg` first. */
static bool wait_for(struct verify *v, const char *key, const char *object, enum err begun,
                     const struct reading *reading)
{
    while (begun == ERR_OK && !reading->done)
        uv_run(&v->store->loop, UV_RUN_ONCE);
    enum err e = begun ? begun : reading->e;
    if (e == ERR_OK)
        return true;
    if (e == ERR_NOT_FOUND || e == ERR_CORRUPT || e == ERR_RANGE || e == ERR_INVALID) {
        verify_differs(v, key, "the object %s: %s", object,
                       e == ERR_NOT_FOUND ? "there is none" : "it is not what was put");
        return false;
    }
    fprintf(stderr, "millrace: the object store: %s\n", reading->why[0] ? reading->why : err_text(e));
    v->failed = true;
    return false;
}

struct seen {
    struct reading reading; /* first: what on_done gets */
};

static void ignore(void *arg, struct str bytes)
{
    (void)arg;
    (void)bytes; /* its hash is what counts */
}

void verify_object(struct verify *v, const char *key, const char *object, const struct sha256 *hash)
{
    struct seen seen = {0};
    struct object_get get = {.key = object, .sha256 = hash, .data = ignore};
    enum err e = object_get(v->objects.store, &get, on_done, &seen, NULL);
    (void)wait_for(v, key, object, e, &seen.reading); /* it tells */
}

/* ---- a log ------------------------------------------------------------------------------------------------------------ */

struct pack {
    struct reading reading; /* first */
    struct verify *v;
    const char *key;
    struct id job;
    struct record_reader reader;
    struct folded f;
    bool whole, bad;
};

static void take_entry(struct pack *p, const struct record_entry *entry)
{
    struct event e;
    enum err found = record_event(entry, p->job, &e);
    if (found == ERR_OK)
        verify_fold(p->v, p->key, &p->f, &e);
    else if (found != ERR_UNSUPPORTED) /* a newer build's */
        p->bad = true;
}

static void on_piece(void *arg, struct str bytes)
{
    struct pack *p = arg;
    struct record_entry entry;
    enum record_step step = RECORD_TOLD;
    record_feed(&p->reader, bytes);
    while (step == RECORD_TOLD || step == RECORD_EVENT) {
        step = record_next(&p->reader, &entry);
        if (step == RECORD_EVENT)
            take_entry(p, &entry);
    }
    p->whole = p->whole || step == RECORD_DONE;
    p->bad = p->bad || step == RECORD_BAD;
}

bool verify_pack(struct verify *v, const char *key, const char *job, const struct archive_place *place,
                 struct folded *ret_folded)
{
    char object[ARCHIVE_KEY_MAX];
    struct pack p = {.v = v, .key = key};
    if (id_parse(str_of(job), &p.job) != ERR_OK)
        return false;
    record_reader_init(&p.reader);
    archive_pack_key(v->partition, &place->pack, object);
    struct object_get get = {.key = object, .from = place->offset, .length = place->length, .data = on_piece};
    enum err e = object_get(v->objects.store, &get, on_done, &p, NULL);
    bool good = wait_for(v, key, object, e, &p.reading);
    if (good && (p.bad || !p.whole ||
                 memcmp(p.reader.hash.bytes, place->hash.bytes, sizeof place->hash.bytes) != 0)) {
        verify_differs(v, key, "arch: the record in the pack is not the one that was put");
        good = false;
    }
    record_reader_free(&p.reader);
    if (good)
        *ret_folded = p.f;
    return good;
}
