/* SPDX-License-Identifier: Apache-2.0 */
/* Input files: the worker names them, checks their hashes, and says START only when all are here. */
#include "worker/runner/files.h"

#include "worker/runner/pod_fds.h"
#include "worker/spawner/defence.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HOW_RESOLVE (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)

int files_open(const struct files *f, int folder, const char *path, int flags, unsigned mode)
{
    struct open_how how = {
        .flags = (unsigned)flags | O_CLOEXEC | O_NOFOLLOW, .mode = mode, .resolve = HOW_RESOLVE};
    if (!defence_on(f->off, DEFENCE_PLAIN_FILES)) {
        how.flags &= ~(unsigned)O_NOFOLLOW;
        how.resolve = 0;
    }
    for (int i = 0; i < 8; i++) { /* EAGAIN: something was renamed meanwhile */
        long fd = syscall(SYS_openat2, folder, path, &how, sizeof how);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            return (int)fd;
    }
    return -1;
}

int files_give(bool contained, int fd)
{
    return contained ? 0 : fchown(fd, POD_UID, POD_GID);
}

bool files_root(struct files *f)
{
    if (f->open)
        return true;
    f->root = open(POD_WORK_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    f->open = f->root >= 0;
    f->file = -1;
    return f->open;
}

const char *files_name(const struct files *f, const struct files_entry *e)
{
    return f->names + e->at;
}

struct files_entry *files_note(struct files *f, enum files_kind kind, struct str path)
{
    if (f->count == FILES_ENTRIES_MAX || FILES_NAMES_MAX - f->names_len < path.n + 1)
        return NULL;
    struct files_entry *e = &f->entries[f->count++];
    *e = (struct files_entry){.at = (uint32_t)f->names_len, .kind = (uint8_t)kind};
    memcpy(f->names + f->names_len, path.p, path.n);
    f->names[f->names_len + path.n] = '\0';
    f->names_len += path.n + 1;
    return e;
}

enum err files_collect(struct files *f, struct str payload)
{
    if (f->wanted || frame_get_collect(payload, &f->bounds) != ERR_OK)
        return ERR_PROTOCOL;
    f->wanted = true;
    struct str rest = f->bounds.skip;
    while (rest.n > 0) {
        struct str name = str_split(&rest, '\0');
        if (name.n > 0 && !files_note(f, FILES_SKIP, name))
            return ERR_PROTOCOL;
    }
    f->bounds.skip = (struct str){0}; /* it was a view */
    return ERR_OK;
}

/* The folder of `path`, made where it is missing; *ret_name is what is behind it. -1 with errno. */
static int folder_of(const struct files *f, char *path, const char **ret_name)
{
    int at = dup(f->root);
    char *slash;
    while (at >= 0 && (slash = strchr(path, '/')) != NULL) {
        *slash = '\0';
        bool made = mkdirat(at, path, 0755) == 0;
        int next = made || errno == EEXIST ? files_open(f, at, path, O_RDONLY | O_DIRECTORY, 0) : -1;
        if (next >= 0 && made && files_give(f->contained, next) != 0) {
            close(next);
            next = -1;
        }
        int why = errno;
        close(at);
        errno = why;
        at = next;
        path = slash + 1;
    }
    *ret_name = path;
    return at;
}

static enum err settle_input(struct files *f, const struct frame_file *in)
{
    bool fixed = (in->flags & FRAME_FILE_READ_ONLY) != 0;
    struct timespec when = {.tv_sec = in->time_ms / 1000, .tv_nsec = in->time_ms % 1000 * 1000000};
    const struct timespec times[2] = {when, when};
    unsigned mode = in->flags & FRAME_FILE_HAS_MODE ? in->flags >> FRAME_FILE_MODE_SHIFT & 0777 : 0644;
    if (fchmod(f->file, fixed ? 0444 : mode) != 0 || (!fixed && files_give(f->contained, f->file) != 0) ||
        futimens(f->file, times) != 0)
        return ERR_SYSTEM;
    return ERR_OK;
}

static void close_whole(struct files *f)
{
    if (f->left > 0)
        return;
    close(f->file);
    f->file = -1;
}

/* Of a workspace; it is whole with that. */
static enum err make_special(const struct files *f, const struct frame_file *in, struct str target,
                             int folder, const char *name)
{
    char text[FRAME_LINK_MAX + 1];
    if (in->flags & FRAME_FILE_FOLDER) {
        bool made = mkdirat(folder, name, 0755) == 0;
        int fd = made ? files_open(f, folder, name, O_RDONLY | O_DIRECTORY, 0) : -1;
        bool given = fd >= 0 && files_give(f->contained, fd) == 0;
        if (fd >= 0)
            close(fd);
        return given || (!made && errno == EEXIST) ? ERR_OK : ERR_SYSTEM;
    }
    if (target.p == NULL || target.n > FRAME_LINK_MAX)
        return ERR_PROTOCOL;
    memcpy(text, target.p, target.n);
    text[target.n] = '\0';
    if (symlinkat(text, folder, name) != 0)
        return ERR_SYSTEM;
    return f->contained || fchownat(folder, name, POD_UID, POD_GID, AT_SYMLINK_NOFOLLOW) == 0 ? ERR_OK
                                                                                              : ERR_SYSTEM;
}

static bool is_special(const struct frame_file *in)
{
    return (in->flags & (FRAME_FILE_FOLDER | FRAME_FILE_LINK)) != 0;
}

enum err files_input(struct files *f, struct str payload, struct errinfo *info)
{
    struct str target = {0};
    struct frame_file in;
    char path[FRAME_PATH_MAX + 1];
    const char *name;
    if (frame_get_file(payload, &in) != ERR_OK)
        return ERR_PROTOCOL;
    if (in.flags & FRAME_FILE_LINK && frame_get_link(in.path, &in.path, &target) != ERR_OK)
        return ERR_PROTOCOL;
    if (!frame_path_ok(in.path) || in.time_ms < 0 || !files_input_whole(f))
        return ERR_PROTOCOL;
    if (!files_root(f))
        return errinfo_set(info, ERR_SYSTEM, errno, "open the working directory");
    memcpy(path, in.path.p, in.path.n);
    path[in.path.n] = '\0';
    int folder = folder_of(f, path, &name);
    if (folder >= 0 && is_special(&in)) {
        enum err e = make_special(f, &in, target, folder, name);
        close(folder);
        return e == ERR_OK
                   ? e
                   : errinfo_set(info, e, errno, "make " STR_FMT " of the workspace", STR_ARG(in.path));
    }
    if (folder >= 0) {
        f->file = files_open(f, folder, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
        int why = errno;
        close(folder);
        errno = why;
    }
    if (folder < 0 || f->file < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "make the input file " STR_FMT, STR_ARG(in.path));
    bool fixed = (in.flags & FRAME_FILE_READ_ONLY) != 0;
    if (!files_note(f, fixed ? FILES_FIXED : FILES_INPUT, in.path))
        return ERR_PROTOCOL;
    f->left = in.size;
    f->pending = in;
    f->pending.path = (struct str){0}; /* it was a view */
    if (in.size > 0)                   /* mode and times last of all: writing would change them */
        return ERR_OK;
    if (settle_input(f, &in) != ERR_OK)
        return errinfo_set(info, ERR_SYSTEM, errno, "settle the input file " STR_FMT, STR_ARG(in.path));
    close_whole(f);
    return ERR_OK;
}

enum err files_input_data(struct files *f, struct str bytes, struct errinfo *info)
{
    if (files_input_whole(f) || bytes.n > f->left)
        return ERR_PROTOCOL;
    for (size_t at = 0; at < bytes.n;) {
        ssize_t n = write(f->file, bytes.p + at, bytes.n - at);
        if (n <= 0)
            return errinfo_set(info, ERR_SYSTEM, n < 0 ? errno : ENOSPC, "write an input file");
        at += (size_t)n;
    }
    f->left -= bytes.n;
    if (f->left == 0 && settle_input(f, &f->pending) != ERR_OK)
        return errinfo_set(info, ERR_SYSTEM, errno, "settle an input file");
    close_whole(f);
    return ERR_OK;
}

bool files_input_whole(const struct files *f)
{
    return !f->open || f->file < 0;
}
