/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/apply.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static enum err failed(const struct op *op, const char *what, struct errinfo *info)
{
    return errinfo_set(info, ERR_SYSTEM, errno, "%s %s", what, op->path != NULL ? op->path : "");
}

static bool absent(const struct op *op)
{
    return op->optional && (errno == ENOENT || errno == ENOTDIR);
}

static unsigned long mount_flags(unsigned flags)
{
    return (flags & PLAN_RDONLY ? MS_RDONLY : 0) | (flags & PLAN_NOSUID ? MS_NOSUID : 0) |
           (flags & PLAN_NODEV ? MS_NODEV : 0) | (flags & PLAN_NOEXEC ? MS_NOEXEC : 0);
}

static int set_attributes(int fd, const char *path, unsigned flags, bool recursive)
{
    struct mount_attr attr = {.attr_set = (flags & PLAN_RDONLY ? MOUNT_ATTR_RDONLY : 0U) |
                                          (flags & PLAN_NOSUID ? MOUNT_ATTR_NOSUID : 0U) |
                                          (flags & PLAN_NODEV ? MOUNT_ATTR_NODEV : 0U) |
                                          (flags & PLAN_NOEXEC ? MOUNT_ATTR_NOEXEC : 0U)};
    unsigned at = (*path == '\0' ? AT_EMPTY_PATH : 0U) | (recursive ? AT_RECURSIVE : 0U);
    return (int)syscall(SYS_mount_setattr, fd, path, at, &attr, sizeof attr);
}

static enum err op_dir(const struct op *op, struct errinfo *info)
{
    if (mkdir(op->path, 0755) != 0 && errno != EEXIST)
        return failed(op, "make directory", info);
    return ERR_OK;
}

static enum err op_link(const struct op *op, struct errinfo *info)
{
    return symlink(op->arg, op->path) == 0 ? ERR_OK : failed(op, "make link", info);
}

