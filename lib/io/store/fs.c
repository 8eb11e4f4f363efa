/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store/fs.h"

#include "base/cleanup.h"
#include "io/store/fs_error.h"
#include "io/store/spool_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* A put whose directory is removed under it, or whose temporary name is swept, begins anew this often. */
enum { TRIES = 16, PIECE = 256 << 10 };

/* ---- the folder ---- */

enum err store_fs_open(struct store_fs *fs, const char *folder, bool no_tmpfile)
{
    *fs = (struct store_fs){.folder = strdup(folder), .no_tmpfile = no_tmpfile, .root_fd = -1, .tmp_fd = -1};
    if (!fs->folder || uv_mutex_init(&fs->lock)) {
        free(fs->folder);
        return ERR_NOMEM;
    }
    return ERR_OK;
}

void store_fs_close(struct store_fs *fs)
{
    cleanup_fd(&fs->root_fd);
    cleanup_fd(&fs->tmp_fd);
    uv_mutex_destroy(&fs->lock);
    free(fs->folder);
}

static void make_parents(char *path)
{
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(path, 0700); /* what fails shows when the folder itself is opened */
        *slash = '/';
    }
    mkdir(path, 0700);
}

static enum err prepare(struct store_fs *fs, struct errinfo *info)
{
    cleanup_fd(&fs->root_fd);
    cleanup_fd(&fs->tmp_fd);
    make_parents(fs->folder);
    struct stat st;
    fs->root_fd = open(fs->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fs->root_fd < 0 || fstat(fs->root_fd, &st))
        return store_fs_error(info, errno, fs->folder);
    fs->mode = st.st_mode & 07777;
    /* The umask may have taken some of the mode. */
    if (mkdirat(fs->root_fd, ".tmp", fs->mode) == 0 && fchmodat(fs->root_fd, ".tmp", fs->mode, 0))
        return store_fs_error(info, errno, fs->folder);
    fs->tmp_fd = openat(fs->root_fd, ".tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fs->tmp_fd < 0)
        return store_fs_error(info, errno, fs->folder);
    spool_folder_sweep(fs->tmp_fd);
    fs->prepared = true;
    return ERR_OK;
}

enum err store_fs_prepare(struct store_fs *fs, struct errinfo *info)
{
    uv_mutex_lock(&fs->lock);
    enum err e = fs->prepared ? ERR_OK : prepare(fs, info);
    uv_mutex_unlock(&fs->lock);
    return e == ERR_NOT_FOUND ? (info->code = ERR_UNAVAILABLE) : e;
}

enum err store_fs_check(struct store_fs *fs, struct errinfo *info)
{
    enum err e = store_fs_prepare(fs, info);
    if (!e && faccessat(fs->root_fd, ".", R_OK | W_OK | X_OK, AT_EACCESS))
        e = store_fs_error(info, errno, fs->folder);
    return e;
}

/* ---- names ---- */

enum { PATH_SIZE = OBJECT_KEY_MAX + 16 };

/* The parent directory's path in `path` ("." at the top), the object's name is returned. */
static const char *split_key(const char *key, char path[PATH_SIZE])
{
    const char *name = strrchr(key, '/');
    if (!name) {
        snprintf(path, PATH_SIZE, ".");
        return key;
    }
    size_t n = 0;
    for (const char *p = key; p <= name && n < PATH_SIZE - 2; p++) {
        if (*p == '/')
            path[n++] = '+';
        path[n++] = *p;
    }
    path[n - 1] = '\0'; /* the last slash */
    return name + 1;
}

static int open_parent(const struct store_fs *fs, const char *path)
{
    return openat(fs->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* One level beneath `at`, made when it is not there and then durable. -1 with errno. */
static int enter_or_make(const struct store_fs *fs, int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    if (mkdirat(at, name, fs->mode) == 0) {
        if (fchmodat(at, name, fs->mode, 0) || fsync(at))
            return -1;
    } else if (errno != EEXIST) {
        return -1;
    }
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

static int make_parent(const struct store_fs *fs, const char *path)
{
    char copy[PATH_SIZE];
    snprintf(copy, sizeof copy, "%s", path);
    int at = spool_file_dup(fs->root_fd);
    for (char *name = copy, *slash; at >= 0 && name; name = slash) {
        slash = strchr(name, '/');
        if (slash)
            *slash++ = '\0';
        int next = enter_or_make(fs, at, name);
        int number = errno;
        close(at);
        errno = number;
        at = next;
    }
    return at;
}

/* ---- put ---- */

void store_source_release(struct store_source *s)
{
    cleanup_fd(&s->fd);
    free(s->bytes);
    s->bytes = NULL;
    s->fd = -1;
}

enum err store_source_read(const struct store_source *s, uint64_t at, char *room, size_t want,
                           struct errinfo *info)
{
    if (s->fd < 0) {
        memcpy(room, s->bytes + at, want);
        return ERR_OK;
    }
    while (want > 0) {
        ssize_t n = pread(s->fd, room, want, (off_t)(s->from + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return store_fs_error(info, errno, "cannot read what is to be stored");
        if (n == 0)
            return errinfo_set(info, ERR_CORRUPT, 0, "what is to be stored is shorter than was said");
        room += n;
        at += (uint64_t)n;
        want -= (size_t)n;
    }
    return ERR_OK;
}

static enum err copy_source(const struct store_source *source, struct spool_file *to, struct errinfo *info)
{
    auto_free char *room = malloc(PIECE);
    if (!room)
        return ERR_NOMEM;
    struct sha256_state *hash = source->check ? sha256_begin() : NULL;
    enum err e = ERR_OK;
    for (uint64_t at = 0; !e && at < source->size;) {
        size_t n = source->size - at < PIECE ? (size_t)(source->size - at) : PIECE;
        e = store_source_read(source, at, room, n, info);
        if (!e && hash)
            sha256_add(hash, (struct str){.p = room, .n = n});
        e = e ? e : spool_file_write(to, (struct str){.p = room, .n = n}, info);
        at += n;
    }
    if (!hash)
        return e;
    struct sha256 got = sha256_end(hash);
    if (!e && memcmp(got.bytes, source->sha256.bytes, SHA256_LEN))
        e = errinfo_set(info, ERR_CORRUPT, 0, "what is to be stored has another SHA-256 than was said");
    return e;
}

/* Gives the file of `f` the name `name` in `at`. 0 or an errno. */
static int link_as(const struct spool_file *f, int tmp_fd, int at, const char *name)
{
    if (f->name[0] != '\0')
        return linkat(tmp_fd, f->name, at, name, 0) ? errno : 0;
    char self[48];
    snprintf(self, sizeof self, "/proc/self/fd/%d", f->fd);
    return linkat(AT_FDCWD, self, at, name, AT_SYMLINK_FOLLOW) ? errno : 0;
}

static int replace_as(const struct store_fs *fs, const struct spool_file *f, int at, const char *name)
{
    char temporary[32];
    spool_file_new_name(temporary);
    int number = link_as(f, fs->tmp_fd, fs->tmp_fd, temporary);
    if (number)
        return number;
    if (renameat(fs->tmp_fd, temporary, at, name) == 0)
        return 0;
    number = errno;
    unlinkat(fs->tmp_fd, temporary, 0);
    return number;
}

static int publish_once(const struct store_fs *fs, const struct spool_file *f, const char *key,
                        bool if_absent)
{
    char path[PATH_SIZE];
    const char *name = split_key(key, path);
    auto_fd parent = make_parent(fs, path);
    if (parent < 0)
        return errno;
    int number = link_as(f, fs->tmp_fd, parent, name);
    if (number == EEXIST && !if_absent)
        number = replace_as(fs, f, parent, name);
    return number ? number : fsync(parent) ? errno : 0;
}

static enum err publish(const struct store_fs *fs, const struct spool_file *f, const char *key,
                        bool if_absent, struct errinfo *info)
{
    if (fchmod(f->fd, fs->mode & 0666) || fsync(f->fd))
        return store_fs_error(info, errno, "cannot finish the file");
    int number = ENOENT;
    for (int i = 0; number == ENOENT && i < TRIES; i++)
        number = publish_once(fs, f, key, if_absent);
    if (number == 0)
        return ERR_OK;
    enum err e = store_fs_error(info, number, "cannot give the object its name");
    return e == ERR_NOT_FOUND ? (info->code = ERR_UNAVAILABLE) : e;
}

enum err store_fs_put(struct store_fs *fs, const char *key, const struct store_source *source, bool if_absent,
                      struct errinfo *info)
{
    enum err e = store_fs_prepare(fs, info);
    if (e)
        return e;
    struct spool_file linked = {.fd = source->fd, .folder_fd = -1};
    memcpy(linked.name, source->name, sizeof linked.name);
    if (source->linkable) {
        e = publish(fs, &linked, key, if_absent, info);
        /* A spool that has a name may have been dropped, and its name with it; its bytes are still there. */
        if (linked.name[0] == '\0' || faccessat(fs->tmp_fd, linked.name, F_OK, 0) == 0 ||
            e != ERR_UNAVAILABLE)
            return e;
    }
    struct spool_file file = SPOOL_FILE_NONE;
    e = spool_file_open_at(&file, fs->tmp_fd, fs->no_tmpfile, info);
    e = e ? e : copy_source(source, &file, info);
    e = e ? e : publish(fs, &file, key, if_absent, info);
    spool_file_close(&file);
    return e;
}

/* ---- get, delete ---- */

static struct object_meta meta_of(const struct stat *st)
{
    return (struct object_meta){.size = (uint64_t)st->st_size,
                                .time_ms =
                                    (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000};
}

enum err store_fs_get(struct store_fs *fs, const char *key, int *ret_fd, struct object_meta *ret_meta,
                      struct errinfo *info)
{
    char path[PATH_SIZE];
    const char *name = split_key(key, path);
    enum err e = store_fs_prepare(fs, info);
    if (e)
        return e;
    auto_fd parent = open_parent(fs, path);
    auto_fd fd = parent < 0 ? -1 : openat(parent, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return store_fs_error(info, errno, "cannot open the object");
    if (!S_ISREG(st.st_mode))
        return errinfo_set(info, ERR_CORRUPT, 0, "the object is no regular file");
    *ret_meta = meta_of(&st);
    *ret_fd = steal_fd(&fd);
    return ERR_OK;
}

enum err store_fs_delete(struct store_fs *fs, const char *key, struct errinfo *info)
{
    char path[PATH_SIZE];
    const char *name = split_key(key, path);
    enum err e = store_fs_prepare(fs, info);
    if (e)
        return e;
    auto_fd parent = open_parent(fs, path);
    if (parent < 0 || unlinkat(parent, name, 0) || fsync(parent))
        e = errno == ENOENT || errno == ENOTDIR ? ERR_OK
                                                : store_fs_error(info, errno, "cannot delete the object");
    /* Directories that have become empty go too; a put that needs one makes it again. */
    while (!e && strcmp(path, ".") && unlinkat(fs->root_fd, path, AT_REMOVEDIR) == 0) {
        char *slash = strrchr(path, '/');
        if (!slash)
            break;
        *slash = '\0';
    }
    return e;
}
