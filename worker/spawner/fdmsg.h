/* SPDX-License-Identifier: Apache-2.0 */
/* One packet with descriptors over a SOCK_SEQPACKET pair. */
#ifndef MILLRACE_WORKER_SPAWNER_FDMSG_H
#define MILLRACE_WORKER_SPAWNER_FDMSG_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { FDMSG_MAX = 16 };

/* ERR_AGAIN (only with `wait` false), ERR_CLOSED, ERR_SYSTEM. ERR_FULL: too many descriptors are on their way between processes of
   our user; nothing was sent. */
MUST_CHECK enum err fdmsg_send(int sock, const void *data, size_t len, const int *fds, size_t n, bool wait);
/* Exactly `len` bytes or ERR_PROTOCOL. At most `max` descriptors, close-on-exec; more are ERR_PROTOCOL and closed.
   ERR_FULL: this process may open no more descriptors, so that some of them are lost and the others closed; `data` is whole.
   ERR_AGAIN (only with `wait` false), ERR_CLOSED. */
MUST_CHECK enum err fdmsg_recv(int sock, void *data, size_t len, int *ret_fds, size_t max, size_t *ret_n,
                               bool wait);

#endif
