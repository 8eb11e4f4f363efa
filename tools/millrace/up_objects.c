/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of the object store. An ordinary user's is in the state folder. Root's workers run as another user, who
   can enter no state folder of root's: theirs is below /var/lib, shared through its group. */
#include "tools/millrace/up.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHARED_MODE = 02770, OPEN_FILES = 16 };
#define ROOTS_FOLDER "/var/lib/millrace"

static bool is_given(const struct up *up)
{
    const struct config_row *row = config_find(&config_table, STR("OBJECT_STORE_PATH"));
    return up->config.base.origins[row - config_table.rows].source != CONFIG_DEFAULT;
}

static enum err make(const char *path, mode_t mode, gid_t group)
{
    struct stat st;
    if ((mkdir(path, 0700) && errno != EEXIST) || lstat(path, &st) || !S_ISDIR(st.st_mode) ||
        st.st_uid != geteuid() || (group && chown(path, 0, group)) || chmod(path, mode))
        return ERR_SYSTEM;
    return ERR_OK;
}

/* An own MinIO and somebody else's at once is a mistake. */
enum err up_minio_check(const struct up *up, struct errinfo *info)
{
    static const char *const names[] = {"OBJECT_STORE", "MINIO_ENDPOINT", "MINIO_ACCESS_KEY",
                                        "MINIO_SECRET_KEY"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct config_row *row = config_find(&config_table, str_of(names[i]));
        if (up->config.base.origins[row - config_table.rows].source != CONFIG_DEFAULT)
            return errinfo_set(info, ERR_INVALID, 0,
                               "--minio starts an own MinIO, but %s is set; give one of the two", names[i]);
    }
    if (access(up->cli->minio, X_OK))
        return errinfo_set(info, ERR_NOT_FOUND, errno,
                           "--minio: %.150s is no program (./tools/up --minio builds one)", up->cli->minio);
    return ERR_OK;
}

void up_minio_settings(const struct up *up, struct buf *out)
{
    int port = 0;
    for (size_t i = 0; i < up->count; i++)
        if (up->children[i].part == UP_MINIO)
            port = up->children[i].port;
    buf_printf(out,
               "OBJECT_STORE: s3\nMINIO_ENDPOINT: \"127.0.0.1:%d\"\nMINIO_ACCESS_KEY: " UP_MINIO_USER
               "\nMINIO_SECRET_KEY: \"%s\"\n",
               port, up->minio_key);
}

enum err up_objects_make(struct up *up, struct errinfo *info)
{
    if (is_given(up) || up->cli->minio || up->config.object_store != CONFIG_OBJECT_STORE_DIRECTORY)
        return ERR_OK;
    enum err e = ERR_OK;
    if (geteuid() != 0) {
        up_path(up, "objects", up->objects);
        e = make(up->objects, 0700, 0);
    } else {
        snprintf(up->objects, sizeof up->objects, ROOTS_FOLDER "/up-%016llx",
                 (unsigned long long)up_state_hash(up));
        e = make(ROOTS_FOLDER, 0711, 0);
        e = e ? e : make(up->objects, SHARED_MODE, UP_WORKER_GID);
    }
    return e ? errinfo_set(info, e, errno, "cannot use %.150s: %s", up->objects, strerror(errno)) : ERR_OK;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void up_objects_remove(struct up *up)
{
    char temporary[UP_PATH_MAX + 8];
    if (up->objects[0] == '\0')
        return;
    snprintf(temporary, sizeof temporary, "%s/.tmp", up->objects);
    rmdir(temporary); /* only what is empty goes */
    rmdir(up->objects);
    if (up->cli->ephemeral)
        nftw(up->objects, remove_one, OPEN_FILES, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}
