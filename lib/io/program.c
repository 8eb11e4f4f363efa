/* SPDX-License-Identifier: Apache-2.0 */
#include "io/program.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

void program_harden(void)
{
    const struct rlimit none = {0};
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

enum err program_write_port(const char *path, int port, struct errinfo *info)
{
    if (path == NULL)
        return ERR_OK;
    char beside[4096], text[16];
    int n = snprintf(text, sizeof text, "%d\n", port);
    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside)
        return errinfo_set(info, ERR_RANGE, 0, "the path of --port-file is too long");
    auto_fd fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, (size_t)n) != n || rename(beside, path) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "cannot write %s: %s", path, strerror(errno));
    return ERR_OK;
}
