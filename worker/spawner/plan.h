/* SPDX-License-Identifier: Apache-2.0 */
/* The file system of a pod as a list of typed operations, made by pure code from the table of defences and applied in
   order. Two lists: the root, built once by the U0 helper and inherited read-only by every pod; and what is each pod's
   own. Paths of targets are relative to the new root. */
#ifndef MILLRACE_WORKER_SPAWNER_PLAN_H
#define MILLRACE_WORKER_SPAWNER_PLAN_H

#include "worker/spawner/defence.h"
#include "worker/spawner/proto.h"

#include <stddef.h>

enum op_type {
    OP_DIR,        /* make a directory, 0755 */
    OP_LINK,       /* symbolic link to `arg` */
    OP_FILE,       /* file with the text `arg`, 0644 */
    OP_TMPFS,      /* with `bytes`, `inodes`, `mode`; owned by `id` */
    OP_BIND,       /* of `arg` (absolute, on the host), with everything mounted below it; made when absent */
    OP_PROC,       /* a fresh procfs; `arg`: its options */
    OP_WRITE,      /* `arg` into an existing file */
    OP_READ_ONLY,  /* bind onto itself, read-only */
    OP_CHECK_NULL, /* dev/null is the null device: what follows hides files with it */
    OP_HIDE_FILE,  /* /dev/null over it */
    OP_HIDE_DIR,   /* an empty read-only directory over it: `arg`, or a new one */
    OP_PROTECT,    /* mount_setattr(`flags`) on the mount that is there */
    OP_HOSTNAME,
};

/* Attributes as mount_setattr takes them. */
enum plan_flag { PLAN_RDONLY = 1, PLAN_NOSUID = 2, PLAN_NODEV = 4, PLAN_NOEXEC = 8 };

struct op {
    enum op_type type;
    bool optional; /* the target (or for OP_BIND the source) may be absent: then there is nothing to do */
    bool recursive;
    const char *path;
    const char *arg;
    unsigned flags;
    unsigned mode, id;
    uint64_t bytes, inodes;
};

enum { PLAN_MAX = 96 };

struct plan {
    struct op ops[PLAN_MAX];
    size_t n;
    bool overflow; /* a programmer's error, checked by the one who applies it */
};

/* What the plan has to know of the host. */
enum { HOST_TOP_MAX = 8 };
struct host_facts {
    struct {
        const char *name;   /* "bin" */
        const char *target; /* "usr/bin" when it is a link, NULL when it is a directory */
    } top[HOST_TOP_MAX];
    size_t top_n;
};

void plan_root(struct plan *p, const struct host_facts *host, unsigned off);
void plan_pod(struct plan *p, const struct pod_limits *limits, unsigned off);
/* CLONE_NEW* of a pod, and of its first process. */
unsigned long plan_namespaces(unsigned off);
unsigned long plan_clone_flags(unsigned off);

#endif
