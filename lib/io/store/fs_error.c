/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store/fs_error.h"

#include <errno.h>
#include <string.h>

enum err store_fs_error(struct errinfo *info, int number, const char *what)
{
    static const struct {
        int number;
        enum err e;
    } rows[] = {
        {ENOENT, ERR_NOT_FOUND}, {ENOTDIR, ERR_NOT_FOUND}, {EEXIST, ERR_EXISTS}, {EACCES, ERR_DENIED},
        {EPERM, ERR_DENIED},     {EROFS, ERR_DENIED},      {ENOSPC, ERR_FULL},   {EDQUOT, ERR_FULL},
        {EFBIG, ERR_FULL},       {ENOMEM, ERR_NOMEM},      {ELOOP, ERR_DENIED},  {ENAMETOOLONG, ERR_INVALID},
    };
    enum err e = ERR_UNAVAILABLE;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].number == number)
            e = rows[i].e;
    return errinfo_set(info, e, number, "%.150s: %s", what, strerror(number));
}
