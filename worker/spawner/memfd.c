/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/memfd.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

enum { NOEXEC_SEAL = 8, EXEC = 16 }; /* MFD_NOEXEC_SEAL, MFD_EXEC: Linux 6.3 */

int memfd_new(const char *name, bool executable)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create(name, flags | (executable ? EXEC : 0U));
    return fd >= 0 || errno != EINVAL ? fd : memfd_create(name, flags);
}

bool memfd_seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0;
}

int memfd_of(const char *name, struct str bytes)
{
    auto_fd fd = memfd_new(name, false);
    for (size_t at = 0; fd >= 0 && at < bytes.n;) {
        ssize_t n = write(fd, bytes.p + at, bytes.n - at);
        if (n <= 0)
            return -1;
        at += (size_t)n;
    }
    return fd >= 0 && memfd_seal(fd) ? steal_fd(&fd) : -1;
}

enum err memfd_copy(const char *path, const char *name, int *ret_fd, struct errinfo *info)
{
    auto_fd from = open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "open %s", path);
    auto_fd to = memfd_new(name, true);
    if (to < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "memfd");
    ssize_t n;
    while ((n = sendfile(to, from, NULL, 1 << 20)) > 0)
        ;
    if (n < 0 || !memfd_seal(to))
        return errinfo_set(info, ERR_SYSTEM, errno, "copy %s", path);
    *ret_fd = steal_fd(&to);
    return ERR_OK;
}

enum err memfd_reexec(char **argv, struct errinfo *info)
{
    char self[64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "read /proc/self/exe");
    self[n] = '\0';
    if (strncmp(self, "/memfd:", 7) == 0)
        return ERR_OK;
    int fd = -1;
    enum err e = memfd_copy("/proc/self/exe", "millrace-spawner", &fd, info);
    if (e != ERR_OK)
        return e;
    fexecve(fd, argv, environ);
    return errinfo_set(info, ERR_SYSTEM, errno, "start the sealed copy of the spawner");
}
