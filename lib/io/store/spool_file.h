/* SPDX-License-Identifier: Apache-2.0 */
/* A temporary file: without a name where the file system can (O_TMPFILE), otherwise with one, under a lock that tells
   the sweeper that its owner lives. Everything here blocks. */
#ifndef MILLRACE_IO_STORE_SPOOL_FILE_H
#define MILLRACE_IO_STORE_SPOOL_FILE_H

#include "base/str.h"

struct spool;

struct spool_file {
    int fd;
    int folder_fd; /* of a named one, else -1 */
    char name[32]; /* "" without a name */
};
#define SPOOL_FILE_NONE ((struct spool_file){.fd = -1, .folder_fd = -1})

MUST_CHECK enum err spool_file_open(struct spool_file *f, const char *folder, bool named,
                                    struct errinfo *info);
MUST_CHECK enum err spool_file_open_at(struct spool_file *f, int folder_fd, bool named, struct errinfo *info);
MUST_CHECK enum err spool_file_write(struct spool_file *f, struct str bytes, struct errinfo *info);
void spool_file_close(struct spool_file *f); /* and away with its name */
int spool_file_dup(int fd);                  /* close-on-exec; -1 */
void spool_file_new_name(char ret_name[32]);
/* Removes files that nobody holds locked. */
void spool_folder_sweep(int folder_fd);

/* Of a spool that has ended (spool.c). */
const struct spool_file *spool_file(const struct spool *s);

#endif
