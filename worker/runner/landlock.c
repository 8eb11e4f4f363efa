/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock: files by tree, TCP and scopes by what the kernel's ABI offers. The system's headers are older than the
   kernels we run on, so the numbers are ours (uapi/linux/landlock.h). */
#include "worker/runner/lockdown.h"

#include "worker/runner/pod_fds.h"
#include "worker/spawner/defence.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LL_CREATE = 444, LL_ADD_RULE = 445, LL_RESTRICT = 446, LL_VERSION_FLAG = 1, LL_PATH_BENEATH = 1 };

enum {
    FS_EXECUTE = 1 << 0,
    FS_WRITE = 1 << 1,
    FS_READ = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_ABI1 = (1 << 13) - 1, /* all of the first ABI, make and remove included */
    FS_REFER = 1 << 13,      /* ABI 2 */
    FS_TRUNCATE = 1 << 14,   /* ABI 3 */
    FS_IOCTL_DEV = 1 << 15,  /* ABI 5 */
    NET_TCP = 3,             /* bind, connect; ABI 4 */
    SCOPES = 3,              /* abstract unix sockets, signals; ABI 6 */
};

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

struct path_beneath {
    uint64_t access;
    int32_t parent;
} __attribute__((packed));

static const struct {
    const char *path;
    uint64_t access;
} trees[] = {
    {"/usr", FS_EXECUTE | FS_READ | FS_READ_DIR},     {"/etc", FS_READ | FS_READ_DIR},
    {"/proc", FS_READ | FS_READ_DIR | FS_WRITE},      {"/dev", FS_READ | FS_READ_DIR | FS_WRITE},
    {POD_WORK_DIR, FS_ABI1 | FS_REFER | FS_TRUNCATE}, {"/tmp", FS_ABI1 | FS_REFER | FS_TRUNCATE},
    {"/dev/shm", FS_ABI1 | FS_REFER | FS_TRUNCATE},   {"/", FS_READ_DIR},
};

static uint64_t handled(long abi)
{
    uint64_t fs = FS_ABI1;
    fs |= abi >= 2 ? FS_REFER : 0U;
    fs |= abi >= 3 ? FS_TRUNCATE : 0U;
    return fs;
}

static enum err allow(int ruleset, const char *path, uint64_t access, struct errinfo *info)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "Landlock: open %s", path);
    struct path_beneath rule = {.access = access, .parent = fd};
    long r = syscall(LL_ADD_RULE, ruleset, LL_PATH_BENEATH, &rule, 0);
    int why = errno;
    close(fd);
    return r == 0 ? ERR_OK : errinfo_set(info, ERR_SYSTEM, why, "Landlock: allow %s", path);
}

enum err lockdown_landlock(unsigned off, struct errinfo *info)
{
    if (!defence_on(off, DEFENCE_LANDLOCK))
        return ERR_OK;
    long abi = syscall(LL_CREATE, NULL, 0, LL_VERSION_FLAG);
    if (abi < 1)
        return ERR_OK;
    struct ruleset_attr attr = {
        .fs = handled(abi), .net = abi >= 4 ? NET_TCP : 0U, .scoped = abi >= 6 ? SCOPES : 0U};
    size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
    int ruleset = (int)syscall(LL_CREATE, &attr, size, 0);
    if (ruleset < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "Landlock: make a ruleset");
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < sizeof trees / sizeof trees[0]; i++)
        e = allow(ruleset, trees[i].path, trees[i].access & attr.fs, info);
    if (e == ERR_OK && syscall(LL_RESTRICT, ruleset, 0) != 0)
        e = errinfo_set(info, ERR_SYSTEM, errno, "Landlock: restrict");
    close(ruleset);
    return e;
}
