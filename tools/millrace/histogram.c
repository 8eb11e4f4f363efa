/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/histogram.h"

static unsigned bucket_of(uint64_t ns)
{
    if (ns < 1u << HISTOGRAM_BITS)
        return (unsigned)ns;
    unsigned power = 63 - (unsigned)__builtin_clzll(ns) - HISTOGRAM_BITS; /* of the bucket's width */
    if (power >= HISTOGRAM_POWERS)
        return HISTOGRAM_BUCKETS - 1;
    return ((power + 1) << HISTOGRAM_BITS) + (unsigned)((ns >> power) - (1u << HISTOGRAM_BITS));
}

static uint64_t upper_end(unsigned bucket)
{
    unsigned power = bucket >> HISTOGRAM_BITS, rest = bucket & ((1u << HISTOGRAM_BITS) - 1);
    if (!power)
        return bucket;
    return (((uint64_t)rest + (1u << HISTOGRAM_BITS) + 1) << (power - 1)) - 1;
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    h->buckets[bucket_of(ns)]++;
    h->count++;
    h->sum_ns += (double)ns;
    if (ns > h->most_ns)
        h->most_ns = ns;
}

uint64_t histogram_quantile(const struct histogram *h, double q)
{
    uint64_t seen = 0, wanted = (uint64_t)(q * (double)h->count);
    if (wanted < 1)
        wanted = 1;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        if ((seen += h->buckets[i]) >= wanted)
            return upper_end(i) < h->most_ns ? upper_end(i) : h->most_ns;
    return h->most_ns;
}

double histogram_mean(const struct histogram *h)
{
    return h->count ? h->sum_ns / (double)h->count : 0;
}
