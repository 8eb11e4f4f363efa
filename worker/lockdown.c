/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/lockdown.h"

#include "worker/landlock.h"
#include "worker/spawner/defence.h"

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
#include <time.h>
#include <unistd.h>

/* linux/securebits.h, whose last two are younger than some headers. */
enum {
    NOROOT_LOCKED = 0x03,
    NO_SETUID_FIXUP_LOCK = 0x08,
    KEEP_CAPS_LOCK = 0x20,
    NO_AMBIENT_LOCKED = 0xc0,
    SECUREBITS = NOROOT_LOCKED | NO_SETUID_FIXUP_LOCK | KEEP_CAPS_LOCK | NO_AMBIENT_LOCKED,
};

enum { CAPS_MAX = 64, STDIO = 3, NOFILE_DEFAULT = 1024 };

void lockdown_fixed_rlimits(struct lockdown *l)
{
    static const struct {
        int resource;
        rlim_t soft, hard;
    } rows[] = {
#define X(name, soft, hard) {RLIMIT_##name, soft, hard},
#include "worker/rlimits.def"
#undef X
    };
    _Static_assert(sizeof rows / sizeof rows[0] <= LOCKDOWN_RLIMITS_MAX, "the table has room");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        l->rlimits[i].resource = rows[i].resource;
        l->rlimits[i].limit = (struct rlimit){.rlim_cur = rows[i].soft, .rlim_max = rows[i].hard};
    }
    l->rlimit_count = sizeof rows / sizeof rows[0];
}

enum err lockdown_descriptors(const int *from, int n, unsigned off, struct errinfo *info)
{
    int source[8];
    if (n > (int)(sizeof source / sizeof source[0]))
        return errinfo_set(info, ERR_RANGE, 0, "too many descriptors");
    for (int i = 0; i < n; i++) { /* out of the way of the targets */
        source[i] = from[i] < n ? fcntl(from[i], F_DUPFD_CLOEXEC, n) : from[i];
        if (source[i] < 0)
            return errinfo_set(info, ERR_SYSTEM, errno, "descriptor %d", i);
    }
    for (int i = 0; i < n; i++)
        if (dup3(source[i], i, i < STDIO ? 0 : O_CLOEXEC) < 0)
            return errinfo_set(info, ERR_SYSTEM, errno, "descriptor %d", i);
    if (defence_on(off, DEFENCE_CLOSE_FDS) && syscall(SYS_close_range, (unsigned)n, ~0U, 0) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "close_range");
    return ERR_OK;
}

/* The steps. Each returns 0, or -1 with errno. */

/* A program starts with no signal blocked; a leader of its own session has no terminal and no foreign group. */
static int step_session(const struct lockdown *l)
{
    (void)l;
    sigset_t none;
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) != 0)
        return -1;
    return setsid() < 0 ? -1 : 0;
}

