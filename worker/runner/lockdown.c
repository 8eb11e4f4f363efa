/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/runner/lockdown.h"

#include "worker/runner/pod_fds.h"
#include "worker/spawner/defence.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LAST_CAPABILITY = 63 };

static const struct {
    int resource;
    rlim_t soft, hard;
} fixed_limits[] = {
#define X(name, soft, hard) {RLIMIT_##name, soft, hard},
#include "worker/rlimits.def"
#undef X
};

static enum err fail(struct errinfo *info, const char *step)
{
    return errinfo_set(info, ERR_SYSTEM, errno, "%s", step);
}

static enum err drop_capabilities(struct errinfo *info)
{
    for (int cap = 0; cap <= LAST_CAPABILITY; cap++) {
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0) {
            if (errno == EINVAL && cap > CAP_AUDIT_READ)
                break; /* the kernel's last one was the previous */
            return fail(info, "drop the bounding set");
        }
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
        return fail(info, "clear the ambient set");
    const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
                               SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
                               SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    if (prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) != 0)
        return fail(info, "lock the securebits");
    return ERR_OK;
}

static enum err become_user(struct errinfo *info)
{
    if (setgroups(0, NULL) != 0 && errno != EPERM)
        return fail(info, "setgroups");
    if (setresgid(POD_GID, POD_GID, POD_GID) != 0)
        return fail(info, "setresgid");
    if (setresuid(POD_UID, POD_UID, POD_UID) != 0)
        return fail(info, "setresuid");
    uid_t r = 0, e = 0, s = 0;
    gid_t rg = 0, eg = 0, sg = 0;
    if (getresuid(&r, &e, &s) != 0 || getresgid(&rg, &eg, &sg) != 0 || r != POD_UID || e != POD_UID ||
        s != POD_UID || rg != POD_GID || eg != POD_GID || sg != POD_GID)
        return errinfo_set(info, ERR_SYSTEM, 0, "the ids are not what was set");
    return ERR_OK;
}

static enum err zero_capabilities(struct errinfo *info)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    if (syscall(SYS_capset, &header, data) != 0)
        return fail(info, "capset");
    if (syscall(SYS_capget, &header, data) != 0)
        return fail(info, "capget");
    for (int i = 0; i < 2; i++) {
        if (data[i].effective != 0 || data[i].permitted != 0 || data[i].inheritable != 0)
            return errinfo_set(info, ERR_SYSTEM, 0, "a capability was left");
    }
    return ERR_OK;
}

static enum err lower(int pid, int resource, rlim_t soft, rlim_t hard, struct errinfo *info)
{
    struct rlimit now;
    if (prlimit(pid, (enum __rlimit_resource)resource, NULL, &now) != 0)
        return fail(info, "getrlimit");
    struct rlimit want = {.rlim_cur = soft < now.rlim_max ? soft : now.rlim_max,
                          .rlim_max = hard < now.rlim_max ? hard : now.rlim_max};
    if (prlimit(pid, (enum __rlimit_resource)resource, &want, NULL) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "setrlimit %d", resource);
    return ERR_OK;
}

enum err lockdown_limits_of(int pid, uint64_t nofile, uint64_t fsize, uint64_t nproc, uint64_t cpu_ms,
                            unsigned off, struct errinfo *info)
{
    const struct {
        int resource;
        uint64_t value, slack;
    } wanted[] = {
        {RLIMIT_NOFILE, nofile != 0 ? nofile : 1024, 0},
        {RLIMIT_FSIZE, fsize, 0},
        {RLIMIT_NPROC, nproc, 0},
        /* One process alone; the whole pod is counted by PID 1, which is earlier. A second more before SIGKILL. */
        {RLIMIT_CPU, cpu_ms == 0 ? 0 : cpu_ms / 1000 + 1, 1},
    };
    if (!defence_on(off, DEFENCE_RLIMITS))
        return ERR_OK;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (wanted[i].value == 0)
            continue;
        enum err e = lower(pid, wanted[i].resource, wanted[i].value, wanted[i].value + wanted[i].slack, info);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

enum err lockdown_limits(uint64_t nofile, uint64_t fsize, uint64_t nproc, uint64_t cpu_ms, unsigned off,
                         struct errinfo *info)
{
    return lockdown_limits_of(0, nofile, fsize, nproc, cpu_ms, off, info);
}

static enum err fixed(struct errinfo *info)
{
    for (size_t i = 0; i < sizeof fixed_limits / sizeof fixed_limits[0]; i++) {
        enum err e = lower(0, fixed_limits[i].resource, fixed_limits[i].soft, fixed_limits[i].hard, info);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* Undumpable, as PID 1 is, /proc/self belongs to an id that this pod does not have. */
static enum err die_first(struct errinfo *info)
{
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0)
        return fail(info, "dumpable");
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, "1000", 4);
    enum err e = n == 4 ? ERR_OK : fail(info, "oom_score_adj");
    if (fd >= 0)
        close(fd);
    return e;
}

enum err lockdown_identity(unsigned off, struct errinfo *info)
{
    enum err e = ERR_OK;
    if (defence_on(off, DEFENCE_OOM_SCORE))
        e = die_first(info);
    if (e == ERR_OK && defence_on(off, DEFENCE_RLIMITS))
        e = fixed(info);
    if (e == ERR_OK && defence_on(off, DEFENCE_NO_CAPABILITIES))
        e = drop_capabilities(info);
    if (e == ERR_OK && defence_on(off, DEFENCE_NO_CAPABILITIES))
        e = become_user(info);
    if (e == ERR_OK && defence_on(off, DEFENCE_NO_CAPABILITIES))
        e = zero_capabilities(info);
    if (e != ERR_OK)
        return e;
    umask(077);
    if (chdir(POD_WORK_DIR) != 0)
        return fail(info, "enter " POD_WORK_DIR);
    if (defence_on(off, DEFENCE_NO_NEW_PRIVS) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fail(info, "no_new_privs");
    /* A change of ids made us undumpable, so /proc/self would belong to nobody here: programs read their own. */
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0)
        return fail(info, "dumpable");
    return ERR_OK;
}

enum err lockdown_seccomp(int fd, unsigned off, struct errinfo *info)
{
    if (!defence_on(off, DEFENCE_SECCOMP))
        return ERR_OK;
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fail(info, "the system call filter");
    size_t size = (size_t)st.st_size;
    size_t count = size / sizeof(struct sock_filter);
    if (count == 0 || count > BPF_MAXINSNS || count * sizeof(struct sock_filter) != size)
        return errinfo_set(info, ERR_INVALID, 0, "the system call filter has a wrong size");
    void *program = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (program == MAP_FAILED)
        return fail(info, "map the system call filter");
    struct sock_fprog prog = {.len = (unsigned short)count, .filter = program};
    close(fd);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog) != 0)
        return fail(info, "load the system call filter");
    return ERR_OK;
}
