/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/helper_template.h"

#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/templates/template_exec.h"
#include "worker/templates/template_proto.h"

/* Ordinary id, no group, no capability, no signal blocked. Any failure ends the child: the control socket tells. */
static void become_ordinary(unsigned uid)
{
    sigset_t none;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    sigemptyset(&none);
    for (int cap = 0; cap <= CAP_LAST_CAP; cap++) {
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0 && errno != EINVAL)
            _exit(71);
    }
    if ((setgroups(0, NULL) != 0 && errno != EPERM) || getgroups(0, NULL) != 0 ||
        setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0 ||
        syscall(SYS_capset, &header, data) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        setsid() < 0 || sigprocmask(SIG_SETMASK, &none, NULL) != 0)
        _exit(71);
}

/* A /tmp of its own while it imports: some packages make lists there. No pod sees it. */
static bool own_tmp(void)
{
    return unshare(CLONE_NEWNS) == 0 &&
           mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=16m,mode=1777") == 0;
}

enum err helper_start_template(const char *set, int control, unsigned uid, struct errinfo *info)
{
    pid_t pid = fork();
    if (pid < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "fork");
    if (pid == 0) {
        fault_enter(FAULT_TEMPLATE_EXEC);
        int null = open("/dev/null", O_RDWR);
        if (null < 0 || dup2(fault_stdin(null), 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 ||
            dup2(control, TEMPLATE_CONTROL_FD) < 0 || !own_tmp())
            _exit(71);
        become_ordinary(uid);
        (void)template_exec_python(set); /* the control socket's end tells that it did not start */
        _exit(71);
    }
    return ERR_OK;
}
