/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/cli.h"

#include "base/id.h"

#include <stdio.h>
#include <string.h>

struct command {
    int (*run)(const struct cli *cli);
    const char *name, *arguments;
    int least, most;
    bool options_end;
    const char *summary, *more;
};

static const struct command commands[] = {
#define X(symbol, function, name_, arguments_, least_, most_, end_, summary_, more_)                         \
    [CMD_##symbol] = {.run = function,                                                                       \
                      .name = name_,                                                                         \
                      .arguments = arguments_,                                                               \
                      .least = least_,                                                                       \
                      .most = most_,                                                                         \
                      .options_end = end_,                                                                   \
                      .summary = summary_,                                                                   \
                      .more = more_},
#include "tools/millrace/commands.def"
#undef X
};

enum option_kind { FLAG, TEXT, INT, LIST };

struct option_row {
    enum option_kind kind;
    const char *name;
    char letter;
    const char *metavar;
    int64_t least, most;
    unsigned commands;
    const char *help;
    size_t offset;
};

#define C(symbol) (1u << CMD_##symbol)
static const struct option_row options[] = {
#define X(field, kind_, name_, letter_, metavar_, least_, most_, commands_, help_)                           \
    {.kind = kind_,                                                                                          \
     .name = name_,                                                                                          \
     .letter = letter_,                                                                                      \
     .metavar = metavar_,                                                                                    \
     .least = least_,                                                                                        \
     .most = most_,                                                                                          \
     .commands = commands_,                                                                                  \
     .help = help_,                                                                                          \
     .offset = offsetof(struct cli, field)},
#include "tools/millrace/options.def"
#undef X
};
#define OPTION_COUNT (sizeof options / sizeof *options)

struct parse {
    struct cli *cli;
    int argc;
    char **argv;
    int at;
    struct errinfo *info;
};

static enum err usage(struct parse *p, const char *what, const char *name)
{
    return errinfo_set(p->info, ERR_INVALID, 0, "%s '%s'; see `millrace %s --help`", what, name,
                       commands[p->cli->command].name);
}

static bool option_matches(const struct option_row *row, struct str word)
{
    if (word.n == 2 && word.p[0] == '-' && row->letter && word.p[1] == row->letter)
        return true;
    return str_eq(word, str_of(row->name));
}

static const struct option_row *option_find(enum command_id command, struct str word)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (options[i].commands & 1u << command && option_matches(&options[i], word))
            return &options[i];
    return NULL;
}

static enum err option_unknown(struct parse *p, struct str word)
{
    const char *near = NULL;
    unsigned best = 3;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        unsigned far = str_distance(word, str_of(options[i].name));
        if (options[i].commands & 1u << p->cli->command && far < best) {
            best = far;
            near = options[i].name;
        }
    }
    if (near)
        return errinfo_set(p->info, ERR_INVALID, 0, "unknown option '" STR_FMT "'; did you mean %s?",
                           STR_ARG(word), near);
    return errinfo_set(p->info, ERR_INVALID, 0, "unknown option '" STR_FMT "'; see `millrace %s --help`",
                       STR_ARG(word), commands[p->cli->command].name);
}

static enum err store_int(struct parse *p, const struct option_row *row, const char *value)
{
    int64_t number;
    if (str_to_i64(str_of(value), &number) || number < row->least || number > row->most)
        return errinfo_set(p->info, ERR_INVALID, 0, "%s wants an integer from %lld to %lld, not '%s'",
                           row->name, (long long)row->least, (long long)row->most, value);
    *(struct cli_int *)(void *)((char *)p->cli + row->offset) =
        (struct cli_int){.given = true, .value = number};
    return ERR_OK;
}

static enum err store_list(struct parse *p, const struct option_row *row, const char *value)
{
    struct cli_list *list = (struct cli_list *)(void *)((char *)p->cli + row->offset);
    if (list->count >= (size_t)row->most)
        return usage(p, "too many times", row->name);
    list->items[list->count++] = value;
    return ERR_OK;
}

static enum err store(struct parse *p, const struct option_row *row, const char *value)
{
    void *field = (char *)p->cli + row->offset;
    switch (row->kind) {
    case FLAG:
        *(bool *)field = true;
        return ERR_OK;
    case TEXT:
        *(const char **)field = value;
        return ERR_OK;
    case INT:
        return store_int(p, row, value);
    case LIST:
        return store_list(p, row, value);
    }
    return ERR_INVALID;
}

