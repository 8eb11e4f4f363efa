/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/templates/launcher.h"

#include "schema/java.h"
#include "worker/templates/sealed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern const char launcher_node_js[], launcher_r[], launcher_java[], launcher_java_enter[], launcher_bash[];
extern const size_t launcher_node_js_len, launcher_r_len, launcher_java_len, launcher_java_enter_len,
    launcher_bash_len;

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NOTHING   ((const char *const[]){NULL})

/* What an interpreter looks at when it starts; the program's own comes with its job. */
#define PLAIN                                                                                                \
    LIST("PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/mnt/data", "LANG=C.UTF-8", "TMPDIR=/tmp", "TZ=UTC")

static const struct launcher launchers[] = {
    {.name = "php",
     .argv = LIST("/usr/bin/php", "-d", "display_errors=stderr", "-d", "log_errors=0", "-d",
                  "auto_prepend_file=/etc/millrace/launcher.php", "main.php"), /* it opens no memfd */
     .env = PLAIN,
     .mediated = true,
     .stub = "main.php"},
    {.name = "r",
     .argv = LIST("/usr/bin/Rscript", "--no-environ", "--no-init-file", "/proc/self/fd/5"),
     .env = PLAIN,
     .files = {{"launcher.r", launcher_r, &launcher_r_len}},
     .mediated = true,
     .appended = true},
    {.name = "java",
     .argv = LIST("/usr/bin/java", JAVA_OPTIONS(""), "--add-opens=java.base/sun.launcher=ALL-UNNAMED", "-cp",
                  JAVA_LIBRARIES, "--source", "17", "/proc/self/fd/5"),
     .env = PLAIN,
     .files = {{"Warm.java", launcher_java, &launcher_java_len},
               {"enter.so", launcher_java_enter, &launcher_java_enter_len}},
     .mediated = true,
     .compiles = true},
    {.name = "bash",
     .argv = LIST("/bin/bash", "--noprofile", "--norc", "main.sh"), /* its main() gets the job's own */
     .env = LIST("LD_PRELOAD=/proc/self/fd/5"),
     .files = {{"wait.so", launcher_bash, &launcher_bash_len}}},
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

static char *with_memory(const char *arg, uint64_t memory)
{
    static const char place[] = "{memory}";
    const char *at = strstr(arg, place);
    char *made = NULL;
    if (at == NULL)
        return strdup(arg);
    if (asprintf(&made, "%.*s%" PRIu64 "%s", (int)(at - arg), arg, memory, at + sizeof place - 1) < 0)
        return NULL;
    return made;
}

char **launcher_command(const struct launcher *launcher, uint64_t memory)
{
    size_t n = 0;
    while (launcher->argv[n] != NULL)
        n++;
    char **command = calloc(n + 1, sizeof *command);
    for (size_t i = 0; command != NULL && i < n; i++)
        if ((command[i] = with_memory(launcher->argv[i], memory)) == NULL)
            return NULL;
    return command;
}

/* One that is written on to. */
static int place_open(const struct launcher_file *f, int at)
{
    int fd = memfd_create(f->name, 0);
    if (fd < 0 || write(fd, f->bytes, *f->len) != (ssize_t)*f->len || (fd != at && dup2(fd, at) != at))
        return -errno;
    return fd == at || close(fd) == 0 ? 0 : -errno;
}

int launcher_place(const struct launcher *launcher)
{
    int e = 0;
    if (launcher->appended)
        return place_open(&launcher->files[0], LAUNCHER_FD);
    for (int i = 0; e == 0 && i < LAUNCHER_FILES_MAX && launcher->files[i].name != NULL; i++) {
        const struct launcher_file *f = &launcher->files[i];
        e = sealed_place(f->name, f->bytes, *f->len, LAUNCHER_FD + i);
    }
    return e;
}
