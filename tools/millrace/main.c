/* SPDX-License-Identifier: Apache-2.0 */
/* `millrace`: the command line. */
#include "base/log.h"
#include "tools/millrace/cli.h"
#include "tools/millrace/up.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int print_help(int command)
{
    auto_buf out = BUF_INIT(16384);
    if (command < 0)
        cli_help(&out);
    else
        cli_command_help((enum command_id)command, &out);
    fputs(buf_cstr(&out), stdout);
    return 0;
}

int main(int argc, char **argv)
{
    struct cli cli;
    struct errinfo info = {0};
    signal(SIGPIPE, SIG_IGN);
    log_open("millrace", LOG_INFO, isatty(STDERR_FILENO));
    if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")))
        return print_help(-1);
    if (argc > 1 && !strcmp(argv[1], "--version")) {
        puts("millrace " MILLRACE_VERSION);
        return 0;
    }
    if (argc > 1 && !strcmp(argv[1], "up-guard"))
        return up_guard(argv + 2);
    if (cli_parse(argc, argv, &cli, &info)) {
        fprintf(stderr, "millrace: %s\n", info.text);
        return EXIT_USAGE;
    }
    return cli.help ? print_help((int)cli.command) : cli_run(&cli);
}
