/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/idmap.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "worker/spawner/cgroup_file.h"
#include "worker/spawner/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* 4,096 ranges of 65,536 ids: 1,879,048,192 and up, where systemd's allocations end. */
enum { BASE_FIRST = 0x70000000, RANGES = 4096, SUBORDINATE_MIN = 8192 };

enum err idmap_reserve(uint64_t name_hash, uint32_t *ret_base, struct errinfo *info)
{
    if (mkdir(IDMAP_LOCKS, 0700) != 0 && errno != EEXIST)
        return errinfo_set(info, ERR_SYSTEM, errno, "make %s", IDMAP_LOCKS);
    for (uint32_t i = 0; i < RANGES; i++) {
        char path[48];
        uint32_t range = (uint32_t)((name_hash + i) % RANGES);
        snprintf(path, sizeof path, IDMAP_LOCKS "/%u", range);
        int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
            return errinfo_set(info, ERR_SYSTEM, errno, "open %s", path);
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            *ret_base = (uint32_t)BASE_FIRST + range * (uint32_t)HELPER_IDS;
            return ERR_OK; /* the descriptor holds the lock until we end */
        }
        close(fd);
    }
    return errinfo_set(info, ERR_FULL, 0, "every range of ids is taken");
}

/* "name-or-uid:first:count" */
static bool find_range(const char *file, uint32_t *ret_first, uint32_t *ret_count)
{
    auto_buf text = BUF_INIT(1 << 20);
    char uid[16];
    const struct passwd *me = getpwuid(getuid());
    snprintf(uid, sizeof uid, "%u", (unsigned)getuid());
    if (!cgroup_read_file(file, &text))
        return false;
    struct str rest = buf_str(&text);
    while (rest.p != NULL) {
        struct str line = str_split(&rest, '\n');
        struct str name = str_split(&line, ':');
        struct str first = str_split(&line, ':');
        uint64_t a = 0, n = 0;
        if (!str_eq(name, str_of(uid)) && (me == NULL || !str_eq(name, str_of(me->pw_name))))
            continue;
        if (str_to_u64(first, &a) != ERR_OK || str_to_u64(line, &n) != ERR_OK || a > UINT32_MAX ||
            n < SUBORDINATE_MIN)
            continue;
        *ret_first = (uint32_t)a;
        *ret_count = n < HELPER_IDS ? (uint32_t)n : HELPER_IDS - 1;
        return true;
    }
    return false;
}

bool idmap_has_subordinate(void)
{
    uint32_t first, count;
    return find_range("/etc/subuid", &first, &count) && find_range("/etc/subgid", &first, &count) &&
           access("/usr/bin/newuidmap", X_OK) == 0 && access("/usr/bin/newgidmap", X_OK) == 0;
}

static enum err write_direct(int pid, const char *file, uint32_t base, struct errinfo *info)
{
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    int len = snprintf(text, sizeof text, "0 %u %d\n", base, HELPER_IDS);
    auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, (size_t)len) != len)
        return errinfo_set(info, ERR_SYSTEM, errno, "write %s", path);
    return ERR_OK;
}

static enum err write_by_tool(int pid, const char *tool, unsigned own, const char *file, uint32_t *ret_ids,
                              struct errinfo *info)
{
    uint32_t first = 0, count = 0;
    char text[5][16];
    if (!find_range(file, &first, &count))
        return errinfo_set(info, ERR_NOT_FOUND, 0, "no range for this user in %s", file);
    snprintf(text[0], sizeof text[0], "%d", pid);
    snprintf(text[1], sizeof text[1], "%u", own);
    snprintf(text[2], sizeof text[2], "%u", first);
    snprintf(text[3], sizeof text[3], "%u", count);
    pid_t child = fork();
    int status = -1;
    if (child == 0) {
        char *const argv[] = {(char *)(uintptr_t)tool, text[0], (char[]){"0"}, text[1], (char[]){"1"},
                              (char[]){"1"},           text[2], text[3],       NULL};
        execv(tool, argv);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        return errinfo_set(info, ERR_SYSTEM, 0, "%s failed", tool);
    *ret_ids = count + 1;
    return ERR_OK;
}

enum err idmap_write(int pid, bool privileged, uint32_t host_base, uint32_t *ret_ids, struct errinfo *info)
{
    enum err e;
    uint32_t uids = HELPER_IDS, gids = HELPER_IDS;
    if (privileged) {
        e = write_direct(pid, "gid_map", host_base, info);
        if (e == ERR_OK)
            e = write_direct(pid, "uid_map", host_base, info);
    } else {
        e = write_by_tool(pid, "/usr/bin/newgidmap", getgid(), "/etc/subgid", &gids, info);
        if (e == ERR_OK)
            e = write_by_tool(pid, "/usr/bin/newuidmap", getuid(), "/etc/subuid", &uids, info);
    }
    if (e == ERR_OK)
        *ret_ids = uids < gids ? uids : gids;
    return e;
}
