/* SPDX-License-Identifier: Apache-2.0 */
#include "archiver/archiver.h"

enum { FIRST_PAUSE_MS = 1000, LONGEST_PAUSE_MS = 60000 };

static uint64_t pause_after(const struct archiver *a, unsigned failures)
{
    uint64_t pause = FIRST_PAUSE_MS, most = (uint64_t)a->config.archive_interval_ms;
    most = most < LONGEST_PAUSE_MS ? most : LONGEST_PAUSE_MS;
    for (unsigned i = 1; i < failures && pause < most; i++)
        pause *= 2;
    return pause < most ? pause : most;
}

void archiver_looked(struct archiver *a, unsigned partition, enum look look)
{
    struct partition *p = &a->partitions[partition];
    uint64_t now = uv_now(&a->loop.uv);
    p->failures = look == LOOK_FAILED ? p->failures + 1 : 0;
    p->pressed = p->pressed && look == LOOK_MORE;
    if (look == LOOK_FAILED)
        p->logs_at = now + pause_after(a, p->failures);
    else if (look == LOOK_MORE)
        p->logs_at = now;
}

void archiver_found(struct archiver *a, unsigned partition, unsigned what, int64_t due_ms, int64_t now_ms)
{
    struct partition *p = &a->partitions[partition];
    int64_t lag = 0, before = p->due_ms[what];
    bool left = what == METRIC_MOVED_STATE && now_ms < p->states_left_ms && before > 0;
    if (!left || (due_ms > 0 && due_ms < before))
        p->due_ms[what] = due_ms;
    for (unsigned i = 0; i < ARCHIVER_PARTITIONS_MAX; i++) {
        int64_t due = a->partitions[i].due_ms[what];
        lag = due > 0 && now_ms - due > lag ? now_ms - due : lag;
    }
    metrics_set(a->metrics, METRIC_ARCHIVE_LAG, what, lag / 1000);
}

void states_looked(struct archiver *a, unsigned partition, bool failed, bool more)
{
    struct partition *p = &a->partitions[partition];
    if (failed)
        p->states_at = uv_now(&a->loop.uv) + pause_after(a, 1);
    else if (more)
        p->states_at = 0;
}
