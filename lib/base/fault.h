/* SPDX-License-Identifier: Apache-2.0 */
/* Test builds only: single steps of a pod's set-up fail. Every call to libc in fault.def goes through a wrapper there (ld --wrap,
   cmake/Faults.cmake), so a new step is counted without being named anywhere. TEST_FAIL_STEP=file is a struct fault_switch, shared by the
   spawner and all that comes of it: the `at`-th call that a process makes within `scope` fails with `error`, or every call (FAULT_EVERY). A release has
   neither wrappers nor switch. */
#ifndef MILLRACE_BASE_FAULT_H
#define MILLRACE_BASE_FAULT_H

#include <stdint.h>

/* Whose steps: each is the work of one process. tests/hazards/test_pod_8_set_up.py knows them by number. */
enum fault_scope {
    FAULT_NONE,
    FAULT_SPAWNER_START, /* until it serves */
    FAULT_SPAWNER_POD,   /* one turn of its loop */
    FAULT_HELPER_EXEC,   /* from the spawner's clone to its first instruction */
    FAULT_HELPER_START,  /* until it is up */
    FAULT_HELPER_POD,    /* one request */
    FAULT_TEMPLATE_EXEC, /* from its fork to the interpreter's first instruction */
    FAULT_TEMPLATE_POD,  /* the template, M and N */
    FAULT_FIRST,         /* the pod's first process, until the program has its job */
    FAULT_PROGRAM,       /* a program's process, until it is executed */
    FAULT_LAUNCHER,      /* a waiting interpreter, until it is executed, and its mediator */
    FAULT_FORKED,        /* a template's child, until its first instruction */
    FAULT_WORKER,        /* the worker's process, until it is executed */
};

/* From here on this process does the work of `scope`. */
void fault_enter(enum fault_scope scope);
/* The next thing that runs is the user's: what had failed before was passed over. */
void fault_user_code(void);
/* What hands the switch on where a process is executed without environment or descriptors. */
const char *fault_environment(void);
int fault_stdin(int otherwise);

#ifdef MILLRACE_TEST_BUILD
enum { FAULT_MAGIC = 0x544c4146, FAULT_SITES_MAX = 512 };
#define FAULT_EVERY UINT32_MAX

struct fault_switch {
    uint32_t magic, scope, at, error;
    uint32_t once; /* count each place in the code once, however often it calls */
    uint32_t count, hit, ran, ran_after_hit;
    uint32_t ran_struck; /* in the very process whose call had failed */
    uint32_t sites_n;
    char name[32];   /* of the call that failed */
    uint64_t caller; /* the place it returns to, from the start of its file */
    uint64_t sites[FAULT_SITES_MAX];
};

/* Does this call, which returns to `caller`, fail? Then errno is set. */
int fault_strikes(const char *name, const void *caller);
#endif

#endif
