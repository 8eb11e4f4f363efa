/* SPDX-License-Identifier: Apache-2.0 */
/* The command line's tables, parsed: options.def and commands.def are the only places that name them. */
#ifndef MILLRACE_TOOLS_CLI_H
#define MILLRACE_TOOLS_CLI_H

#include "base/buf.h"

/* Exit codes of our own; a program's are passed on. */
enum {
    EXIT_USAGE = 2,
    EXIT_TIMED_OUT = 124,
    EXIT_CANNOT = 125,
    EXIT_CANCELLED = 130,
    EXIT_SIGNAL_BASE = 128
};

enum command_id {
#define X(symbol, ...) CMD_##symbol,
#include "tools/millrace/commands.def"
#undef X
    CMD_COUNT
};

enum { CLI_LIST_MAX = 64 };
struct cli_list {
    const char *items[CLI_LIST_MAX + 1]; /* NULL behind the last */
    size_t count;
};

typedef bool cli_FLAG;
typedef const char *cli_TEXT;
struct cli_int {
    bool given;
    int64_t value;
};
typedef struct cli_int cli_INT;
typedef struct cli_list cli_LIST;

struct cli {
#define X(field, kind, ...) cli_##kind field;
#include "tools/millrace/options.def"
#undef X
    enum command_id command;
    char **args; /* plain arguments, NULL-terminated */
    int arg_count;
};

static inline int64_t cli_int_or(struct cli_int option, int64_t fallback)
{
    return option.given ? option.value : fallback;
}

/* argv[1] is the command. ERR_INVALID with a sentence. With --help, *ret_cli has help set and is otherwise not
   checked. */
MUST_CHECK enum err cli_parse(int argc, char **argv, struct cli *ret_cli, struct errinfo *info);
void cli_help(struct buf *out); /* all commands */
void cli_command_help(enum command_id command, struct buf *out);
int cli_run(const struct cli *cli); /* the exit code */
/* Says what is wrong with it. Ids go into paths: nothing but an id may. */
MUST_CHECK bool cli_is_job(const char *word);

#define X(symbol, function, ...) int function(const struct cli *cli);
#include "tools/millrace/commands.def"
#undef X

#endif