static enum err op_file(const struct op *op, struct errinfo *info)
{
    auto_fd fd = open(op->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    size_t len = strlen(op->arg);
    if (fd < 0 || write(fd, op->arg, len) != (ssize_t)len)
        return failed(op, "make file", info);
    return ERR_OK;
}

static enum err op_tmpfs(const struct op *op, struct errinfo *info)
{
    char options[160];
    int n = snprintf(options, sizeof options, "mode=%o,uid=%u,gid=%u", op->mode, op->id, op->id);
    if (op->bytes != 0 && n > 0 && (size_t)n < sizeof options)
        snprintf(options + n, sizeof options - (size_t)n, ",size=%llu,nr_inodes=%llu",
                 (unsigned long long)op->bytes, (unsigned long long)op->inodes);
    if (mount("tmpfs", op->path, "tmpfs", mount_flags(op->flags), options) != 0)
        return failed(op, "mount tmpfs on", info);
    return ERR_OK;
}

static enum err make_target(const struct op *op, mode_t mode, struct errinfo *info)
{
    if (S_ISDIR(mode))
        return op_dir(op, info);
    auto_fd fd = open(op->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    return fd >= 0 ? ERR_OK : failed(op, "make file", info);
}

static enum err op_bind(const struct op *op, struct errinfo *info)
{
    char source[64];
    struct stat st;
    snprintf(source, sizeof source, "%s%s", op->arg[0] == '/' ? "" : "/", op->arg);
    if (stat(source, &st) != 0)
        return absent(op) ? ERR_OK : errinfo_set(info, ERR_SYSTEM, errno, "%s", source);
    enum err e = make_target(op, st.st_mode, info);
    if (e != ERR_OK)
        return e;
    auto_fd tree = (int)syscall(SYS_open_tree, AT_FDCWD, source,
                                1U /* OPEN_TREE_CLONE */ | O_CLOEXEC | (op->recursive ? AT_RECURSIVE : 0U));
    if (tree < 0)
        return failed(op, "clone", info);
    if (op->flags != 0 && set_attributes(tree, "", op->flags, op->recursive) != 0)
        return failed(op, "protect", info);
    if (syscall(SYS_move_mount, tree, "", AT_FDCWD, op->path, 4U /* MOVE_MOUNT_F_EMPTY_PATH */) != 0)
        return failed(op, "attach", info);
    return ERR_OK;
}

static enum err op_proc(const struct op *op, struct errinfo *info)
{
    struct statfs fs;
    if (mount("proc", op->path, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, op->arg) != 0)
        return failed(op, "mount", info);
    if (statfs(op->path, &fs) != 0 || fs.f_type != PROC_SUPER_MAGIC)
        return errinfo_set(info, ERR_SYSTEM, 0, "/proc is not a procfs");
    return ERR_OK;
}

static enum err op_write(const struct op *op, struct errinfo *info)
{
    auto_fd fd = open(op->path, O_WRONLY | O_CLOEXEC);
    size_t len = strlen(op->arg);
    if (fd < 0 || write(fd, op->arg, len) != (ssize_t)len)
        return failed(op, "write", info);
    return ERR_OK;
}

static enum err op_protect(const struct op *op, struct errinfo *info)
{
    return set_attributes(AT_FDCWD, op->path, op->flags, op->recursive) == 0 ? ERR_OK
                                                                             : failed(op, "protect", info);
}

static enum err op_read_only(const struct op *op, struct errinfo *info)
{
    if (mount(op->path, op->path, NULL, MS_BIND | MS_REC, NULL) != 0)
        return absent(op) ? ERR_OK : failed(op, "bind", info);
    struct op protect = *op;
    protect.flags = PLAN_RDONLY;
    return op_protect(&protect, info);
}

static enum err op_check_null(const struct op *op, struct errinfo *info)
{
    struct stat st;
    if (lstat(op->path, &st) != 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
        return errinfo_set(info, ERR_SYSTEM, 0, "/dev/null is not the null device");
    return ERR_OK;
}

/* The target is in the procfs that was mounted just now, and nobody else is here yet: its names are the kernel's. */
static enum err op_hide_file(const struct op *op, struct errinfo *info)
{
    if (mount("dev/null", op->path, NULL, MS_BIND, NULL) != 0)
        return absent(op) ? ERR_OK : failed(op, "hide", info);
    return ERR_OK;
}

static enum err op_hide_dir(const struct op *op, struct errinfo *info)
{
    unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (op->arg != NULL ? mount(op->arg, op->path, NULL, MS_BIND, NULL) != 0
                        : mount("tmpfs", op->path, "tmpfs", flags, "size=4k,nr_inodes=2,mode=755") != 0)
        return absent(op) ? ERR_OK : failed(op, "hide", info);
    return ERR_OK;
}

static enum err op_hostname(const struct op *op, struct errinfo *info)
{
    return sethostname(op->arg, strlen(op->arg)) == 0 ? ERR_OK : failed(op, "set the host name", info);
}

static enum err (*const appliers[])(const struct op *, struct errinfo *) = {
    [OP_DIR] = op_dir,
    [OP_LINK] = op_link,
    [OP_FILE] = op_file,
    [OP_TMPFS] = op_tmpfs,
    [OP_BIND] = op_bind,
    [OP_PROC] = op_proc,
    [OP_WRITE] = op_write,
    [OP_READ_ONLY] = op_read_only,
    [OP_CHECK_NULL] = op_check_null,
    [OP_HIDE_FILE] = op_hide_file,
    [OP_HIDE_DIR] = op_hide_dir,
    [OP_PROTECT] = op_protect,
    [OP_HOSTNAME] = op_hostname,
};

enum err apply_plan(const struct plan *plan, struct errinfo *info)
{
    if (plan->overflow)
        return errinfo_set(info, ERR_FULL, 0, "the sandbox plan is longer than its array");
    for (size_t i = 0; i < plan->n; i++) {
        enum err e = appliers[plan->ops[i].type](&plan->ops[i], info);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}
