/* SPDX-License-Identifier: Apache-2.0 */
/* Files of settings and credentials. */
#ifndef MILLRACE_IO_SMALL_FILE_H
#define MILLRACE_IO_SMALL_FILE_H

#include "base/buf.h"

/* Appends the whole file; `dir` as openat() takes it. ERR_NOT_FOUND leaves `info` alone; ERR_IO, ERR_FULL (more than `out` holds)
   name the path in it. Regular files only. */
MUST_CHECK enum err small_file_read(int dir, const char *path, struct buf *out, struct errinfo *info);

#endif
