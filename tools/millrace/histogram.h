/* SPDX-License-Identifier: Apache-2.0 */
/* Latencies in buckets that grow with them: exact below 128 ns, within 0.8 % above, up to 18 minutes. */
#ifndef MILLRACE_TOOLS_HISTOGRAM_H
#define MILLRACE_TOOLS_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_BITS = 7,
    HISTOGRAM_POWERS = 34,
    HISTOGRAM_BUCKETS = (HISTOGRAM_POWERS + 1) << HISTOGRAM_BITS
};

struct histogram {
    uint64_t count, most_ns;
    double sum_ns;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t ns);
/* The upper end of the bucket that holds the q-th part (0 to 1), at most the largest value; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *h, double q);
double histogram_mean(const struct histogram *h);

#endif
