/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of pods, one row of kinds.def each: what the worker asks for and the spawner makes. */
#ifndef MILLRACE_WORKER_SPAWNER_KINDS_H
#define MILLRACE_WORKER_SPAWNER_KINDS_H

#include <stdbool.h>

enum pod_kind {
#define X(SYMBOL, name, how, set, needs, fallback, setting, imports, text) KIND_##SYMBOL,
#include "worker/spawner/kinds.def"
#undef X
    KIND_COUNT,
};

enum pod_how {
    HOW_COLD,   /* the runner forks the program, which executes the job's command */
    HOW_FORKED, /* a template forks it into the pod */
    HOW_WARM,   /* the runner starts an interpreter, which waits for its job */
    HOW_LIGHT,  /* the same, and starting it takes no longer than a cold pod does */
    HOW_SLOW,   /* the same, and starting it takes longer than a cold pod's whole run */
};

struct pod_kind_row {
    const char *name, *set, *needs, *fallback, *setting, *imports, *text;
    enum pod_how how;
};

/* Its pods hold an interpreter that waits for its job. */
static inline bool pod_how_waits(enum pod_how how)
{
    return how == HOW_WARM || how == HOW_LIGHT || how == HOW_SLOW;
}

const struct pod_kind_row *pod_kind_row(enum pod_kind kind);
/* KIND_COUNT: there is none of that name. */
enum pod_kind pod_kind_named(const char *name);

#endif
