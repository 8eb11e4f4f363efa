/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/cgroup_path.h"

#include <string.h>

bool cgroup_has_word(struct str list, char sep, struct str word)
{
    while (list.p != NULL) {
        if (str_eq(str_split(&list, sep), word))
            return true;
    }
    return false;
}

static bool copy_path(char *to, struct str from)
{
    if (from.n >= CGROUP_PATH_MAX || memchr(from.p, '\\', from.n) != NULL) /* an escaped space: not ours */
        return false;
    memcpy(to, from.p, from.n);
    to[from.n] = '\0';
    return true;
}

struct mount_line {
    struct str root, point, type, super;
};

/* "36 35 0:29 / /sys/fs/cgroup/memory rw,relatime shared:1 - cgroup cgroup rw,memory" */
static bool parse_mount(struct str line, struct mount_line *ret)
{
    for (int i = 0; i < 3; i++)
        str_split(&line, ' ');
    ret->root = str_split(&line, ' ');
    ret->point = str_split(&line, ' ');
    while (line.p != NULL && !str_eq(str_split(&line, ' '), STR("-")))
        ;
    if (line.p == NULL)
        return false;
    ret->type = str_split(&line, ' ');
    str_split(&line, ' ');
    ret->super = line;
    return true;
}

/* "4:memory:/path" or "0::/path"; `controller` empty means v2. */
static struct str own_path(struct str text, struct str controller)
{
    while (text.p != NULL) {
        struct str line = str_split(&text, '\n');
        struct str number = str_split(&line, ':');
        struct str list = str_split(&line, ':');
        if (controller.n == 0 ? str_eq(number, STR("0")) && list.n == 0
                              : cgroup_has_word(list, ',', controller))
            return line;
    }
    return (struct str){0};
}

/* Below a mount that shows only a part of the hierarchy our own path is relative to that part. */
static bool below_root(struct str own, struct str root, struct str *ret)
{
    if (str_eq(root, STR("/"))) {
        *ret = own;
        return own.n > 0;
    }
    if (!str_starts(own, root) || (own.n > root.n && own.p[root.n] != '/'))
        return false;
    *ret = (struct str){.p = own.p + root.n, .n = own.n - root.n};
    return true;
}

static enum err fill(const struct mount_line *m, struct str own_cgroups, struct str controller,
                     struct cgroup_place *ret)
{
    struct cgroup_place place = {.v2 = controller.n == 0};
    struct str own = own_path(own_cgroups, controller), relative;
    if (own.p == NULL || !below_root(own, m->root, &relative))
        relative = STR("");
    if (str_eq(relative, STR("/")))
        relative = STR("");
    if (!copy_path(place.mount, m->point) || !copy_path(place.own, relative))
        return ERR_RANGE;
    *ret = place;
    return ERR_OK;
}

enum err cgroup_find(struct str mountinfo, struct str own_cgroups, struct str controller,
                     struct cgroup_place *ret_place)
{
    struct mount_line m, v2 = {.point = {.p = NULL}};
    while (mountinfo.p != NULL) {
        struct str line = str_split(&mountinfo, '\n');
        if (!parse_mount(line, &m))
            continue;
        if (str_eq(m.type, STR("cgroup")) && cgroup_has_word(m.super, ',', controller))
            return fill(&m, own_cgroups, controller, ret_place);
        if (str_eq(m.type, STR("cgroup2")) && v2.point.p == NULL)
            v2 = m;
    }
    if (v2.point.p == NULL)
        return ERR_NOT_FOUND;
    return fill(&v2, own_cgroups, (struct str){0}, ret_place);
}
