/* SPDX-License-Identifier: Apache-2.0 */
/* Between the copying and the mapping of an area nothing may write to it: all that changes here lies on the stack, which stays. */
#include "worker/templates/freeze.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    MAPS_MAX = 1 << 20,
    AREAS_MAX = 512,
    AREA_MIN = 64 * 1024, /* below this an area of its own costs what it saves */
    PAGE = 4096,
    WINDOW = 1024, /* pages looked at in one mincore() */
};

struct area {
    uintptr_t from, to;
};

/* "7f12-7f34 rw-p 00000000 00:00 0   [heap]": private, writable, and not the stack. */
static bool parse_line(const char *line, struct area *ret_area)
{
    char *at;
    const uintptr_t from = strtoul(line, &at, 16);
    const uintptr_t to = *at == '-' ? strtoul(at + 1, &at, 16) : 0;
    if (strncmp(at, " rw-p ", 6) != 0)
        return false;
    const char *name = strchr(at, '[');
    *ret_area = (struct area){.from = from, .to = to};
    return (name == NULL || strncmp(name, "[heap]", 6) == 0) && to - from >= AREA_MIN;
}

static enum err find_areas(struct area areas[AREAS_MAX], size_t *ret_count, struct errinfo *info)
{
    static char maps[MAPS_MAX];
    size_t have = 0, count = 0;
    ssize_t n;
    auto_fd fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && have < sizeof maps - 1 && (n = read(fd, maps + have, sizeof maps - 1 - have)) > 0)
        have += (size_t)n;
    if (have == 0 || have == sizeof maps - 1)
        return errinfo_set(info, ERR_SYSTEM, errno, "reading /proc/self/maps");
    for (char *line = maps, *end; count < AREAS_MAX && (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        if (parse_line(line, &areas[count]))
            count++;
    }
    *ret_count = count;
    return ERR_OK;
}

/* Only pages that are there: what was never touched stays a hole, and so a page of zeros. */
static enum err copy_window(int fd, uintptr_t from, size_t pages, off_t at)
{
    unsigned char there[WINDOW];
    if (mincore((void *)from, pages * PAGE, there) != 0)
        return ERR_SYSTEM;
    for (size_t i = 0, run; i < pages; i += run) {
        for (run = 1; i + run < pages && (there[i + run] & 1) == (there[i] & 1); run++)
            ;
        if ((there[i] & 1) == 0)
            continue;
        const size_t len = run * PAGE;
        if (pwrite(fd, (const void *)(from + i * PAGE), len, at + (off_t)(i * PAGE)) != (ssize_t)len)
            return ERR_SYSTEM;
    }
    return ERR_OK;
}

static enum err copy_area(int fd, const struct area *area, off_t at)
{
    enum err e = ERR_OK;
    for (uintptr_t from = area->from; e == ERR_OK && from < area->to;) {
        size_t pages = (area->to - from) / PAGE < WINDOW ? (area->to - from) / PAGE : WINDOW;
        e = copy_window(fd, from, pages, at + (off_t)(from - area->from));
        from += pages * PAGE;
    }
    return e;
}

static enum err move_area(int fd, const struct area *area, off_t at)
{
    if (copy_area(fd, area, at) != ERR_OK)
        return ERR_SYSTEM;
    void *got = mmap((void *)area->from, area->to - area->from, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_FIXED, fd, at);
    return got == MAP_FAILED ? ERR_SYSTEM : ERR_OK;
}

enum err freeze_memory(struct errinfo *info)
{
    struct area areas[AREAS_MAX];
    size_t count = 0;
    off_t at = 0;
    enum err e = find_areas(areas, &count, info);
    auto_fd fd = memfd_create("template", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (e != ERR_OK)
        return e;
    for (size_t i = 0; i < count; i++)
        at += (off_t)(areas[i].to - areas[i].from);
    if (fd < 0 || ftruncate(fd, at) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "a memory file");
    at = 0;
    for (size_t i = 0; i < count && e == ERR_OK; i++) {
        e = move_area(fd, &areas[i], at);
        at += (off_t)(areas[i].to - areas[i].from);
    }
    if (e != ERR_OK || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "moving memory into a file");
    return ERR_OK;
}
