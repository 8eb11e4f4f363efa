/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/templates/launcher.h"

#include "worker/templates/sealed.h"

#include <string.h>

extern const char launcher_node_js[];
extern const size_t launcher_node_js_len;

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NOTHING   ((const char *const[]){NULL})

static const struct launcher launchers[] = {
    {.name = "node-ts",
     .argv = LIST("/usr/bin/node", "--preserve-symlinks-main", "/proc/self/fd/5", "ts"),
     .env = NOTHING,
     .files = {{"launcher.js", launcher_node_js, &launcher_node_js_len}}},
    {.name = "node",
     .argv = LIST("/usr/bin/node", "--preserve-symlinks-main", "/proc/self/fd/5"),
     .env = NOTHING,
     .files = {{"launcher.js", launcher_node_js, &launcher_node_js_len}}},
};

const struct launcher *launcher_named(const char *name)
{
    for (size_t i = 0; i < sizeof launchers / sizeof launchers[0]; i++)
        if (strcmp(launchers[i].name, name) == 0)
            return &launchers[i];
    return NULL;
}

int launcher_place(const struct launcher *launcher)
{
    int e = 0;
    for (int i = 0; e == 0 && i < LAUNCHER_FILES_MAX && launcher->files[i].name != NULL; i++) {
        const struct launcher_file *f = &launcher->files[i];
        e = sealed_place(f->name, f->bytes, *f->len, LAUNCHER_FD + i);
    }
    return e;
}
