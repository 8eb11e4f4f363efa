/* SPDX-License-Identifier: Apache-2.0 */
/* A program on the command line, as the body of POST /v1/jobs, and how its end becomes an exit code. */
#ifndef MILLRACE_TOOLS_PROGRAM_H
#define MILLRACE_TOOLS_PROGRAM_H

#include "tools/millrace/cli.h"
#include "json/json.h"

/* The whole of a file ("-": standard input). A sentence where that does not go. */
MUST_CHECK enum err program_read(const char *path, struct buf *out, struct errinfo *info);

/* Reads cli->args[0] ("-": standard input); the rest are the program's. ERR_INVALID with a sentence. */
MUST_CHECK enum err program_body(const struct cli *cli, bool interactive, struct buf *out,
                                 struct errinfo *info);

/* Appends the bytes of an output or input event. */
MUST_CHECK enum err program_event_bytes(const json_t *event, struct buf *out);

/* Of a terminal event; says on stderr what the program itself could not say. */
int program_exit_code(const json_t *event);

#endif
