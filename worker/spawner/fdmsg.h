/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors over a unix socket: in packets of a SOCK_SEQPACKET pair, and beside the bytes of a stream. */
#ifndef MILLRACE_WORKER_SPAWNER_FDMSG_H
#define MILLRACE_WORKER_SPAWNER_FDMSG_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { FDMSG_MAX = 16 };

/* ERR_AGAIN (only with `wait` false), ERR_CLOSED, ERR_SYSTEM. ERR_FULL: too many descriptors are on their way between processes of
   our user; nothing was sent. */
MUST_CHECK enum err fdmsg_send(int sock, const void *data, size_t len, const int *fds, size_t n, bool wait);
/* Exactly `len` bytes or ERR_PROTOCOL. At most `max` descriptors, close-on-exec; more are ERR_PROTOCOL and closed.
   ERR_FULL: this process may open no more descriptors, so that some of them are lost and the others closed; `data` is whole.
   ERR_AGAIN (only with `wait` false), ERR_CLOSED. */
MUST_CHECK enum err fdmsg_recv(int sock, void *data, size_t len, int *ret_fds, size_t max, size_t *ret_n,
                               bool wait);

/* As send() and recv() of a stream socket, without waiting. `fd` goes with the first byte; -1: none. What came with the bytes that were
   read is in `ret_fd`, close-on-exec; -1: nothing, or this process may open no more. Only the first one of a call is taken. */
ssize_t fdmsg_write(int sock, const void *data, size_t len, int fd);
ssize_t fdmsg_read(int sock, void *data, size_t len, int *ret_fd);

#endif
