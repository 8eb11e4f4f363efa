/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/clone_owned.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int clone_owned(unsigned owner, unsigned long flags, int *ret_pidfd)
{
    if (owner != 0 && syscall(SYS_setresuid, -1, owner, -1) != 0)
        return -1;
    long pid = syscall(SYS_clone, flags | SIGCHLD, NULL, ret_pidfd, NULL, NULL);
    int why = errno;
    if (pid == 0)
        return 0;
    if (owner != 0 && syscall(SYS_setresuid, -1, 0, -1) != 0)
        _exit(71);  /* never go on with the wrong id */
    if (owner != 0) /* the change took it away; the control socket's end ends us too */
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    errno = why;
    return (int)pid;
}
