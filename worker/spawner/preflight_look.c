/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/preflight_look.h"

#include "base/cleanup.h"
#include "worker/spawner/cgroup_file.h"
#include "worker/spawner/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

enum { PIDS_FREE = 4096, INODES_FREE = 10000, MIB_FREE = 512, SCOPES_ABI = 6, AF_ALG_FAMILY = 38 };
#define SYSCTL "/proc/sys/"

enum userns { USERNS_NONE, USERNS_WITHOUT_RIGHTS, USERNS_GOOD };

/* Made in a process of its own: made it can be, and its maker may do nothing there where AppArmor wills it so. */
static enum userns try_user_namespace(void)
{
    pid_t pid = fork();
    int status = 0;
    if (pid == 0) {
        if (unshare(CLONE_NEWUSER) != 0)
            _exit(USERNS_NONE);
        _exit(unshare(CLONE_NEWUTS) == 0 && sethostname("pod", 3) == 0 ? USERNS_GOOD : USERNS_WITHOUT_RIGHTS);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return USERNS_NONE;
    return (enum userns)WEXITSTATUS(status);
}

static bool has_seccomp(void)
{
    const unsigned actions[] = {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW};
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &actions[i]) != 0)
            return false;
    }
    return true;
}

/* Absent calls say ENOSYS; with nonsense arguments present ones say something else. */
static bool has_call(long number)
{
    return syscall(number, -1, NULL, -1, NULL, 0) != -1 || errno != ENOSYS;
}

/* The first line; NULL: there is no such file. */
static const char *line_of(const char *path, char *line, size_t size)
{
    auto_buf text = BUF_INIT(1 << 16);
    if (!cgroup_read_file(path, &text))
        return NULL;
    snprintf(line, size, "%.*s", (int)strcspn(buf_cstr(&text), "\n"), buf_cstr(&text));
    return line;
}

static bool has_swap(void)
{
    auto_buf text = BUF_INIT(1 << 16);
    if (!cgroup_read_file("/proc/swaps", &text))
        return false;
    const char *second = strchr(buf_cstr(&text), '\n');
    return second != NULL && second[1] != '\0';
}

static int landlock_version(void)
{
    long abi = syscall(444 /* landlock_create_ruleset */, NULL, 0, 1 /* VERSION */);
    return abi > 0 ? (int)abi : 0;
}

/* ---- rows that have something to tell ---- */

/* What was found goes beside the row. */
static bool is_landlock(char *found, int at_least)
{
    int abi = landlock_version();
    snprintf(found, PREFLIGHT_FACT_MAX, "ABI %d", abi);
    return abi >= at_least;
}

static bool cores_are_files(char *found)
{
    char pattern[PREFLIGHT_FACT_MAX];
    const char *read = line_of(SYSCTL "kernel/core_pattern", pattern, sizeof pattern);
    snprintf(found, PREFLIGHT_FACT_MAX, "%s", read != NULL ? read : "unknown");
    return preflight_core_is_file(read);
}

static bool io_uring_is_off(char *found)
{
    char disabled[8];
    const char *read = line_of(SYSCTL "kernel/io_uring_disabled", disabled, sizeof disabled);
    bool there = has_call(SYS_io_uring_register);
    snprintf(found, PREFLIGHT_FACT_MAX, "%s", !there ? "none" : read != NULL ? read : "no such setting");
    return preflight_io_uring_is_off(read, there);
}

