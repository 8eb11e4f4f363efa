/* SPDX-License-Identifier: Apache-2.0 */
#include "archiver/archiver.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PACKS_AT_ONCE = 64, DROPS_AT_ONCE = 1000 };

struct doomed {
    struct archiver *a;
    unsigned partition;
    char name[OBJECT_KEY_MAX + 1], key[OBJECT_KEY_MAX + 1];
};

static void end(struct doomed *d)
{
    d->a->packs_busy--;
    free(d);
}

static void on_gone(void *arg, enum queue_answer answer)
{
    struct doomed *d = arg;
    if (answer == QUEUE_OK)
        metrics_add(d->a->metrics, METRIC_SWEPT, 0, 0, 1);
    end(d);
}

/* Nobody puts it any more, so what was put of it in parts is nobody's either. */
static void on_ended(void *arg, const struct object_result *result)
{
    struct doomed *d = arg;
    if (result->e == ERR_OK)
        metrics_add(d->a->metrics, METRIC_SWEPT_UPLOADS, 0, 0, result->meta.size);
    archive_pack_gone(d->a->queue, d->partition, str_of(d->name), on_gone, d);
}

/* Without success it stays marked, and is taken again when the lease is over. */
static void on_deleted(void *arg, const struct object_result *result)
{
    struct doomed *d = arg;
    if (result->e != ERR_OK) {
        log_limited(LOG_WARN, "an object cannot be deleted yet", F_STR("object", d->name),
                    F_STR("why", result->why));
        end(d);
        return;
    }
    test_point("pack-deleted");
    if (strchr(d->name, '/')) /* written at once: only packs are large */
        archive_pack_gone(d->a->queue, d->partition, str_of(d->name), on_gone, d);
    else if (object_sweep(d->a->objects.store, d->key, INT64_MAX, on_ended, d, NULL) != ERR_OK)
        end(d);
}

/* A name with a slash is an object's key, another one a pack's id. */
static void delete_object(struct archiver *a, unsigned partition, struct str name)
{
    struct id pack;
    struct doomed *d = name.n < sizeof d->name ? malloc(sizeof *d) : NULL;
    if (!d)
        return;
    d->a = a;
    d->partition = partition;
    snprintf(d->name, sizeof d->name, STR_FMT, STR_ARG(name));
    snprintf(d->key, sizeof d->key, "%s", d->name);
    if (id_parse(name, &pack) == ERR_OK)
        archive_pack_key(partition, &pack, d->key);
    a->packs_busy++;
    if (object_delete(a->objects.store, d->key, on_deleted, d, NULL) == ERR_OK)
        return;
    log_limited(LOG_ERROR, "a name that no object can have is to be deleted", F_STR("object", d->name));
    archive_pack_gone(a->queue, partition, name, on_gone, d);
}

struct look_at {
    struct archiver *a;
    unsigned partition;
};

static void on_packs(void *arg, enum queue_answer answer, const struct str *names, size_t count)
{
    struct look_at *l = arg;
    struct archiver *a = l->a;
    unsigned partition = l->partition;
    free(l);
    a->packs_busy--;
    if (answer != QUEUE_OK || a->stopping)
        return;
    if (count)
        test_point("packs-taken");
    if (count == PACKS_AT_ONCE)
        a->partitions[partition].packs_at = 0;
    for (size_t i = 0; i < count; i++)
        delete_object(a, partition, names[i]);
}

static void on_dropped(void *arg, enum queue_answer answer)
{
    (void)arg;
    (void)answer; /* what was not moved is there at the next look */
}

void packs_start(struct archiver *a, unsigned partition)
{
    struct look_at *l = malloc(sizeof *l);
    if (!l)
        return;
    *l = (struct look_at){.a = a, .partition = partition};
    a->packs_busy++;
    archive_packs(a->queue, partition, PACKS_AT_ONCE, ARCHIVER_LEASE_MS, on_packs, l);
    archive_drop(a->queue, partition, DROPS_AT_ONCE, ARCHIVE_DROP_GRACE_MS, on_dropped, NULL);
}
