/* SPDX-License-Identifier: Apache-2.0 */
#include "api/wrong_keys.h"

#include <arpa/inet.h>
#include <string.h>

enum { ADDRESS_MAX = 64, NETWORK_LEN = 8 };
#define WINDOW_NS (WRONG_KEYS_WINDOW_MS * INT64_C(1000000))

static uint64_t address_of(struct str peer)
{
    char text[ADDRESS_MAX] = "";
    struct in6_addr six;
    size_t n = peer.n < sizeof text - 1 ? peer.n : sizeof text - 1;
    memcpy(text, peer.p, n);
    if (inet_pton(AF_INET6, text, &six) == 1 && !IN6_IS_ADDR_V4MAPPED(&six))
        return str_hash(STR_HASH, (struct str){(const char *)six.s6_addr, NETWORK_LEN});
    return str_hash(STR_HASH, (struct str){text, n});
}

static struct wrong_keys_source *source_of(struct wrong_keys *w, uint64_t address)
{
    struct wrong_keys_source *set = w->at[address % WRONG_KEYS_SETS], *oldest = set;
    for (struct wrong_keys_source *s = set; s < set + WRONG_KEYS_WAYS; s++) {
        if (s->since_ns != 0 && s->address == address)
            return s;
        oldest = s->since_ns < oldest->since_ns ? s : oldest;
    }
    *oldest = (struct wrong_keys_source){.address = address};
    return oldest;
}

int wrong_keys_count(struct wrong_keys *w, struct str peer, int64_t most, int64_t now_ns)
{
    struct wrong_keys_source *s = source_of(w, address_of(peer));
    if (s->since_ns == 0 || now_ns - s->since_ns >= WINDOW_NS) {
        s->since_ns = now_ns;
        s->count = 0;
    }
    if (++s->count <= (uint64_t)most)
        return 0;
    return WRONG_KEYS_WINDOW_MS - (int)((now_ns - s->since_ns) / 1000000);
}
