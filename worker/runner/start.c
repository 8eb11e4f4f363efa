/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "worker/runner/pod_fds.h"
#include "worker/runner/program.h"
#include "worker/runner/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err blocking(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, on ? flags & ~O_NONBLOCK : flags | O_NONBLOCK) != 0)
        return ERR_SYSTEM;
    return ERR_OK;
}

/* Our ends never block, the program's do. It is another id than ours and may open what it has again (/dev/stdout). */
static enum err three_pipes(int ours[3], int theirs[3])
{
    for (int i = 0; i < 3; i++) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0)
            return ERR_SYSTEM;
        ours[i] = i == 0 ? ends[1] : ends[0];
        theirs[i] = i == 0 ? ends[0] : ends[1];
        if (blocking(ours[i], false) != ERR_OK || fchmod(ours[i], 0666) != 0)
            return ERR_SYSTEM;
    }
    return ERR_OK;
}

/* The descriptors of a program that a template has forked, or forks, into this pod. */
static enum err adopt(struct runner *r)
{
    r->in = RUNNER_FD_STDIN;
    r->out[0] = RUNNER_FD_STDOUT;
    r->out[1] = RUNNER_FD_STDERR;
    r->go = RUNNER_FD_GO;
    for (int fd = RUNNER_FD_STDIN; fd <= RUNNER_FD_STDERR; fd++) {
        if (blocking(fd, false) != ERR_OK)
            return ERR_SYSTEM;
    }
    return ERR_OK;
}

enum err start_program(struct runner *r, bool second, struct errinfo *info)
{
    if ((r->fds & 1U << RUNNER_FD_GO) != 0)
        return adopt(r) == ERR_OK ? ERR_OK : errinfo_set(info, ERR_SYSTEM, errno, "the program's pipes");
    int ours[3] = {-1, -1, -1}, theirs[3] = {-1, -1, -1}, go[2];
    if (three_pipes(ours, theirs) != ERR_OK)
        return errinfo_set(info, ERR_SYSTEM, errno, "make the pipes");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, go) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "make the go socket");
    pid_t pid = fork();
    if (pid < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "fork");
    if (pid == 0) {
        struct program_start s = {.go = go[1],
                                  .stdio = {theirs[0], theirs[1], theirs[2]},
                                  .fds = r->fds,
                                  .off = r->off,
                                  .contained = r->contained,
                                  .second = second,
                                  .memory = r->memory,
                                  .warm = r->warm};
        program_main(&s);
    }
    close(go[1]);
    for (int i = 0; i < 3; i++)
        close(theirs[i]);
    r->go = go[0];
    r->in = ours[0];
    r->out[0] = ours[1];
    r->out[1] = ours[2];
    return ERR_OK;
}