static int step_dumpable(const struct lockdown *l)
{
    (void)l;
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

/* Undumpable, as the way here left us, /proc/self belongs to an id that this pod does not have. */
static int step_oom_score(const struct lockdown *l)
{
    if (step_dumpable(l) != 0)
        return -1;
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = write(fd, "1000", 4);
    int why = errno;
    close(fd);
    errno = why;
    return n == 4 ? 0 : -1;
}

static int lower(int pid, int resource, struct rlimit want)
{
    struct rlimit now;
    if (prlimit(pid, (__rlimit_resource_t)resource, NULL, &now) != 0)
        return -1;
    want.rlim_max = want.rlim_max < now.rlim_max ? want.rlim_max : now.rlim_max;
    want.rlim_cur = want.rlim_cur < want.rlim_max ? want.rlim_cur : want.rlim_max;
    return prlimit(pid, (__rlimit_resource_t)resource, &want, NULL);
}

static int step_rlimits(const struct lockdown *l)
{
    for (unsigned i = 0; i < l->rlimit_count; i++)
        if (lower(0, l->rlimits[i].resource, l->rlimits[i].limit) != 0)
            return -1;
    return 0;
}

/* With setgroups denied to the namespace the call fails; then there must be no group to drop. */
static int step_groups(const struct lockdown *l)
{
    if (l->given) /* a volume may be ours through a group */
        return 0;
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
    for (int cap = 0; cap < CAPS_MAX && !l->given; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
            return errno == EINVAL && cap > CAP_AUDIT_READ ? 0 : -1; /* one past the last that there is */
    return 0;
}

static int step_ambient(const struct lockdown *l)
{
    (void)l;
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

static int step_securebits(const struct lockdown *l)
{
    return l->given ? 0 : prctl(PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0);
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
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{.effective = 0}};
    return (int)syscall(SYS_capset, &header, none);
}

/* Believe nothing: read back what the steps above were to have done. */
static int step_recheck(const struct lockdown *l)
{
    uid_t r, e, s;
    gid_t rg, eg, sg;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
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

static int step_landlock(const struct lockdown *l)
{
    return landlock_confine(l->work_dir, l->need_landlock);
}

static int step_seccomp(const struct lockdown *l)
{
    struct sock_fprog program = {.len = l->filter_count, .filter = l->filter};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}

/* A step belongs to a defence, or to none. The order matters: HARDENING 1.2, 17 to 22. */
#define ALWAYS DEFENCE_COUNT
struct step {
    enum defence defence;
    const char *name;
    int (*run)(const struct lockdown *l);
};

static const struct step identity[] = {
    {ALWAYS, "session", step_session},
    {DEFENCE_OOM_SCORE, "oom_score_adj", step_oom_score},
    {DEFENCE_RLIMITS, "rlimits", step_rlimits},
    {DEFENCE_NO_CAPABILITIES, "groups", step_groups},
    {DEFENCE_NO_CAPABILITIES, "bounding set", step_bounding},
    {DEFENCE_NO_CAPABILITIES, "ambient set", step_ambient},
    {DEFENCE_NO_CAPABILITIES, "securebits", step_securebits},
    {DEFENCE_NO_CAPABILITIES, "ids", step_ids},
    {DEFENCE_NO_CAPABILITIES, "capabilities", step_capabilities},
    {DEFENCE_NO_CAPABILITIES, "reading back", step_recheck},
    {ALWAYS, "working folder", step_place},
    {DEFENCE_NO_NEW_PRIVS, "no_new_privs", step_no_new_privs},
    /* The change of ids took it away, and then /proc/self/fd and the like belong to nobody in the pod. */
    {ALWAYS, "dumpable", step_dumpable},
};

static const struct step scope[] = {
    {DEFENCE_LANDLOCK, "landlock", step_landlock},
    {DEFENCE_SECCOMP, "seccomp", step_seccomp},
};

static enum err take(const struct step *steps, size_t n, const struct lockdown *l, struct errinfo *info)
{
    for (size_t i = 0; i < n; i++) {
        bool on = steps[i].defence == ALWAYS || defence_on(l->off, steps[i].defence);
        if (on && steps[i].run(l) != 0)
            return errinfo_set(info, ERR_SYSTEM, errno, "lock-down: %s", steps[i].name);
    }
    return ERR_OK;
}

enum err lockdown_identity(const struct lockdown *l, struct errinfo *info)
{
    return take(identity, sizeof identity / sizeof identity[0], l, info);
}

enum err lockdown_scope(const struct lockdown *l, struct errinfo *info)
{
    return take(scope, sizeof scope / sizeof scope[0], l, info);
}

/* What a process that was started ahead has used before its job; 0 for ourselves, who begin with it. */
static uint64_t cpu_seconds(int pid)
{
    clockid_t clock;
    struct timespec used;
    if (pid == 0 || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
        return 0;
    return (uint64_t)used.tv_sec + 1;
}

enum err lockdown_limits(int pid, const struct spec *spec, unsigned off, struct errinfo *info)
{
    const struct {
        int resource;
        uint64_t value, slack; /* 0: not given */
    } wanted[] = {
        {RLIMIT_NOFILE, spec->nofile != 0 ? spec->nofile : NOFILE_DEFAULT, 0},
        {RLIMIT_FSIZE, spec->fsize, 0},
        {RLIMIT_NPROC, spec->nproc, 0},
        /* One process alone, in whole seconds; the whole pod is counted by PID 1, which is earlier. A second more before SIGKILL. */
        {RLIMIT_CPU, spec->cpu_ms == 0 ? 0 : spec->cpu_ms / 1000 + 1 + cpu_seconds(pid), 1},
    };
    if (!defence_on(off, DEFENCE_RLIMITS))
        return ERR_OK;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        struct rlimit want = {.rlim_cur = wanted[i].value, .rlim_max = wanted[i].value + wanted[i].slack};
        if (wanted[i].value != 0 && lower(pid, wanted[i].resource, want) != 0)
            return errinfo_set(info, ERR_SYSTEM, errno, "setrlimit %d", wanted[i].resource);
    }
    return ERR_OK;
}
