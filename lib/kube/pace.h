/* SPDX-License-Identifier: Apache-2.0 */
/* How fast requests go out and how long a pause grows: arithmetic, the time is given. Pure. */
#ifndef MILLRACE_KUBE_PACE_H
#define MILLRACE_KUBE_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* A token bucket: `rate` requests a second, `burst` at once. */
struct kube_bucket {
    unsigned rate, burst;
    int64_t full_ns; /* when it will be full again */
};

void kube_bucket_init(struct kube_bucket *b, unsigned rate, unsigned burst);
/* Takes one token and returns 0, or takes none and returns how long until there is one, in ns. */
int64_t kube_bucket_take(struct kube_bucket *b, int64_t now_ns);

enum { KUBE_PAUSE_FIRST_MS = 200, KUBE_PAUSE_MAX_MS = 20000, KUBE_RETRY_AFTER_MAX_S = 60 };

/* The pause after `failures` (>= 1) in a row: half to all of a bound that doubles, and never less than what the server asked
   (retry_after_s, -1 for nothing; bounded; a second at most is added to it, so that clients do not come back together).
   `random` is the state of the jitter. */
int64_t kube_pause_ms(unsigned failures, int retry_after_s, uint32_t *random);

#endif
