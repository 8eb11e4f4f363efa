/* SPDX-License-Identifier: Apache-2.0 */
/* Settings from all their sources, later ones win: defaults, the YAML file named by MILLRACE_CONFIG or
   --config,
   `.env` in the working directory, the environment, --set NAME=VALUE. */
#ifndef MILLRACE_IO_CONFIG_LOAD_H
#define MILLRACE_IO_CONFIG_LOAD_H

#include "base/config_engine.h"

enum { CONFIG_SETS_MAX = 64 };

/* Options of the command line that concern the configuration; zeroed = none. */
struct config_request {
    const char *file;                  /* --config PATH, or NULL */
    const char *sets[CONFIG_SETS_MAX]; /* --set NAME=VALUE */
    size_t set_count;
    const char *directory;          /* where .env is looked for; NULL: the working directory */
    const char *const *environment; /* NULL: environ */
};

/* Moves `--config PATH`, `--set NAME=VALUE` (and their `--x=y` forms) out of argv into `request`; what is
   left stays in order, argv[*argc] is NULL. Stops at `--`. ERR_INVALID: the argument is missing, or too many.
 */
MUST_CHECK enum err config_take_args(struct config_request *request, int *argc, char **argv,
                                     struct errinfo *info);

/* Fills `out` (zeroed, begins with struct config_base). ERR_INVALID: `info` has the first problem,
   out->problems all of them; `out` must be released in any case with config_release(). A YAML file may use
   sections
   (`api: {api_port: 8000}`) or the plain names (`API_PORT: 8000`), in any case of letters. */
MUST_CHECK enum err config_load(const struct config_table *table, struct config_base *out,
                                const struct config_request *request, struct errinfo *info);

#endif
