/* SPDX-License-Identifier: Apache-2.0 */
#include "io/small_file.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

enum err small_file_read(int dir, const char *path, struct buf *out, struct errinfo *info)
{
    auto_fd fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : errinfo_set(info, ERR_IO, errno, "cannot open %.100s", path);
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return errinfo_set(info, ERR_IO, 0, "%.100s is not a regular file", path);
    for (;;) {
        char *room = buf_reserve(out, 4096);
        if (room == NULL)
            return errinfo_set(info, ERR_FULL, 0, "%.100s has more than %zu bytes", path, out->max);
        ssize_t n = read(fd, room, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errinfo_set(info, ERR_IO, errno, "cannot read %.100s", path);
        if (n == 0) {
            *room = '\0';
            return ERR_OK;
        }
        out->len += (size_t)n;
    }
}
