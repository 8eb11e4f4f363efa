/* SPDX-License-Identifier: Apache-2.0 */
/* Output files (HARDENING 1.2 step 24). Nothing changes any more while this looks and reads: every other process of the
   pod is dead. What a program left there is hostile all the same. */
#include "base/buf.h"
#include "worker/runner/files.h"
#include "worker/spawner/defence.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As the kernel gives it (getdents64). */
struct entry64 {
    uint64_t ino;
    int64_t off;
    uint16_t len;
    uint8_t type;
    char name[];
};

/* ---- opening ---- */

/* What the program closed to itself is closed to us where we have its id; but then it is ours, and nobody looks any more. */
static int open_closed(const struct files *f, const char *path, int flags)
{
    char self[32];
    struct stat st;
    int fd = -1, there = files_open(f, f->root, path, O_PATH | (flags & O_DIRECTORY), 0);
    if (there < 0)
        return -1;
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", there);
    if (fstat(there, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) && chmod(self, 0700) == 0)
        fd = files_open(f, f->root, path, flags, 0);
    if (fd >= 0 && S_ISREG(st.st_mode) && fchmod(fd, st.st_mode & 07777) != 0) { /* a workspace keeps it */
        close(fd);
        fd = -1;
    }
    close(there);
    return fd;
}

static int open_output(const struct files *f, const char *path, int flags)
{
    struct stat st;
    int fd = files_open(f, f->root, path, flags, 0);
    if (!f->contained || (fd < 0 && errno != EACCES))
        return fd;
    if (fd >= 0 && ((flags & O_DIRECTORY) == 0 || (fstat(fd, &st) == 0 && (st.st_mode & S_IXUSR) != 0)))
        return fd;
    if (fd >= 0)
        close(fd);
    return open_closed(f, path, flags);
}

/* ---- looking ---- */

static void refuse(struct files *f, struct str path, enum file_refused why)
{
    struct files_entry *e = f->refused < FILES_REFUSED_MAX ? files_note(f, FILES_REFUSED, path) : NULL;
    f->refused++;
    if (e)
        e->refused = (uint8_t)why;
    else
        f->unlisted++;
}

static bool is_kind(const struct files_entry *e, unsigned kinds)
{
    return (1u << e->kind & kinds) != 0;
}
#define BIT(kind) (1u << FILES_##kind)

/* Among what was there before the look. */
static bool is_given(const struct files *f, const char *path, unsigned kinds)
{
    for (size_t i = 0; i < f->given; i++) {
        if (is_kind(&f->entries[i], kinds) && strcmp(files_name(f, &f->entries[i]), path) == 0)
            return true;
    }
    return false;
}

static bool holds_input(const struct files *f, const char *folder)
{
    size_t n = strlen(folder);
    for (size_t i = 0; i < f->given; i++) {
        const char *name = files_name(f, &f->entries[i]);
        if (is_kind(&f->entries[i], BIT(INPUT) | BIT(FIXED)) && strncmp(name, folder, n) == 0 &&
            name[n] == '/')
            return true;
    }
    return false;
}

static int depth_of(const char *path)
{
    int depth = 1;
    for (; *path; path++)
        depth += *path == '/';
    return depth;
}

static void look_at_folder(struct files *f, const char *path, const char *name)
{
    struct str view = str_of(path);
    if (!f->bounds.all && (name[0] == '.' || strcmp(name, "__pycache__") == 0) && !holds_input(f, path))
        return; /* caches of the program's tools: HOME is here */
    if (depth_of(path) >= FRAME_PATH_DEPTH_MAX)
        refuse(f, view, FILE_REFUSED_TOO_DEEP);
    else if (!frame_path_ok(view))
        refuse(f, view, FILE_REFUSED_BAD_NAME);
    else if (!files_note(f, FILES_FOLDER, view))
        refuse(f, view, FILE_REFUSED_TOO_MANY);
}

static void look_at_file(struct files *f, const char *path, const struct stat *st)
{
    struct str view = str_of(path);
    bool input = is_given(f, path, BIT(INPUT));
    if (f->unstarted && !input) {
        f->passed_by++;
        return;
    }
    if (st->st_nlink != 1)
        refuse(f, view, FILE_REFUSED_HARD_LINK);
    else if (!frame_path_ok(view))
        refuse(f, view, FILE_REFUSED_BAD_NAME);
    else if (!input && (uint64_t)st->st_size > f->bounds.max_file_bytes)
        refuse(f, view, FILE_REFUSED_TOO_LARGE);
    else {
        struct files_entry *e = files_note(f, FILES_OUTPUT, view);
        if (e)
            e->is_input = input;
        else
            refuse(f, view, FILE_REFUSED_TOO_MANY);
    }
}

