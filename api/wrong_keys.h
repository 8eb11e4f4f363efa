/* SPDX-License-Identifier: Apache-2.0 */
/* How many wrong keys each address sent in the last minute, for so many addresses as there is room for; the ones that were
   quiet longest make room for others. Right keys do not come here. */
#ifndef MILLRACE_API_WRONG_KEYS_H
#define MILLRACE_API_WRONG_KEYS_H

#include "base/str.h"

#include <stdint.h>

enum { WRONG_KEYS_SETS = 256, WRONG_KEYS_WAYS = 4, WRONG_KEYS_WINDOW_MS = 60000 };

struct wrong_keys {
    struct wrong_keys_source {
        uint64_t address; /* hash; of IPv6 its network, /64, for that is what one client has */
        int64_t since_ns; /* of the window; 0: free */
        uint64_t count;
    } at[WRONG_KEYS_SETS][WRONG_KEYS_WAYS];
};

/* One more from this (numeric) address. 0, or for how many ms those above `most` a minute are not looked at. */
int wrong_keys_count(struct wrong_keys *w, struct str peer, int64_t most, int64_t now_ns);

#endif
