/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/templates/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int sealed_place(const char *name, const char *bytes, size_t len, int at)
{
    int fd = memfd_create(name, MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (write(fd, bytes, len) != (ssize_t)len ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return errno != 0 ? -errno : -EIO;
    if (fd == at)
        return 0;
    return dup2(fd, at) == at && close(fd) == 0 ? 0 : -errno;
}