/* A workspace keeps links that are relative; where one leads is nobody's business here: none is ever followed. */
static bool keeps_link(const struct files *f, int folder, const char *name, const char *path)
{
    char target[FRAME_LINK_MAX + 2];
    ssize_t n = f->bounds.all ? readlinkat(folder, name, target, sizeof target) : -1;
    return n > 0 && n <= FRAME_LINK_MAX && target[0] != '/' && frame_path_ok(str_of(path));
}

static void look_at(struct files *f, int folder, const char *in, const char *name)
{
    char path[FRAME_PATH_MAX + NAME_MAX + 2];
    struct stat st;
    /* `in` is at most FRAME_PATH_MAX, a name at most NAME_MAX: nothing is cut. */
    (void)snprintf(path, sizeof path, "%s%s%s", in, *in ? "/" : "", name);
    if (is_given(f, path, BIT(SKIP) | BIT(FIXED)))
        return;
    if (fstatat(folder, name, &st, defence_on(f->off, DEFENCE_PLAIN_FILES) ? AT_SYMLINK_NOFOLLOW : 0) != 0)
        refuse(f, str_of(path), FILE_REFUSED_UNREADABLE);
    else if (S_ISDIR(st.st_mode))
        look_at_folder(f, path, name);
    else if (S_ISREG(st.st_mode))
        look_at_file(f, path, &st);
    else if (S_ISLNK(st.st_mode) && keeps_link(f, folder, name, path)) {
        if (!files_note(f, FILES_LINK, str_of(path)))
            refuse(f, str_of(path), FILE_REFUSED_TOO_MANY);
    } else
        refuse(f, str_of(path), S_ISLNK(st.st_mode) ? FILE_REFUSED_SYMLINK : FILE_REFUSED_SPECIAL);
}

/* The names in a folder, from where it is read now. */
struct names {
    int folder;
    long n, at;
    _Alignas(struct entry64) char bytes[8192];
};

/* Valid until the next call; NULL at the end. */
static const char *next_name(struct names *names)
{
    for (;;) {
        if (names->at >= names->n) {
            names->n = syscall(SYS_getdents64, names->folder, names->bytes, sizeof names->bytes);
            names->at = 0;
        }
        if (names->n <= 0)
            return NULL;
        const struct entry64 *e = (const void *)(names->bytes + names->at);
        names->at += e->len;
        if (strcmp(e->name, ".") != 0 && strcmp(e->name, "..") != 0)
            return e->name;
    }
}

static void look_in(struct files *f, int folder, const char *in)
{
    struct names names = {.folder = folder};
    for (const char *name; (name = next_name(&names)) != NULL;)
        look_at(f, folder, in, name);
}

bool files_any(struct files *f)
{
    const char *name = NULL;
    f->given = f->count;
    if (!f->wanted || !files_root(f))
        return false;
    struct names names = {.folder = f->root};
    while ((name = next_name(&names)) != NULL && is_given(f, name, BIT(SKIP) | BIT(FIXED)))
        continue;
    if (name)
        (void)lseek(f->root, 0,
                    SEEK_SET); /* the look begins at the beginning; of a directory this cannot fail */
    return name != NULL;
}

/* Files first, so that what is cut off is always the same. */
static int by_name(const void *pa, const void *pb, void *arg)
{
    const struct files *f = arg;
    const struct files_entry *a = pa, *b = pb;
    bool out_a = a->kind == FILES_OUTPUT, out_b = b->kind == FILES_OUTPUT;
    if (out_a != out_b)
        return out_a ? -1 : 1;
    return strcmp(files_name(f, a), files_name(f, b));
}

bool files_look(struct files *f)
{
    if (!f->wanted || !files_root(f))
        return false;
    f->given = f->count;
    look_in(f, f->root, "");
    for (size_t i = 0; i < f->count; i++) {
        const char *name = files_name(f, &f->entries[i]);
        if (f->entries[i].kind != FILES_FOLDER)
            continue;
        int folder = open_output(f, name, O_RDONLY | O_DIRECTORY);
        if (folder < 0) {
            refuse(f, str_of(name), FILE_REFUSED_UNREADABLE);
            continue;
        }
        size_t before = f->count, passed_by = f->refused + f->passed_by;
        look_in(f, folder, name);
        close(folder);
        if (f->bounds.all && f->count == before && f->refused + f->passed_by == passed_by)
            f->entries[i].kind = FILES_EMPTY;
    }
    bool any = f->refused > 0;
    for (size_t i = 0; i < f->count; i++)
        any = any || is_kind(&f->entries[i], BIT(OUTPUT) | BIT(LINK) | BIT(EMPTY));
    if (any)
        qsort_r(f->entries, f->count, sizeof f->entries[0], by_name, f);
    return any;
}

/* ---- sending ---- */

