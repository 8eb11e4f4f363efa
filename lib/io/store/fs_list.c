/* SPDX-License-Identifier: Apache-2.0 */
/* Listing a tree in the order of the keys' bytes with bounded memory: of each directory only the smallest names behind
   the cursor are held, and it is read again for the next ones. */
#include "base/cleanup.h"
#include "io/store/fs.h"
#include "io/store/fs_error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 8, NAME_SIZE = 132 };

struct listing {
    const char *prefix, *cursor;
    size_t wanted; /* one more than the page, to know whether there is a next */
    struct store_page *page;
    struct errinfo *info;
};

/* As it counts in a key: "name" of an object, "name/" of a directory. */
struct name {
    char text[NAME_SIZE];
};

struct names {
    struct name *items;
    size_t count, max;
    bool cut; /* there are more */
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

/* Halves the list when it is full: the smallest `max / 2` stay. */
static void names_add(struct names *names, const char *text)
{
    if (names->count == names->max) {
        qsort(names->items, names->count, sizeof *names->items, compare_names);
        names->count = names->max / 2;
        names->cut = true;
    }
    snprintf(names->items[names->count++].text, NAME_SIZE, "%s", text);
}

/* May the key, or with '/' at its end one below it, be in the page? */
static bool is_wanted(const struct listing *l, const char *key, size_t n)
{
    size_t prefix = strlen(l->prefix);
    bool folder = key[n - 1] == '/';
    if (strncmp(key, l->prefix, folder && n < prefix ? n : prefix))
        return false;
    if (folder && !strncmp(l->cursor, key, n))
        return true;
    return strcmp(key, l->cursor) > 0;
}

static bool name_of(const struct dirent *d, char ret_name[NAME_SIZE])
{
    size_t n = strlen(d->d_name);
    if (d->d_name[0] == '.' || n + 2 > NAME_SIZE)
        return false;
    snprintf(ret_name, NAME_SIZE, "%s", d->d_name);
    if (ret_name[n - 1] == '+')
        ret_name[n - 1] = '/';
    return true;
}

/* The smallest names of the directory behind `after`. */
static enum err gather(struct listing *l, int fd, const char *path, const char *after,
                       struct names *ret_names)
{
    int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = again < 0 ? NULL : fdopendir(again);
    if (!dir) {
        int number = errno;
        cleanup_fd(&again);
        return number == ENOENT ? ERR_OK : store_fs_error(l->info, number, "cannot list");
    }
    for (const struct dirent *d; (d = readdir(dir));) {
        char name[NAME_SIZE], key[2 * OBJECT_KEY_MAX];
        if (!name_of(d, name) || strcmp(name, after) <= 0)
            continue;
        int n = snprintf(key, sizeof key, "%s%s", path, name);
        if (n > 0 && (size_t)n < sizeof key && is_wanted(l, key, (size_t)n))
            names_add(ret_names, name);
    }
    closedir(dir);
    qsort(ret_names->items, ret_names->count, sizeof *ret_names->items, compare_names);
    if (ret_names->count > ret_names->max / 2) {
        ret_names->count = ret_names->max / 2;
        ret_names->cut = true;
    }
    return ERR_OK;
}

static enum err add_object(struct listing *l, int fd, const char *path, const char *name)
{
    struct stat st;
    char key[2 * OBJECT_KEY_MAX];
    snprintf(key, sizeof key, "%s%s", path, name);
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode) || !object_key_valid(str_of(key)))
        return ERR_OK; /* gone meanwhile, or none of ours */
    char *copy = strdup(key);
    if (!copy)
        return ERR_NOMEM;
    l->page->entries[l->page->count++] = (struct object_entry){
        .key = copy,
        .meta = {.size = (uint64_t)st.st_size,
                 .time_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000}};
    return ERR_OK;
}

static enum err list_folder(struct listing *l, int fd, const char *path, unsigned depth);

static enum err enter(struct listing *l, int fd, const char *path, const char *name, unsigned depth)
{
    char below[2 * OBJECT_KEY_MAX], entry[NAME_SIZE];
    snprintf(below, sizeof below, "%s%s", path, name);
    snprintf(entry, sizeof entry, "%s", name);
    entry[strlen(entry) - 1] = '+';
    auto_fd next = openat(fd, entry, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (next < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
                   ? ERR_OK
                   : store_fs_error(l->info, errno, "cannot list");
    return list_folder(l, next, below, depth + 1);
}

static enum err list_names(struct listing *l, int fd, const char *path, unsigned depth,
                           const struct names *names)
{
    enum err e = ERR_OK;
    for (size_t i = 0; !e && i < names->count && l->page->count < l->wanted; i++) {
        const char *name = names->items[i].text;
        if (name[strlen(name) - 1] != '/')
            e = add_object(l, fd, path, name);
        else if (depth < DEPTH_MAX)
            e = enter(l, fd, path, name, depth);
    }
    return e;
}

static enum err list_folder(struct listing *l, int fd, const char *path, unsigned depth)
{
    char after[NAME_SIZE] = "";
    bool more = true;
    enum err e = ERR_OK;
    while (!e && more && l->page->count < l->wanted) {
        struct names names = {.max = 2 * (l->wanted - l->page->count + 1)};
        names.items = calloc(names.max, sizeof *names.items);
        if (!names.items)
            return ERR_NOMEM;
        e = gather(l, fd, path, after, &names);
        e = e ? e : list_names(l, fd, path, depth, &names);
        more = names.cut && names.count > 0;
        if (more)
            snprintf(after, sizeof after, "%s", names.items[names.count - 1].text);
        free(names.items);
    }
    return e;
}

enum err store_fs_list(struct store_fs *fs, const char *prefix, const char *cursor, unsigned limit,
                       struct store_page *ret_page, struct errinfo *info)
{
    enum err e = store_fs_prepare(fs, info);
    if (e)
        return e;
    struct store_page page = {.entries = calloc(limit + 1, sizeof *page.entries)};
    if (!page.entries)
        return ERR_NOMEM;
    struct listing l = {.prefix = prefix, .cursor = cursor, .wanted = limit + 1, .page = &page, .info = info};
    e = list_folder(&l, fs->root_fd, "", 1);
    if (e) {
        store_page_release(&page);
        return e;
    }
    if (page.count > limit) {
        page.count = limit;
        free((void *)(uintptr_t)page.entries[limit].key);
        snprintf(page.next, sizeof page.next, "%s", page.entries[limit - 1].key);
    }
    *ret_page = page;
    return ERR_OK;
}

void store_page_release(struct store_page *page)
{
    for (size_t i = 0; i < page->count; i++)
        free((void *)(uintptr_t)page->entries[i].key);
    free(page->entries);
    *page = (struct store_page){0};
}
