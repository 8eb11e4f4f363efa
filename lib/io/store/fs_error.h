/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_IO_STORE_FS_ERROR_H
#define MILLRACE_IO_STORE_FS_ERROR_H

#include "base/err.h"

/* The error for an errno, with "what: its text" in `info`. */
enum err store_fs_error(struct errinfo *info, int number, const char *what);

#endif
