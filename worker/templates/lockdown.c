/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/templates/lockdown.h"
#include "worker/templates/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SECBIT_NO_CAP_AMBIENT_RAISE
#define SECBIT_NO_CAP_AMBIENT_RAISE        0x40
#define SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED 0x80
#endif

enum {
    FIRST_FREE_FD = 4,
    CAPS_MAX = 64,
    /* NOROOT, its lock; the lock of KEEP_CAPS; no ambient set, its lock (linux/securebits.h) */
    SECUREBITS = 0x01 | 0x02 | 0x20 | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
};

enum err lockdown_descriptors(int in, int out, int err, int keep, struct errinfo *info)
{
    const int source[] = {in, out, err};
    for (int fd = 0; fd < 3; fd++)
        if (dup2(source[fd], fd) < 0)
            return errinfo_set(info, ERR_SYSTEM, errno, "dup2 to %d", fd);
    if (keep >= 0 && dup3(keep, 3, O_CLOEXEC) < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "dup3 to 3");
    unsigned first = keep >= 0 ? FIRST_FREE_FD : 3;
    if (syscall(SYS_close_range, first, ~0U, 0) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "close_range");
    return ERR_OK;
}

/* The steps. Each returns 0, or -1 with errno. */

/* A pod's program starts with no signal blocked; a leader of its own session has no terminal and no foreign
 * group. */
static int step_session(const struct lockdown *l)
{
    (void)l;
    sigset_t none;
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) != 0)
        return -1;
    return setsid() < 0 ? -1 : 0;
}

static int step_rlimits(const struct lockdown *l)
{
    for (unsigned i = 0; i < l->rlimit_count; i++) {
        struct rlimit now, want = l->rlimits[i].limit;
        int resource = l->rlimits[i].resource;
        if (getrlimit((__rlimit_resource_t)resource, &now) != 0)
            return -1;
        if (want.rlim_max > now.rlim_max)
            want.rlim_max = now.rlim_max;
        if (want.rlim_cur > want.rlim_max)
            want.rlim_cur = want.rlim_max;
        if (setrlimit((__rlimit_resource_t)resource, &want) != 0)
            return -1;
    }
    return 0;
}

/* With setgroups denied to the namespace the call fails; then there must be no group to drop. */
static int step_groups(const struct lockdown *l)
{
    (void)l;
    if (setgroups(0, NULL) != 0 && errno != EPERM)
        return -1;
    if (getgroups(0, NULL) != 0) {
        errno = EPERM;
        return -1;
    }
    return 0;
}

static int step_bounding(const struct lockdown *l)
{
    (void)l;
    for (int cap = 0; cap < CAPS_MAX; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
            return errno == EINVAL && cap > CAP_AUDIT_READ ? 0
                                                           : -1; /* one past the last that the kernel knows */
    return 0;
}

static int step_ambient(const struct lockdown *l)
{
    (void)l;
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

static int step_securebits(const struct lockdown *l)
{
    (void)l;
    return prctl(PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0);
}

/* The raw calls: glibc's would look for other threads to tell. */
static int step_ids(const struct lockdown *l)
{
    if (syscall(SYS_setresgid, l->gid, l->gid, l->gid) != 0)
        return -1;
    return (int)syscall(SYS_setresuid, l->uid, l->uid, l->uid);
}

static int step_capabilities(const struct lockdown *l)
{
    (void)l;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct none[2] = {{.effective = 0}};
    return (int)syscall(SYS_capset, &header, none);
}

/* Believe nothing: read back what the steps above were to have done. */
static int step_recheck(const struct lockdown *l)
{
    uid_t r, e, s;
    gid_t rg, eg, sg;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct now[2] = {{.effective = 0}};
    if (getresuid(&r, &e, &s) != 0 || getresgid(&rg, &eg, &sg) != 0 || syscall(SYS_capget, &header, now) != 0)
        return -1;
    uint32_t caps = 0;
    for (int i = 0; i < 2; i++)
        caps |= now[i].effective | now[i].permitted | now[i].inheritable;
    bool same = r == l->uid && e == l->uid && s == l->uid && rg == l->gid && eg == l->gid && sg == l->gid;
    if (same && caps == 0 && prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) == 0)
        return 0;
    errno = EPERM;
    return -1;
}

static int step_place(const struct lockdown *l)
{
    umask(l->umask);
    return chdir(l->work_dir);
}

static int step_no_new_privs(const struct lockdown *l)
{
    (void)l;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* A change of ids takes it away, and then /proc/self/fd and the like belong to nobody in the pod. */
static int step_dumpable(const struct lockdown *l)
{
    (void)l;
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static int step_landlock(const struct lockdown *l)
{
    return l->landlock ? landlock_confine(l->work_dir) : 0;
}

static int step_seccomp(const struct lockdown *l)
{
    if (l->filter == NULL)
        return 0;
    struct sock_fprog program = {.len = l->filter_count, .filter = l->filter};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}

/* The order matters: HARDENING 1.2, 17 to 22. */
static const struct {
    const char *name;
    int (*run)(const struct lockdown *l);
} steps[] = {
    {"session", step_session},
    {"rlimits", step_rlimits},
    {"groups", step_groups},
    {"bounding set", step_bounding},
    {"ambient set", step_ambient},
    {"securebits", step_securebits},
    {"ids", step_ids},
    {"capabilities", step_capabilities},
    {"reading back", step_recheck},
    {"working folder", step_place},
    {"no_new_privs", step_no_new_privs},
    {"dumpable", step_dumpable},
    {"landlock", step_landlock},
    {"seccomp", step_seccomp},
};

enum err lockdown_apply(const struct lockdown *l, struct errinfo *info)
{
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (steps[i].run(l) != 0)
            return errinfo_set(info, ERR_SYSTEM, errno, "lock-down: %s", steps[i].name);
    return ERR_OK;
}

enum err lockdown_lower(int resource, uint64_t soft, uint64_t hard, struct errinfo *info)
{
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)resource, &limit) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "getrlimit %d", resource);
    if (hard < limit.rlim_max)
        limit.rlim_max = hard;
    if (soft < limit.rlim_cur)
        limit.rlim_cur = soft;
    if (setrlimit((__rlimit_resource_t)resource, &limit) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "setrlimit %d", resource);
    return ERR_OK;
}