static bool has_no_af_alg(void)
{
    int fd = socket(AF_ALG_FAMILY, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        close(fd);
    return fd < 0;
}

static bool links_are_protected(char *found)
{
    char hard[8], soft[8];
    const char *h = line_of(SYSCTL "fs/protected_hardlinks", hard, sizeof hard);
    const char *s = line_of(SYSCTL "fs/protected_symlinks", soft, sizeof soft);
    snprintf(found, PREFLIGHT_FACT_MAX, "%s %s", h != NULL ? h : "?", s != NULL ? s : "?");
    return h != NULL && s != NULL && *h != '0' && *s != '0';
}

static bool enough(char *found, bool known, uint64_t count, uint64_t least)
{
    snprintf(found, PREFLIGHT_FACT_MAX, "unknown");
    if (known)
        snprintf(found, PREFLIGHT_FACT_MAX, "%" PRIu64, count);
    return known && count >= least;
}

static bool has_pids(char *found)
{
    char load[80], max[32];
    uint64_t count = 0;
    bool known = line_of("/proc/loadavg", load, sizeof load) != NULL &&
                 line_of(SYSCTL "kernel/pid_max", max, sizeof max) != NULL &&
                 preflight_free_pids(load, max, &count);
    return enough(found, known, count, PIDS_FREE);
}

/* A file system without a number of inodes (btrfs) has as many as one likes. */
static bool has_inodes(char *found, int state)
{
    struct statvfs fs;
    bool known = fstatvfs(state, &fs) == 0;
    return enough(found, known, known && fs.f_files > 0 ? fs.f_favail : UINT32_MAX, INODES_FREE);
}

static bool has_memory(char *found)
{
    auto_buf text = BUF_INIT(1 << 16);
    uint64_t mib = 0;
    bool known = cgroup_read_file("/proc/meminfo", &text) && preflight_available_mib(buf_cstr(&text), &mib);
    return enough(found, known, mib, MIB_FREE);
}

static void tell_host(const struct cgroups *c, char *host, size_t size)
{
    static const char *const names[] = {"memory", "pids", "cpu", "cpuacct"};
    struct utsname u = {0};
    (void)uname(&u); /* only a bad address is refused */
    int n = snprintf(host, size, "%s %s", u.sysname, u.release);
    for (size_t i = 0; i < c->trees_n; i++) {
        for (size_t k = 0; k < sizeof names / sizeof names[0] && n > 0 && (size_t)n < size; k++) {
            if ((c->trees[i].has & 1U << k) != 0)
                n += snprintf(host + n, size - (size_t)n, ", %s by cgroup v%c", names[k],
                              c->trees[i].v2 ? '2' : '1');
        }
    }
}

/* MILLRACE_TEST_MISSING=landlock,io_uring_off */
static uint64_t taken_away(void)
{
    uint64_t bits = 0;
#ifdef MILLRACE_TEST_BUILD
    for (struct str rest = str_of(getenv("MILLRACE_TEST_MISSING")); rest.p != NULL;) {
        struct str name = str_split(&rest, ',');
        enum preflight p = preflight_named(name);
        if (p != PREFLIGHT_COUNT)
            bits |= 1ULL << p;
        else if (name.n > 0)
            fprintf(stderr, "millrace-spawner: MILLRACE_TEST_MISSING: no row is named " STR_FMT "\n",
                    STR_ARG(name));
    }
#endif
    return bits;
}

void preflight_look(const struct cgroups *c, bool privileged, int state, struct preflight_facts *f)
{
    enum userns userns = try_user_namespace();
    *f = (struct preflight_facts){.missing = taken_away()};
    tell_host(c, f->host, sizeof f->host);
    const bool present[] = {
        [PREFLIGHT_USER_NAMESPACES] = userns != USERNS_NONE,
        [PREFLIGHT_SECCOMP] = has_seccomp(),
        [PREFLIGHT_NEW_MOUNT_API] =
            has_call(SYS_mount_setattr) && has_call(SYS_open_tree) && has_call(SYS_move_mount),
        [PREFLIGHT_PIDFD] = has_call(SYS_pidfd_open) && has_call(SYS_close_range),
        [PREFLIGHT_SUBORDINATE_IDS] = privileged || idmap_has_subordinate(),
        [PREFLIGHT_MEMORY_LIMIT] = (c->has & 1U << CG_MEMORY) != 0,
        [PREFLIGHT_PIDS_LIMIT] = (c->has & 1U << CG_PIDS) != 0,
        [PREFLIGHT_CPU_LIMIT] = (c->has & 1U << CG_CPU) != 0,
        [PREFLIGHT_SWAP_LIMIT] = c->swap_accounted || !has_swap(),
        [PREFLIGHT_LANDLOCK] = is_landlock(f->found[PREFLIGHT_LANDLOCK], 1),
        [PREFLIGHT_USERNS_RIGHTS] = userns != USERNS_WITHOUT_RIGHTS,
        [PREFLIGHT_OPENAT2] = has_call(SYS_openat2),
        [PREFLIGHT_CLONE3] = has_call(SYS_clone3),
        [PREFLIGHT_LANDLOCK_SCOPES] = is_landlock(f->found[PREFLIGHT_LANDLOCK_SCOPES], SCOPES_ABI),
        [PREFLIGHT_CORE_TO_FILE] = cores_are_files(f->found[PREFLIGHT_CORE_TO_FILE]),
        [PREFLIGHT_IO_URING_OFF] = io_uring_is_off(f->found[PREFLIGHT_IO_URING_OFF]),
        [PREFLIGHT_NO_AF_ALG] = has_no_af_alg(),
        [PREFLIGHT_PROTECTED_LINKS] = links_are_protected(f->found[PREFLIGHT_PROTECTED_LINKS]),
        [PREFLIGHT_FREE_PIDS] = has_pids(f->found[PREFLIGHT_FREE_PIDS]),
        [PREFLIGHT_FREE_INODES] = has_inodes(f->found[PREFLIGHT_FREE_INODES], state),
        [PREFLIGHT_FREE_MEMORY] = has_memory(f->found[PREFLIGHT_FREE_MEMORY]),
    };
    for (int i = 0; i < PREFLIGHT_COUNT; i++)
        f->missing |= present[i] ? 0 : 1ULL << i;
}
