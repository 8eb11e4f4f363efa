/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/helper_template.h"

#include "worker/templates/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
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
    if ((setgroups(0, NULL) != 0 && errno != EPERM) || setresgid(uid, uid, uid) != 0 ||
        setresuid(uid, uid, uid) != 0 || syscall(SYS_capset, &header, data) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || setsid() < 0 ||
        sigprocmask(SIG_SETMASK, &none, NULL) != 0)
        _exit(71);
}

enum err helper_start_template(const char *set, int control, unsigned uid, struct errinfo *info)
{
    pid_t pid = fork();
    if (pid < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "fork");
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 ||
            dup2(control, TEMPLATE_CONTROL_FD) < 0)
            _exit(71);
        become_ordinary(uid);
        (void)template_exec_python(set); /* the control socket's end tells that it did not start */
        _exit(71);
    }
    return ERR_OK;
}

void helper_node_argv(char **argv, size_t max)
{
    static const char *const words[] = {"--", LAUNCHER_NODE_ARGV, NULL};
    for (size_t i = 0; i < sizeof words / sizeof words[0] && i < max; i++)
        argv[i] = (char *)(uintptr_t)words[i]; /* execve writes to none of them */
}
