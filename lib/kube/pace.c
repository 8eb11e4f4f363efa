/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/pace.h"

enum { SECOND_NS = 1000000000 };

void kube_bucket_init(struct kube_bucket *b, unsigned rate, unsigned burst)
{
    *b = (struct kube_bucket){.rate = rate, .burst = burst, .full_ns = 0};
}

/* Each token taken makes the bucket full again one interval later; it is empty when that lies more than `burst` intervals off. */
int64_t kube_bucket_take(struct kube_bucket *b, int64_t now_ns)
{
    int64_t interval = SECOND_NS / (int64_t)b->rate;
    int64_t full = (b->full_ns > now_ns ? b->full_ns : now_ns) + interval;
    int64_t wait = full - now_ns - interval * (int64_t)b->burst;
    if (wait > 0)
        return wait;
    b->full_ns = full;
    return 0;
}

static uint32_t next(uint32_t *random)
{
    *random = *random * 1664525u + 1013904223u;
    return *random >> 8;
}

int64_t kube_pause_ms(unsigned failures, int retry_after_s, uint32_t *random)
{
    int64_t bound = KUBE_PAUSE_FIRST_MS;
    for (unsigned i = 1; i < failures && bound < KUBE_PAUSE_MAX_MS; i++)
        bound *= 2;
    bound = bound > KUBE_PAUSE_MAX_MS ? KUBE_PAUSE_MAX_MS : bound;
    int64_t pause = bound / 2 + (int64_t)next(random) % (bound / 2 + 1);
    int64_t asked = retry_after_s > KUBE_RETRY_AFTER_MAX_S ? KUBE_RETRY_AFTER_MAX_S : retry_after_s;
    if (asked * 1000 < pause)
        return pause;
    return asked * 1000 + (int64_t)next(random) % 1001;
}
