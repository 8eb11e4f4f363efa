/* SPDX-License-Identifier: Apache-2.0 */
/* What a crash left in the object store: uploads in parts that nobody will end, and objects that were put and that nothing in
   Redis names. Deleted is only what is proved to be nobody's: its key is of our making, it is older than whatever may
   still come to name it, younger than this Redis, in a store that belongs to this Redis alone, and the one place that
   could name it does not. One archiver at a time goes through the store, a page at a time. */
#include "archiver/archiver.h"

#include "base/log.h"
#include "queue/orphan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURN_ASK_MS = 60000, AGAIN_MS = 60000, EPOCH_MAX = 64 };
/* An object here for each Redis that has used the store; no tenant can have that name (session_object_name). */
static const char owner_folder[] = "sweep.owner/";

struct orphans {
    struct archiver *a;
    int64_t before_ms, after_ms; /* only what was written between is looked at; by the object store's clock */
    char owner[sizeof owner_folder + EPOCH_MAX];
    char cursor[OBJECT_KEY_MAX + 1]; /* "": that was the last page */
    size_t asked;                    /* questions about the page, and the page itself */
    bool failed;
    uint64_t seen, found;
};

static void next_page(struct orphans *o);

static void on_over(void *arg, enum queue_answer answer)
{
    (void)arg;
    (void)answer; /* else the turn ends by itself */
}

static void end(struct orphans *o)
{
    struct archiver *a = o->a;
    if (o->failed)
        orphan_turn_over(a->queue, AGAIN_MS, on_over, NULL);
    else if (o->found)
        log_info("objects that nothing names will be deleted", F_INT("count", o->found),
                 F_INT("of", o->seen));
    a->packs_busy--;
    a->sweeping = false;
    free(o);
}

static void fail(struct orphans *o, const char *what, const char *why)
{
    log_limited(LOG_WARN, "the object store could not be swept", F_STR("what", what), F_STR("why", why));
    o->failed = true;
    end(o);
}

/* ---- a page ------------------------------------------------------------------------------------------------------------ */

static void answered(struct orphans *o)
{
    if (--o->asked > 0)
        return;
    if (o->failed)
        fail(o, "ask", "Redis cannot be reached");
    else if (o->cursor[0] && !o->a->stopping)
        next_page(o);
    else
        end(o);
}

static void on_noted(void *arg, enum queue_answer answer)
{
    struct orphans *o = arg;
    if (answer == QUEUE_OK) {
        metrics_add(o->a->metrics, METRIC_ORPHANS, 0, 0, 1);
        o->found++;
        test_point("orphan-noted");
    }
    o->failed = o->failed || answer == QUEUE_UNAVAILABLE;
    answered(o);
}

static void look_at(struct orphans *o, const struct object_entry *entry)
{
    struct orphan_key key;
    o->seen++;
    if (entry->meta.time_ms >= o->before_ms || entry->meta.time_ms < o->after_ms ||
        !orphan_key_parse(str_of(entry->key), queue_partitions(o->a->queue), &key))
        return;
    o->asked++;
    orphan_note(o->a->queue, &key, ARCHIVE_DROP_GRACE_MS, on_noted, o);
}

static void on_page(void *arg, const struct object_result *result)
{
    struct orphans *o = arg;
    if (result->e != ERR_OK) {
        fail(o, "list", result->why);
        return;
    }
    test_point("orphans-listed");
    o->asked = 1;
    for (size_t i = 0; i < result->page->count; i++)
        look_at(o, &result->page->entries[i]);
    snprintf(o->cursor, sizeof o->cursor, "%s", result->page->next ? result->page->next : "");
    answered(o);
}

static void next_page(struct orphans *o)
{
    if (object_list(o->a->objects.store, "", o->cursor, OBJECT_LIST_MAX, on_page, o, NULL) != ERR_OK)
        fail(o, "list", "the store holds a name that no object of ours can have");
}

/* ---- uploads in parts ---------------------------------------------------------------------------------------------------- */

static void on_uploads(void *arg, const struct object_result *result)
{
    struct orphans *o = arg;
    if (result->e != ERR_OK) {
        fail(o, "uploads", result->why);
        return;
    }
    if (result->meta.size > 0)
        log_info("unfinished uploads are gone", F_INT("count", result->meta.size));
    metrics_add(o->a->metrics, METRIC_SWEPT_UPLOADS, 0, 0, result->meta.size);
    test_point("uploads-swept");
    next_page(o);
}

/* ---- whose store it is --------------------------------------------------------------------------------------------------- */

static void on_owners(void *arg, const struct object_result *result)
{
    struct orphans *o = arg;
    if (result->e != ERR_OK) {
        fail(o, "list", result->why);
        return;
    }
    for (size_t i = 0; i < result->page->count; i++) {
        const struct object_entry *entry = &result->page->entries[i];
        if (strcmp(entry->key, o->owner) == 0) {
            o->before_ms = entry->meta.time_ms - o->a->config.archive_sweep_grace_ms;
            continue;
        }
        log_limited(
            LOG_WARN,
            "the object store is another Redis's too, so nothing in it is swept; delete the object if that Redis is no more",
            F_STR("object", entry->key));
        end(o);
        return;
    }
    if (object_sweep(o->a->objects.store, "", o->before_ms, on_uploads, o, NULL) != ERR_OK)
        fail(o, "uploads", "out of memory");
}

/* Only behind our own put: of two that come at once, at least one sees the other. When the store says that it was written is now, by
   the one clock that tells how old objects are: an archiver whose own clock is wrong deletes nothing too early. */
static void on_owned(void *arg, const struct object_result *result)
{
    struct orphans *o = arg;
    if (result->e != ERR_OK)
        fail(o, "put", result->why);
    else if (object_list(o->a->objects.store, owner_folder, "", 2, on_owners, o, NULL) != ERR_OK)
        fail(o, "list", "out of memory");
}

static void on_store(void *arg, enum queue_answer answer, struct str epoch, int64_t created_ms)
{
    struct orphans *o = arg;
    if (answer != QUEUE_OK || epoch.n > EPOCH_MAX) {
        fail(o, "ask", "Redis cannot be reached");
        return;
    }
    o->after_ms = created_ms;
    snprintf(o->owner, sizeof o->owner, "%s" STR_FMT, owner_folder, STR_ARG(epoch));
    struct object_put put = {.key = o->owner, .bytes = epoch};
    if (object_put(o->a->objects.store, &put, on_owned, o, NULL) != ERR_OK)
        fail(o, "put", "out of memory");
}

/* ---- whose turn it is ---------------------------------------------------------------------------------------------------- */

static void on_turn(void *arg, enum queue_answer answer)
{
    struct orphans *o = arg;
    if (answer != QUEUE_OK) {
        end(o);
        return;
    }
    test_point("sweep-turn");
    orphan_store(o->a->queue, on_store, o);
}

void orphans_sweep(struct archiver *a)
{
    uint64_t now = uv_now(&a->loop.uv), every = (uint64_t)a->config.archive_sweep_interval_ms;
    struct orphans *o = a->sweep_at > now || a->sweeping ? NULL : calloc(1, sizeof *o);
    if (!o)
        return;
    a->sweep_at = now + (every < TURN_ASK_MS ? every : TURN_ASK_MS);
    a->sweeping = true;
    a->packs_busy++;
    o->a = a;
    orphan_turn(a->queue, (int64_t)every, on_turn, o);
}
