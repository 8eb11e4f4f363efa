/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store/spool_file.h"

#include "base/cleanup.h"
#include "base/id.h"
#include "io/store/fs_error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { NAME_TRIES = 16 };

void spool_file_new_name(char ret_name[32])
{
    snprintf(ret_name, 32, "%s", id_new().text);
}

int spool_file_dup(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* A sweeper may take the file between its making and our lock: then it has no link any more. */
static enum err open_named(struct spool_file *f, int folder_fd, struct errinfo *info)
{
    for (int i = 0; i < NAME_TRIES; i++) {
        spool_file_new_name(f->name);
        auto_fd fd = openat(folder_fd, f->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        struct stat st;
        if (fd < 0)
            break;
        if (flock(fd, LOCK_EX | LOCK_NB) || fstat(fd, &st) || st.st_nlink != 1)
            continue;
        f->folder_fd = spool_file_dup(folder_fd);
        f->fd = steal_fd(&fd);
        return ERR_OK;
    }
    f->name[0] = '\0';
    return store_fs_error(info, errno, "cannot make a temporary file");
}

enum err spool_file_open_at(struct spool_file *f, int folder_fd, bool named, struct errinfo *info)
{
    if (!named) {
        f->fd = openat(folder_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (f->fd >= 0)
            return ERR_OK;
        if (errno != EOPNOTSUPP && errno != EISDIR)
            return store_fs_error(info, errno, "cannot make a temporary file");
    }
    return open_named(f, folder_fd, info);
}

enum err spool_file_open(struct spool_file *f, const char *folder, bool named, struct errinfo *info)
{
    auto_fd folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        return store_fs_error(info, errno, folder);
    return spool_file_open_at(f, folder_fd, named, info);
}

enum err spool_file_write(struct spool_file *f, struct str bytes, struct errinfo *info)
{
    while (bytes.n > 0) {
        ssize_t n = write(f->fd, bytes.p, bytes.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return store_fs_error(info, n < 0 ? errno : ENOSPC, "cannot write");
        bytes = (struct str){.p = bytes.p + n, .n = bytes.n - (size_t)n};
    }
    return ERR_OK;
}

void spool_file_close(struct spool_file *f)
{
    if (f->name[0] != '\0')
        unlinkat(f->folder_fd, f->name, 0);
    if (f->folder_fd >= 0)
        close(f->folder_fd);
    if (f->fd >= 0)
        close(f->fd);
    *f = SPOOL_FILE_NONE;
}

void spool_folder_sweep(int folder_fd)
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (const struct dirent *d; (d = readdir(dir));) {
        auto_fd file = openat(folder_fd, d->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        struct stat st;
        if (file >= 0 && !fstat(file, &st) && S_ISREG(st.st_mode) && !flock(file, LOCK_EX | LOCK_NB))
            unlinkat(folder_fd, d->d_name, 0);
    }
    closedir(dir);
}
