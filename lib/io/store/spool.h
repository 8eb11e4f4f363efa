/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of unknown length on their way to a file without a name: pushed on the loop, written and hashed on uv's thread
   pool, bounded, with back-pressure. Small ones cost one trip to the pool. Made by object_spool(); spool_open() is for
   other folders. */
#ifndef MILLRACE_IO_STORE_SPOOL_H
#define MILLRACE_IO_STORE_SPOOL_H

#include "base/str.h"
#include "io/crypto.h"

#include <uv.h>

struct spool;
typedef void (*spool_cb)(void *arg, enum err e, const char *why);

struct spool_options {
    const char *folder; /* copied */
    uint64_t max;
    int fd; /* has_fd: written there instead (duplicated), at its present offset */
    bool has_fd;
    bool named;                         /* no O_TMPFILE: a named file under a lock until it is dropped */
    void (*prepare)(void *prepare_arg); /* runs on the pool before the file is opened; may be NULL */
    void *prepare_arg;
    void (*on_room)(void *arg); /* after an ERR_AGAIN: push on. May be NULL */
    void *arg;
    void (*gone)(
        void *gone_arg); /* on the loop, when nothing of a dropped spool is left on it. May be NULL */
    void *gone_arg;
};
MUST_CHECK enum err spool_open(uv_loop_t *loop, const struct spool_options *options,
                               struct spool **ret_spool);

/* ERR_OK, or ERR_AGAIN: the bytes are taken, push no more before on_room (never called from within). ERR_FULL: the
   maximum would be passed; nothing was taken. Other errors and ERR_FULL of the disk: writing failed, spool_end() gives
   the sentence; sticky. At most 1 MiB in one push. */
MUST_CHECK enum err spool_push(struct spool *s, struct str bytes);
/* No more bytes. `cb` on the loop when all are in the file, or what failed. Once. */
void spool_end(struct spool *s, spool_cb cb, void *arg);
uint64_t spool_size(const struct spool *s);         /* of what was pushed so far */
const struct sha256 *spool_sha256(struct spool *s); /* after the end */
int spool_fd(const struct spool *s); /* after the end; the spool's own, to be read with pread() */
/* No callback after it returns. NULL is fine. A put that was started goes on. */
void spool_drop(struct spool *s);

#endif
