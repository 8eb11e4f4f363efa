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
MUST_CHECK enum err idmap_write(int pid, bool privileged, uint32_t host_base, uint32_t *ret_ids,
                                struct errinfo *info);
/* The first host id of a spawner whose name has this hash: far above people's and systemd's ids. The range is locked
   (in IDMAP_LOCKS, until this process ends), so two spawners never share one; a taken one leads to the next. */
#define IDMAP_LOCKS "/run/millrace-ids"
MUST_CHECK enum err idmap_reserve(uint64_t name_hash, uint32_t *ret_base, struct errinfo *info);

#endif
