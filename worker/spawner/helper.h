/* SPDX-License-Identifier: Apache-2.0 */
/* The U0 helper: root only inside the outer user namespace U0, PID 1 of a pid namespace that holds every pod and template,
   so its end is theirs. It builds the root file system that pods inherit, makes pods (each first process is a fork of it, which
   becomes the runner), and starts templates. It answers requests in order, over one SOCK_SEQPACKET pair. */
#ifndef MILLRACE_WORKER_SPAWNER_HELPER_H
#define MILLRACE_WORKER_SPAWNER_HELPER_H

#include "base/err.h"
#include "worker/spawner/proto.h"

#include <stdbool.h>

enum { HELPER_FDS_MAX = 12 };

/* Ids in U0, which maps HELPER_IDS of them. */
enum { HELPER_IDS = 65536, HELPER_TEMPLATE_UID = 1001, HELPER_POD_FIRST = 4096 };

enum helper_type {
    HELPER_POD = 1,      /* descriptors by `roles`; -> MADE with a pidfd, or FAILED */
    HELPER_TEMPLATE = 2, /* one descriptor: its control socket; -> STARTED or FAILED */
    HELPER_UP = 64,      /* first message, unasked: the root is built */
    HELPER_MADE = 65,
    HELPER_STARTED = 66,
    HELPER_FAILED = 67,
};

enum pod_program {
    PROGRAM_COLD = 0,
    PROGRAM_FORKED = 1, /* a template forks it */
    PROGRAM_WARM = 2,   /* the runner starts an interpreter, which waits */
};

struct helper_request {
    uint32_t type;
    uint32_t fd_count;
    uint64_t tag;
    uint32_t uid;     /* first of the pod's two ids in U0 */
    uint32_t program; /* enum pod_program */
    uint32_t
        enter_first; /* rootless: the helper puts the whole pod into its cgroups, while its first process still is ours */
    uint32_t reserved;
    uint8_t roles[HELPER_FDS_MAX]; /* enum runner_fd for each descriptor */
    char set[SPAWNER_KIND_MAX];    /* TEMPLATE: package set; of a POD that is PROGRAM_WARM: its launcher */
    struct pod_limits limits;
};

struct helper_reply {
    uint32_t type;
    uint32_t reserved;
    uint64_t tag;
    char text[SPAWNER_TEXT_MAX];
};

/* Descriptors of the helper when it is executed, and its arguments: bits of enum defence that are off (hexadecimal), and the id
   in U0 that owns the user namespaces of warm pods and that templates run as. */
enum { HELPER_FD_CONTROL = 3, HELPER_FD_FILTER = 4 };
#define HELPER_NAME "millrace-podhelper"

#endif
