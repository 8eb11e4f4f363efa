/* SPDX-License-Identifier: Apache-2.0 */
/* The ids of U0, the outer user namespace of all pods. */
#ifndef MILLRACE_WORKER_SPAWNER_IDMAP_H
#define MILLRACE_WORKER_SPAWNER_IDMAP_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Has this user a range in /etc/subuid and /etc/subgid, and are newuidmap and newgidmap installed? */
bool idmap_has_subordinate(void);
/* Write the maps of `pid`'s new user namespace. Privileged: HELPER_IDS ids from `host_base`. Rootless: 0 is this user, the
   rest its subordinate range. *ret_ids: how many ids U0 has. */
MUST_CHECK enum err idmap_write(int pid, bool privileged, uint32_t host_base, uint32_t *ret_ids, struct errinfo *info);
/* The base for a spawner of this name: far above people's and systemd's ids. */
uint32_t idmap_base(uint64_t name_hash);

#endif
