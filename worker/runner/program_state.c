/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/runner/program_state.h"

#include "base/cleanup.h"
#include "worker/templates/template_proto.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static enum err write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, bytes, size);
        if (n <= 0)
            return ERR_SYSTEM;
        bytes += n;
        size -= (size_t)n;
    }
    return ERR_OK;
}

/* What comes behind the specification. */
static enum err copy_state(int go, int fd, uint64_t size)
{
    char piece[16384];
    while (size > 0) {
        ssize_t n = recv(go, piece, size < sizeof piece ? (size_t)size : sizeof piece, 0);
        if (n <= 0 || write_all(fd, piece, (size_t)n) != ERR_OK)
            return ERR_SYSTEM;
        size -= (uint64_t)n;
    }
    return ERR_OK;
}

/* At a place that execve leaves open. */
static enum err place(int fd, int at)
{
    return fd >= 0 && dup2(fd, at) == at ? ERR_OK : ERR_SYSTEM;
}

enum err program_state_open(int go, const struct spec *spec, struct errinfo *info)
{
    auto_fd state = memfd_create("state", MFD_CLOEXEC), script = memfd_create("script", MFD_CLOEXEC);
    if (place(state, PROGRAM_FD_STATE) != ERR_OK || place(script, PROGRAM_FD_SCRIPT) != ERR_OK ||
        place(go, PROGRAM_FD_GO) != ERR_OK || copy_state(go, state, spec->state_size) != ERR_OK ||
        write_all(script, spec->state_script.p, spec->state_script.n) != ERR_OK)
        return errinfo_set(info, ERR_SYSTEM, errno, "give the program its state");
    return ERR_OK;
}
