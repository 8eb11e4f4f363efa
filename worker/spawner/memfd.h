/* SPDX-License-Identifier: Apache-2.0 */
/* Sealed memory files: what runs in a pod or is loaded there cannot be written to by anybody, not by path either. */
#ifndef MILLRACE_WORKER_SPAWNER_MEMFD_H
#define MILLRACE_WORKER_SPAWNER_MEMFD_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

int memfd_new(const char *name, bool executable); /* close-on-exec; -1 with errno */
bool memfd_seal(int fd);
/* A sealed file of these bytes, for reading alone; -1 with errno. */
int memfd_of(const char *name, struct str bytes);
/* A sealed copy of the file at `path`. */
MUST_CHECK enum err memfd_copy(const char *path, const char *name, int *ret_fd, struct errinfo *info);
/* Go on from a sealed copy of our own executable; returns at once when we do already. */
MUST_CHECK enum err memfd_reexec(char **argv, struct errinfo *info);

#endif
