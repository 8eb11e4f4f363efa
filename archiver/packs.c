/* SPDX-License-Identifier: Apache-2.0 */
#include "archiver/archiver.h"

#include "base/log.h"

#include <stdlib.h>

enum { PACKS_AT_ONCE = 64 };

struct doomed {
    struct archiver *a;
    unsigned partition;
    struct id pack;
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

/* Without success it stays marked, and is taken again when the lease is over. */
static void on_deleted(void *arg, const struct object_result *result)
{
    struct doomed *d = arg;
    if (result->e != ERR_OK) {
        log_limited(LOG_WARN, "a pack cannot be deleted yet", F_STR("pack", d->pack.text),
                    F_STR("why", result->why));
        end(d);
        return;
    }
    archiver_point("pack-deleted");
    archive_pack_gone(d->a->queue, d->partition, d->pack, on_gone, d);
}

static void delete_pack(struct archiver *a, unsigned partition, const struct id *pack)
{
    char key[ARCHIVE_KEY_MAX];
    struct doomed *d = malloc(sizeof *d);
    if (!d)
        return;
    *d = (struct doomed){.a = a, .partition = partition, .pack = *pack};
    archive_pack_key(partition, pack, key);
    a->packs_busy++;
    if (object_delete(a->objects.store, key, on_deleted, d, NULL) != ERR_OK)
        end(d);
}

struct look_at {
    struct archiver *a;
    unsigned partition;
};

static void on_packs(void *arg, enum queue_answer answer, const struct id *packs, size_t count)
{
    struct look_at *l = arg;
    struct archiver *a = l->a;
    unsigned partition = l->partition;
    free(l);
    a->packs_busy--;
    if (answer != QUEUE_OK || a->stopping)
        return;
    if (count)
        archiver_point("packs-taken");
    if (count == PACKS_AT_ONCE)
        a->partitions[partition].packs_at = 0;
    for (size_t i = 0; i < count; i++)
        delete_pack(a, partition, &packs[i]);
}

void packs_start(struct archiver *a, unsigned partition)
{
    struct look_at *l = malloc(sizeof *l);
    if (!l)
        return;
    *l = (struct look_at){.a = a, .partition = partition};
    a->packs_busy++;
    archive_packs(a->queue, partition, PACKS_AT_ONCE, ARCHIVER_LEASE_MS, on_packs, l);
}
