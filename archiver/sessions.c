/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that are due: each ends by one script, which also notes its objects for deletion; so it does not matter who else
   looks at the same time. */
#include "archiver/archiver.h"

#include "queue/session.h"

#include <stdlib.h>

enum { SESSIONS_AT_ONCE = 128 };

struct due {
    struct archiver *a;
    unsigned partition;
};

static void on_expired(void *arg, enum queue_answer answer, const struct session_removed *removed)
{
    struct archiver *a = arg;
    (void)removed; /* the script noted their objects */
    a->packs_busy--;
    if (answer == QUEUE_OK)
        metrics_add(a->metrics, METRIC_EXPIRED, METRIC_MOVED_SESSION, 0, 1);
    test_point("session-expired");
}

static void on_sessions(void *arg, enum queue_answer answer, const struct id *sessions, size_t count)
{
    struct due *d = arg;
    struct archiver *a = d->a;
    unsigned partition = d->partition;
    free(d);
    a->packs_busy--;
    if (answer != QUEUE_OK || a->stopping)
        return;
    if (count == SESSIONS_AT_ONCE)
        a->partitions[partition].sessions_at = 0;
    for (size_t i = 0; i < count; i++) {
        a->packs_busy++;
        session_expire(a->queue, sessions[i], SESSION_TOMBSTONE_MS, on_expired, a);
    }
}

void sessions_start(struct archiver *a, unsigned partition)
{
    struct due *d = malloc(sizeof *d);
    if (!d)
        return;
    *d = (struct due){a, partition};
    a->packs_busy++;
    archive_sessions(a->queue, partition, SESSIONS_AT_ONCE, on_sessions, d);
}