static enum err parse_option(struct parse *p)
{
    char *word = p->argv[p->at++];
    struct str value = str_of(word);
    struct str name = str_starts(value, STR("--")) ? str_split(&value, '=') : value;
    const char *inline_value = name.n < strlen(word) ? value.p : NULL;
    const struct option_row *row = option_find(p->cli->command, name);
    if (!row)
        return option_unknown(p, name);
    if (row->kind == FLAG && inline_value)
        return usage(p, "takes no value:", row->name);
    if (row->kind != FLAG && !inline_value) {
        if (p->at == p->argc)
            return usage(p, "a value is missing behind", row->name);
        inline_value = p->argv[p->at++];
    }
    return store(p, row, inline_value);
}

static enum err parse_words(struct parse *p)
{
    const struct command *command = &commands[p->cli->command];
    char **plain = p->argv; /* plain arguments are moved to the front */
    int count = 0;
    bool options_over = false;
    while (p->at < p->argc) {
        char *word = p->argv[p->at];
        if (!options_over && !strcmp(word, "--")) {
            options_over = true;
            p->at++;
        } else if (!options_over && word[0] == '-' && word[1]) {
            enum err e = parse_option(p);
            if (e)
                return e;
        } else {
            plain[count++] = word;
            p->at++;
            options_over |= command->options_end;
        }
    }
    plain[count] = NULL;
    p->cli->args = plain;
    p->cli->arg_count = count;
    if (p->cli->help || (count >= command->least && (command->most < 0 || count <= command->most)))
        return ERR_OK;
    return errinfo_set(p->info, ERR_INVALID, 0, "usage: millrace %s [options] %s", command->name,
                       command->arguments);
}

static enum err no_command(const char *word, struct errinfo *info)
{
    if (!word)
        return errinfo_set(info, ERR_INVALID, 0, "a command is missing; see `millrace --help`");
    const char *near = NULL;
    unsigned best = 3;
    for (size_t i = 0; i < CMD_COUNT; i++) {
        unsigned far = str_distance(str_of(word), str_of(commands[i].name));
        if (far < best && far < strlen(commands[i].name)) {
            best = far;
            near = commands[i].name;
        }
    }
    return errinfo_set(info, ERR_INVALID, 0, "no command '%.80s'; %s%s%s", word,
                       near ? "did you mean `millrace " : "see `millrace --help", near ? near : "",
                       near ? "`?" : "`");
}

enum err cli_parse(int argc, char **argv, struct cli *ret_cli, struct errinfo *info)
{
    for (size_t i = 0; argc > 1 && i < CMD_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name))
            continue;
        *ret_cli = (struct cli){.command = (enum command_id)i};
        struct parse p = {.cli = ret_cli, .argc = argc, .argv = argv, .at = 2, .info = info};
        return parse_words(&p);
    }
    return no_command(argc > 1 ? argv[1] : NULL, info);
}

void cli_help(struct buf *out)
{
    buf_append_cstr(out, "usage: millrace COMMAND [options] [arguments]\n\n");
    for (size_t i = 0; i < CMD_COUNT; i++)
        buf_printf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
    buf_append_cstr(out,
                    "\n`millrace COMMAND --help` tells more. The API is found by MILLRACE_URL, its key is "
                    "MILLRACE_API_KEY;\n"
                    "`eval \"$(millrace up env)\"` sets both for a system that `millrace up` started.\n");
}

void cli_command_help(enum command_id id, struct buf *out)
{
    const struct command *command = &commands[id];
    buf_printf(out, "usage: millrace %s [options] %s\n\n%s\n", command->name, command->arguments,
               command->summary);
    if (command->more[0])
        buf_printf(out, "%s\n", command->more);
    buf_append_cstr(out, "\noptions:\n");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = &options[i];
        if (!(row->commands & 1u << id))
            continue;
        char left[64];
        snprintf(left, sizeof left, "%c%c%s%s%s%s", row->letter ? '-' : ' ', row->letter ? row->letter : ' ',
                 row->letter ? ", " : "  ", row->name, row->metavar ? " " : "",
                 row->metavar ? row->metavar : "");
        buf_printf(out, "  %-28s %s\n", left, row->help);
    }
}

bool cli_is_job(const char *word)
{
    bool good = id_valid(str_of(word));
    if (!good)
        fprintf(stderr,
                "millrace: '%.80s' is not a job's id, which has 21 characters of A-Z a-z 0-9 _ and -\n",
                word);
    return good;
}

int cli_run(const struct cli *cli)
{
    return commands[cli->command].run(cli);
}
