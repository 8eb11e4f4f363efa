/* SPDX-License-Identifier: Apache-2.0 */
/* The files of the directory store. Everything here blocks: it runs on uv's thread pool, several at a time.

     FOLDER/tenant+/session+/object     a part of a key that has parts below it is a directory with '+' behind its name
     FOLDER/.tmp/                       names that live for a moment; what a crash left is swept at the first use

   Permissions come from FOLDER itself: directories get its mode, objects the read and write bits of it. */
#ifndef MILLRACE_IO_STORE_FS_H
#define MILLRACE_IO_STORE_FS_H

#include "io/store/object_store.h"

#include <sys/types.h>

struct store_fs {
    char *folder;
    bool no_tmpfile;
    uv_mutex_t lock; /* of what follows, until it is prepared */
    bool prepared;
    int root_fd, tmp_fd;
    mode_t mode;
};

/* Bytes on their way into an object. */
struct store_source {
    int fd; /* or -1: `bytes` */
    uint64_t from, size;
    char *bytes;
    bool check; /* that the content is `sha256` */
    bool has_sha256;
    struct sha256 sha256;
    bool linkable; /* fd is a spool of this store */
    char name[32]; /* of a named spool in .tmp, or "" */
};
void store_source_release(struct store_source *s);
/* One piece of it, as pread(); ERR_CORRUPT when the file is shorter than was said. */
MUST_CHECK enum err store_source_read(const struct store_source *s, uint64_t at, char *room, size_t want,
                                      struct errinfo *info);

MUST_CHECK enum err store_fs_open(struct store_fs *fs, const char *folder, bool no_tmpfile);
void store_fs_close(struct store_fs *fs);
MUST_CHECK enum err store_fs_prepare(struct store_fs *fs, struct errinfo *info);
MUST_CHECK enum err store_fs_check(struct store_fs *fs, struct errinfo *info);
MUST_CHECK enum err store_fs_put(struct store_fs *fs, const char *key, const struct store_source *source,
                                 bool if_absent, struct errinfo *info);
/* A descriptor of the object. */
MUST_CHECK enum err store_fs_get(struct store_fs *fs, const char *key, int *ret_fd,
                                 struct object_meta *ret_meta, struct errinfo *info);
MUST_CHECK enum err store_fs_delete(struct store_fs *fs, const char *key, struct errinfo *info);

/* What a listing found: entries and their texts in one arena. */
struct store_page {
    struct object_entry *entries;
    size_t count;
    char next[OBJECT_KEY_MAX + 1]; /* "" at the end */
};
MUST_CHECK enum err store_fs_list(struct store_fs *fs, const char *prefix, const char *cursor, unsigned limit,
                                  struct store_page *ret_page, struct errinfo *info);
void store_page_release(struct store_page *page);

#endif
