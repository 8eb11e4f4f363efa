/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing the small files of cgroupfs, and removing its directories. */
#ifndef MILLRACE_WORKER_SPAWNER_CGROUP_FILE_H
#define MILLRACE_WORKER_SPAWNER_CGROUP_FILE_H

#include "base/buf.h"

/* False with errno. */
bool cgroup_write_text(int dir, const char *file, const char *text);
bool cgroup_write_u64(int dir, const char *file, uint64_t value);
bool cgroup_read_text(int dir, const char *file, char *text, size_t size);
uint64_t cgroup_read_u64(int dir, const char *file); /* 0 when it is not there */
/* The number behind `key` at the beginning of a line; 0 when it is not there. */
uint64_t cgroup_read_key(int dir, const char *file, const char *key);
bool cgroup_has_file(int dir, const char *file);
bool cgroup_is_empty(int dir);
bool cgroup_read_file(const char *path, struct buf *out);
/* Kill what is in it (never a pid <= 1) and remove it, with bounded retries. True when it is gone. */
bool cgroup_remove(int base, const char *name, bool v2);
/* `path` and the directories in it. */
bool cgroup_remove_all(const char *path, bool v2);

#endif
