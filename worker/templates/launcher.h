/* SPDX-License-Identifier: Apache-2.0 */
/* The warm interpreters that the runner starts, which has their scripts inside it. Each speaks the go protocol of
   template_proto.h itself (or is `mediated`), with the go socket as descriptor 3 and its files as descriptors 5 and on. */
#ifndef MILLRACE_WORKER_TEMPLATES_LAUNCHER_H
#define MILLRACE_WORKER_TEMPLATES_LAUNCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LAUNCHER_FILES_MAX = 2, LAUNCHER_FD = 5 };

struct launcher_file {
    const char *name; /* NULL: no more */
    const char *bytes;
    const size_t *len;
};

struct launcher {
    const char *name;        /* the `set` of a row of kinds.def */
    const char *const *argv; /* absolute path first; {memory} is the bytes that a run may have */
    const char *const *env;  /* before the job's own is known */
    struct launcher_file files[LAUNCHER_FILES_MAX];
    bool mediated; /* it cannot speak the go protocol: worker/runner/mediator.h does */
    bool compiles; /* mediated, with a compile step of its own */
    const char *
        stub; /* the source file, made empty ahead because the interpreter opens it when it starts; or NULL */
    bool appended; /* the source is written behind its first file, which it reads on in */
};

const struct launcher *launcher_named(const char *name); /* or NULL */
/* Its command for a pod whose runs have so much memory, in memory that nobody frees; NULL: there is none. */
char **launcher_command(const struct launcher *launcher, uint64_t memory);
/* Its files at their descriptors, not close-on-exec. 0 or a negative errno. */
int launcher_place(const struct launcher *launcher);

#endif
