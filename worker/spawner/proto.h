/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker asks of the spawner, over one SOCK_SEQPACKET pair that the spawner made before it started the
   worker (descriptor number in MILLRACE_SPAWNER_FD). Messages have a fixed size and no pointers; the spawner
   checks every field again. */
#ifndef MILLRACE_SPAWNER_PROTO_H
#define MILLRACE_SPAWNER_PROTO_H

#include <stdint.h>

enum { SPAWNER_MAGIC = 0x4d525350, SPAWNER_VERSION = 2, SPAWNER_TEXT_MAX = 256, SPAWNER_KIND_MAX = 16 };
#define SPAWNER_FD_ENV "MILLRACE_SPAWNER_FD"

/* Limits of a pod that the kernel keeps for the whole pod. Every one is finite. */
struct pod_limits {
    uint64_t memory_bytes;
    uint64_t pids;
    uint64_t cpu_millis; /* of one core per second: 1000 = one core */
    uint64_t work_bytes; /* size of /mnt/data */
    uint64_t work_inodes;
    uint64_t tmp_bytes; /* size of /tmp */
};

enum spawner_request_type {
    SPAWNER_CREATE = 1, /* tag, kind, limits -> CREATED (with the runner's socket) or FAILED */
    SPAWNER_LIMITS =
        2, /* pod, limits: memory, pids and cpu of a pod that is not running yet -> CHANGED or FAILED */
    SPAWNER_USAGE = 3,   /* pod -> USAGE */
    SPAWNER_DESTROY = 4, /* pod -> GONE, once nothing of it is left */
};

struct spawner_request {
    uint32_t magic;
    uint32_t type;
    uint64_t tag; /* chosen by the worker, echoed in the reply */
    uint64_t pod;
    char kind[SPAWNER_KIND_MAX]; /* a row of kinds.def */
    struct pod_limits limits;
};

enum spawner_reply_type {
    SPAWNER_HELLO = 64,   /* first message: what this host gives (`missing`, `accepted`), unasked */
    SPAWNER_CREATED = 65, /* pod; one descriptor: the stream socket to its runner */
    SPAWNER_CHANGED = 66,
    SPAWNER_USAGED = 67,
    SPAWNER_GONE = 68,   /* also unasked, when a pod died; usage is final */
    SPAWNER_FAILED = 69, /* text says why */
};

struct pod_usage {
    uint64_t cpu_ns;
    uint64_t memory_peak_bytes;
    uint64_t oom_kills;    /* by the pod's own limit */
    uint64_t pids_peak;    /* 0 when the kernel does not tell */
    uint64_t pids_refused; /* forks refused by the pids limit */
};

struct spawner_reply {
    uint32_t magic;
    uint32_t type;
    uint64_t tag;      /* 0 when unasked */
    uint64_t pod;      /* never 0, never used again while this spawner lives */
    uint64_t missing;  /* HELLO: bits of enum preflight (preflight.def) that the host lacks */
    uint64_t accepted; /* HELLO: those that may be missing */
    uint32_t rootless; /* HELLO: 1 when without privilege */
    uint32_t reserved;
    struct pod_usage usage;
    char text[SPAWNER_TEXT_MAX]; /* UTF-8, NUL-terminated */
};

#endif
