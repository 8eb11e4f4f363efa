/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs do alike when they start. */
#ifndef MILLRACE_IO_PROGRAM_H
#define MILLRACE_IO_PROGRAM_H

#include "base/config_engine.h"
#include "base/err.h"

/* No core dumps, nobody may trace us, and nothing that we start gains a right. */
void program_harden(void);
struct program_args {
    const char *name, *about; /* for --help: "millrace-api", and lines that end with \n */
    const char *port_file;    /* of --port-file; NULL: not given */
};
/* The command line and the settings that it names. ERR_CLOSED: --help or --version, which was answered; ERR_INVALID: all that is
   wrong was said on stderr. `out` as config_load() wants it, and to be released like it. */
MUST_CHECK enum err program_configure(struct program_args *args, int argc, char **argv,
                                      const struct config_table *table, struct config_base *out);
/* The port as text. Written beside and renamed, so that who waits for it never reads half of it. `path` NULL: nothing. */
MUST_CHECK enum err program_write_port(const char *path, int port, struct errinfo *info);

#endif
