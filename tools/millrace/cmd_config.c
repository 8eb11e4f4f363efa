/* SPDX-License-Identifier: Apache-2.0 */
#include "io/config_load.h"
#include "schema/config_print.h"
#include "tools/millrace/cli.h"

#include <stdio.h>
#include <string.h>

enum { PRINT_MAX = 4 << 20, EXIT_BAD_CONFIG = 1 };

/* Each prints one view; `bad` is what loading answered. */
struct view {
    const char *name;
    void (*print)(const struct config *config, enum config_form form, struct buf *out);
    bool needs_good; /* a bad configuration has no such view: its problems are printed instead */
};

static void print_template(const struct config *config, enum config_form form, struct buf *out)
{
    (void)config;
    config_print_template(form, out);
}

static const struct view views[] = {
    {"validate", config_print_verdict, false},
    {"summary", config_print_summary, true},
    {"template", print_template, false},
    {"export", config_print_export, true},
};

static const struct view *find_view(const char *name)
{
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        if (!strcmp(views[i].name, name))
            return &views[i];
    return NULL;
}

static void load(const struct cli *cli, struct config *config, enum err *ret_e, struct errinfo *info)
{
    struct config_request request = {.file = cli->config};
    for (size_t i = 0; i < cli->set.count && i < CONFIG_SETS_MAX; i++)
        request.sets[request.set_count++] = cli->set.items[i];
    *ret_e = config_load(&config_table, &config->base, &request, info);
}

int cmd_config(const struct cli *cli)
{
    const struct view *view = find_view(cli->args[0]);
    if (!view) {
        fprintf(stderr, "millrace: no '%s'; there are validate, summary, template and export\n",
                cli->args[0]);
        return EXIT_USAGE;
    }
    struct config config = {0};
    struct errinfo info = {0};
    enum err e;
    auto_buf out = BUF_INIT(PRINT_MAX);
    load(cli, &config, &e, &info);
    if (e && !config.base.problems.count && view->print != print_template)
        fprintf(stderr, "millrace: %s\n", info.text); /* a file that cannot be read at all */
    else
        (e && view->needs_good ? config_print_verdict
                               : view->print)(&config, cli->json ? CONFIG_JSON : CONFIG_TEXT, &out);
    fputs(buf_cstr(&out), e && view->needs_good ? stderr : stdout);
    config_release(&config.base);
    return e && view->print != print_template ? EXIT_BAD_CONFIG : 0;
}
