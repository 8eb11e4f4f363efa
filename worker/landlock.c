/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/landlock.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The distribution's header ends at ABI 2; these are the kernel's numbers (uapi/linux/landlock.h). */
enum {
    CREATE_VERSION = 1,
    RULE_PATH = 1,
    FS_EXECUTE = 1 << 0,
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_ABI1 = (1 << 13) - 1, /* all of the first ABI, make and remove included */
    FS_REFER = 1 << 13,      /* ABI 2 */
    FS_TRUNCATE = 1 << 14,   /* ABI 3 */
    FS_IOCTL_DEV = 1 << 15,  /* ABI 5 */
    NET_TCP = 3,             /* bind, connect; ABI 4 */
    SCOPE_ALL = 3,           /* abstract unix sockets, signals; ABI 6 */
};

struct ruleset {
    uint64_t fs, net, scoped;
};

struct path_rule {
    uint64_t access;
    int32_t parent;
} __attribute__((packed));

int landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
    return abi > 0 ? (int)abi : 0;
}

static struct ruleset handled(int abi, size_t *ret_size)
{
    struct ruleset r = {.fs = FS_ABI1};
    r.fs |= abi >= 2 ? FS_REFER : 0;
    r.fs |= abi >= 3 ? FS_TRUNCATE : 0;
    r.fs |= abi >= 5 ? FS_IOCTL_DEV : 0;
    r.net = abi >= 4 ? NET_TCP : 0;
    r.scoped = abi >= 6 ? SCOPE_ALL : 0;
    *ret_size = abi >= 6   ? sizeof r
                : abi >= 4 ? offsetof(struct ruleset, scoped)
                           : offsetof(struct ruleset, net);
    return r;
}

enum reach { REACH_LIST, REACH_READ, REACH_RUN, REACH_DEVICE, REACH_ALL };

/* /bin and the like are links into /usr on most hosts, and then need no rule; on the others they are trees of their own.
   /proc is for reading: its files that can be written are for changing oneself (oom_score_adj, mem, uid_map), and what a program
   has a reason to change there it can change by system call. */
static const struct {
    const char *path;
    enum reach reach;
} places[] = {
    {"/", REACH_LIST},      {"/usr", REACH_RUN},   {"/bin", REACH_RUN},   {"/sbin", REACH_RUN},
    {"/lib", REACH_RUN},    {"/lib32", REACH_RUN}, {"/lib64", REACH_RUN}, {"/libx32", REACH_RUN},
    {"/etc", REACH_READ},   {"/proc", REACH_READ}, {"/tmp", REACH_ALL},   {"/dev/shm", REACH_ALL},
    {"/dev", REACH_DEVICE},
};

/* No tree has the ioctl right: the five devices of a pod work without, and a device that got in by mistake must not. */
static const uint64_t reaches[] = {
    [REACH_LIST] = FS_READ_DIR,
    [REACH_READ] = FS_READ_DIR | FS_READ_FILE,
    [REACH_RUN] = FS_READ_DIR | FS_READ_FILE | FS_EXECUTE,
    [REACH_DEVICE] = FS_READ_DIR | FS_READ_FILE | FS_WRITE_FILE,
    [REACH_ALL] = FS_ABI1 | FS_REFER | FS_TRUNCATE,
};

/* A place that this pod does not have, or that is a link, needs no rule: without one nothing of it is allowed. */
static int allow(int ruleset, const char *path, uint64_t access)
{
    auto_fd parent = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (parent < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -1;
    struct path_rule rule = {.access = access, .parent = parent};
    return (int)syscall(SYS_landlock_add_rule, ruleset, RULE_PATH, &rule, 0);
}

int landlock_confine(const char *work_dir, bool needed)
{
    int abi = landlock_abi();
    if (abi == 0) {
        errno = EOPNOTSUPP;
        return needed ? -1 : 0;
    }
    size_t size = 0;
    struct ruleset r = handled(abi, &size);
    auto_fd ruleset = (int)syscall(SYS_landlock_create_ruleset, &r, size, 0);
    if (ruleset < 0)
        return -1;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (allow(ruleset, places[i].path, reaches[places[i].reach] & r.fs) != 0)
            return -1;
    if (allow(ruleset, work_dir, reaches[REACH_ALL] & r.fs) != 0)
        return -1;
    return (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
}
