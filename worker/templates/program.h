/* SPDX-License-Identifier: Apache-2.0 */
/* The program's side of the go socket: say that it is ready, wait for the run specification, make the source
 * a file. */
#ifndef MILLRACE_WORKER_TEMPLATES_PROGRAM_H
#define MILLRACE_WORKER_TEMPLATES_PROGRAM_H

#include "worker/spec.h"

#include <stdbool.h>

enum { PROGRAM_PATH_MAX = 64 + 256 + 2, PROGRAM_COULD_NOT_START = 125 };

/* `failure` NULL: ready. */
MUST_CHECK enum err program_tell_ready(int go, const struct errinfo *failure);

/* Blocks. ERR_CLOSED: the runner went away or needs no program. *ret_bytes is malloc'ed and holds the strings
 * of *ret_spec. */
MUST_CHECK enum err program_wait(int go, struct spec *ret_spec, char **ret_bytes, struct errinfo *info);

/* Exactly `len` bytes. ERR_CLOSED. */
MUST_CHECK enum err program_receive(int go, void *into, size_t len);

/* Write the source below `folder`: a fresh file, mode 0600, never through a link. ret_fd is open for reading at its
 * beginning. */
MUST_CHECK enum err program_write_source(const char *folder, const struct spec *spec,
                                         char path[PROGRAM_PATH_MAX], int *ret_fd, struct errinfo *info);

/* Make the C environment exactly `env`. The strings must live on. */
MUST_CHECK enum err program_set_environment(const struct spec_list *env, struct errinfo *info);

#endif