static enum err send_file_frame(struct channel *c, enum frame_type type, const struct frame_file *file)
{
    auto_buf payload = BUF_INIT(FRAME_PATH_MAX + FRAME_LINK_MAX + NAME_MAX + 64);
    frame_put_file(&payload, file);
    return channel_put(c, type, payload.data, payload.len);
}

static enum err send_refused(struct files *f, struct channel *c, const char *path, enum file_refused why)
{
    if (f->told == FILES_REFUSED_MAX) {
        f->unlisted++;
        return ERR_OK;
    }
    f->told++;
    return send_file_frame(c, FRAME_FILE_REFUSED,
                           &(struct frame_file){.size = 1, .flags = why, .path = str_of(path)});
}

static enum err begin_file(struct files *f, struct channel *c, const struct files_entry *e)
{
    const char *path = files_name(f, e);
    struct stat st;
    if (!e->is_input && f->outputs == f->bounds.max_files)
        return send_refused(f, c, path, FILE_REFUSED_TOO_MANY);
    int fd = open_output(f, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_size < 0) {
        if (fd >= 0)
            close(fd);
        return send_refused(f, c, path, FILE_REFUSED_UNREADABLE);
    }
    uint64_t size = (uint64_t)st.st_size;
    /* What of an input is too much is for the worker to say, who knows how large it was. */
    if (!e->is_input && (size > f->bounds.max_file_bytes || size > f->bounds.max_bytes - f->bytes)) {
        close(fd);
        return send_refused(f, c, path,
                            size > f->bounds.max_file_bytes ? FILE_REFUSED_TOO_LARGE : FILE_REFUSED_TOTAL);
    }
    f->outputs += !e->is_input;
    f->bytes += e->is_input ? 0 : size;
    f->file = fd;
    f->left = size;
    return send_file_frame(
        c, FRAME_FILE_BEGIN,
        &(struct frame_file){.size = size,
                             .time_ms = st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000,
                             .flags = (e->is_input ? FRAME_FILE_IS_INPUT : 0) | FRAME_FILE_HAS_MODE |
                                      (st.st_mode & 0777) << FRAME_FILE_MODE_SHIFT,
                             .path = str_of(path)});
}

static enum err end_file(struct files *f, struct channel *c, bool whole)
{
    uint8_t bytes[4] = {whole};
    close(f->file);
    f->file = -1;
    return channel_put(c, FRAME_FILE_END, bytes, sizeof bytes);
}

static enum err send_data(struct files *f, struct channel *c)
{
    if (f->left == 0)
        return end_file(f, c, true);
    size_t want = f->left < CHANNEL_CHUNK_MAX ? (size_t)f->left : CHANNEL_CHUNK_MAX;
    ssize_t n = read(f->file, channel_chunk(c), want);
    if (n <= 0)
        return end_file(f, c, false);
    f->left -= (uint64_t)n;
    return channel_put_chunk(c, FRAME_FILE_DATA, (size_t)n);
}

static enum err send_special(struct files *f, struct channel *c, const struct files_entry *e)
{
    char both[FRAME_PATH_MAX + FRAME_LINK_MAX + 2];
    bool link = e->kind == FILES_LINK;
    size_t n = strlen(files_name(f, e));
    memcpy(both, files_name(f, e), n + 1);
    ssize_t more = link ? readlinkat(f->root, both, both + n + 1, FRAME_LINK_MAX) : 0;
    if (more < 0 || (link && more == 0))
        return send_refused(f, c, files_name(f, e), FILE_REFUSED_UNREADABLE);
    return send_file_frame(c, FRAME_FILE_BEGIN,
                           &(struct frame_file){.flags = link ? FRAME_FILE_LINK : FRAME_FILE_FOLDER,
                                                .path = {both, n + (link ? 1 + (size_t)more : 0)}});
}

static enum err send_next(struct files *f, struct channel *c)
{
    const struct files_entry *e = &f->entries[f->next++];
    if (e->kind == FILES_OUTPUT)
        return begin_file(f, c, e);
    if (e->kind == FILES_LINK || e->kind == FILES_EMPTY)
        return send_special(f, c, e);
    if (e->kind == FILES_REFUSED)
        return send_refused(f, c, files_name(f, e), (enum file_refused)e->refused);
    return ERR_OK;
}

enum err files_send(struct files *f, struct channel *c)
{
    while (channel_idle(c)) {
        enum err e;
        if (f->file >= 0)
            e = send_data(f, c);
        else if (f->next < f->count)
            e = send_next(f, c);
        else if (f->unlisted > 0) {
            e = send_file_frame(c, FRAME_FILE_REFUSED,
                                &(struct frame_file){.size = f->unlisted, .flags = FILE_REFUSED_TOO_MANY});
            f->unlisted = 0;
        } else
            return ERR_OK;
        if (e != ERR_OK)
            return e;
    }
    return ERR_AGAIN;
}
