/* SPDX-License-Identifier: Apache-2.0 */
#include "io/program.h"

#include "base/cleanup.h"
#include "io/config_load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

void program_harden(void)
{
    const struct rlimit none = {0};
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static const char options[] = "\n"
                              "  --config PATH      YAML file with settings\n"
                              "  --set NAME=VALUE   one setting; may be given again\n"
                              "  --port-file PATH   write the port it listens at to PATH, when it listens\n"
                              "  --help, --version\n";

static enum err take_args(struct program_args *args, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            printf("%s: %s%s", args->name, args->about, options);
            return ERR_CLOSED;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("%s " MILLRACE_VERSION "\n", args->name);
            return ERR_CLOSED;
        }
        if (strcmp(argv[i], "--port-file") != 0 || i + 1 == argc) {
            fprintf(stderr, "%s: %s is unknown, or lacks its value; see --help\n", args->name, argv[i]);
            return ERR_INVALID;
        }
        args->port_file = argv[++i];
    }
    return ERR_OK;
}

static void print_problems(const char *name, const struct config_base *config, const struct errinfo *first)
{
    size_t count =
        config->problems.count < CONFIG_PROBLEMS_MAX ? config->problems.count : CONFIG_PROBLEMS_MAX;
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, "%s: %s\n", name, config->problems.items[i].text);
    if (count == 0)
        fprintf(stderr, "%s: %s\n", name, first->text);
}

enum err program_configure(struct program_args *args, int argc, char **argv, const struct config_table *table,
                           struct config_base *out)
{
    struct config_request request = {0};
    struct errinfo info = {0};
    enum err e = config_take_args(&request, &argc, argv, &info);
    if (e == ERR_OK) {
        if ((e = take_args(args, argc, argv)) != ERR_OK)
            return e;
        e = config_load(table, out, &request, &info);
    }
    if (e == ERR_OK)
        return ERR_OK;
    print_problems(args->name, out, &info);
    return ERR_INVALID;
}

enum err program_write_port(const char *path, int port, struct errinfo *info)
{
    if (path == NULL)
        return ERR_OK;
    char beside[4096], text[16];
    int n = snprintf(text, sizeof text, "%d\n", port);
    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside)
        return errinfo_set(info, ERR_RANGE, 0, "the path of --port-file is too long");
    auto_fd fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, (size_t)n) != n || rename(beside, path) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "cannot write %s: %s", path, strerror(errno));
    return ERR_OK;
}
