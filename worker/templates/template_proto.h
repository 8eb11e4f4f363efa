/* SPDX-License-Identifier: Apache-2.0 */
/* Three short protocols of the warm interpreters. Fixed sizes, no pointers, host byte order (one machine).

   1. spawner <-> template, one SOCK_SEQPACKET pair, descriptor 3 of the template:
        template                          spawner
          |  <----------- SETUP -----------  |  once, may be sent before the template has started
          |  ------------ READY ---------->  |  imports and warm-up done, SETUP read, one thread
          |  <------------ FORK -----------  |  with descriptors (SCM_RIGHTS), in the order of enum
   template_fd |  ------ FORKED | FAILED ------>  |  one for each FORK, in order; FAILED: nothing is left in
   the pod End of file on the socket ends the template. A message it does not understand ends it too (exit
   70).

   2. program <-> runner (PID 1 of the pod), the "go" socket: one SOCK_STREAM pair, program's end
   TEMPLATE_FD_GO. program                           runner |  ------- struct program_ready -->  |  locked
   down and waiting (error 0), or it could not be (then it exits 125) |  <------ struct program_go + TLV - |
   the run specification; then the program closes its end and runs The runner must not tell the worker READY
   before program_ready with error 0. End of file from the runner instead of program_go: the program exits 0
   without having run anything.

   3. a warm node: the same go protocol, with the runner as its parent: see node/launcher.js. */
#ifndef MILLRACE_WORKER_TEMPLATES_TEMPLATE_PROTO_H
#define MILLRACE_WORKER_TEMPLATES_TEMPLATE_PROTO_H

#include <stdint.h>

enum {
    /* As `error` of a second program_ready, after the run specification: the interpreter compiled the program, and failed.
       It then closes its end, tells why on standard error, and exits with the compiler's status, which is not 0. */
    PROGRAM_COMPILE_FAILED = -1,
    /* The same, and it was compiled: the program's file (POD_PROGRAM) and what the compiler said on standard error are there. None of the
       user's code runs until the runner closes its end, and by then it has taken both. */
    PROGRAM_COMPILED = -2,
    TEMPLATE_MAGIC = 0x4d525450,
    TEMPLATE_VERSION = 2,
    TEMPLATE_TEXT_MAX = 256,
    TEMPLATE_PATH_MAX = 64,
    TEMPLATE_RLIMITS_MAX = 16,
    TEMPLATE_FILTER_MAX = 4096, /* BPF instructions (the kernel's own maximum) */
    TEMPLATE_CGROUPS_MAX = 4,
    TEMPLATE_CONTROL_FD = 3,
    PROGRAM_GO_MAX = 16 << 20, /* bytes of one run specification */
};

enum template_type {
    TEMPLATE_SETUP = 1,   /* struct template_setup, cut behind the last instruction of the filter */
    TEMPLATE_FORK = 2,    /* struct template_fork and descriptors */
    TEMPLATE_READY = 64,  /* struct template_reply; text: "python 3.11.2; set bare" */
    TEMPLATE_FORKED = 65, /* pid: as the pod sees it */
    TEMPLATE_FAILED = 66, /* text: which step, and the errno's text */
};

/* What every pod of this template gets. Set once. */
struct template_setup {
    uint32_t magic;
    uint32_t type;
    uint32_t version; /* TEMPLATE_VERSION */
    uint32_t uid;     /* inside the pod: 1000 */
    uint32_t gid;
    uint32_t umask;
    uint32_t landlock; /* 1: fail where the kernel has none; 0: then without */
    uint32_t rlimit_count;
    uint32_t filter_count; /* seccomp BPF instructions; 0 is refused */
    uint32_t off;          /* bits of enum defence; anything but 0 is refused by a release */
    uint32_t namespaces;   /* CLONE_NEW*: the pod's own; a release wants all seven */
    uint32_t reserved;
    char work_dir[TEMPLATE_PATH_MAX];   /* "/mnt/data": current folder and sys.path[0] */
    char source_dir[TEMPLATE_PATH_MAX]; /* where `uid` can write: the source is made here; the work_dir */
    struct {
        uint32_t resource; /* RLIMIT_* */
        uint32_t reserved;
        uint64_t soft, hard;
    } rlimits[TEMPLATE_RLIMITS_MAX];
    struct {
        uint16_t code;
        uint8_t jt, jf;
        uint32_t k;
    } filter[TEMPLATE_FILTER_MAX]; /* struct sock_filter */
};

/* Descriptors of a FORK, in this order. The spawner closes its own copies after sending. */
enum template_fd {
    TEMPLATE_FD_PIDFD = 0, /* of the pod's PID 1: every namespace of it is joined */
    TEMPLATE_FD_STDIN = 1,
    TEMPLATE_FD_STDOUT = 2,
    TEMPLATE_FD_STDERR = 3,
    TEMPLATE_FD_GO = 4,
    TEMPLATE_FD_CGROUPS = 5, /* 0 to TEMPLATE_CGROUPS_MAX cgroup.procs of the pod, open for writing */
};

struct template_fork {
    uint32_t magic;
    uint32_t type;
    uint64_t tag; /* echoed */
    uint32_t cgroup_count;
    uint32_t reserved;
};

struct template_reply {
    uint32_t magic;
    uint32_t type;
    uint64_t tag;
    int32_t pid;
    int32_t error;                /* FAILED: errno or 0 */
    char text[TEMPLATE_TEXT_MAX]; /* UTF-8, NUL-terminated */
};

struct program_ready {
    uint32_t magic;
    int32_t pid;   /* in the pod's pid namespace */
    int32_t error; /* 0, or the errno of the step that failed; `text` names it */
    char text[116];
};

/* A run that keeps state (SPEC_STATE_MAX) does not close its end. It sends program_ready once more: it runs. Then it reads
   the SPEC_STATE_SIZE bytes that the runner sent behind the specification, runs the program, and may end with
   program_ended and records: frame headers of worker/frame.h with enum state_record as type. The user's code could write
   to the socket too: what it can say there is the exit status and the state of its own run. */
struct program_ended {
    uint32_t magic;
    int32_t
        status; /* exit status of the program: saving its state does not change it any more; or PROGRAM_ENDS_ITSELF */
};

/* Bit of program_ended.status: how the process ends then counts, by a signal too; the status counts if it has to be killed. */
enum { PROGRAM_ENDS_ITSELF = 256 };

/* Bit of program_ended.status: nothing is left to do but to end with the status, and nothing is said of a state. PID 1 may then
   kill the program before it has ended, and tell its end at once. A program that has told its end, and its state behind it, says
   the same by shutting the socket. */
enum { PROGRAM_IS_OVER = 512 };

/* A program that is executed and keeps state (a shell) finds these descriptors: the go socket, a file in memory with the state
   that it begins with and may write to afterwards, and SPEC_STATE_SCRIPT, which its BASH_ENV names. */
enum { PROGRAM_FD_GO = 250, PROGRAM_FD_STATE = 251, PROGRAM_FD_SCRIPT = 252 };
#define PROGRAM_SCRIPT_ENV "BASH_ENV=/proc/self/fd/252"

enum state_record {
    STATE_RECORD_BYTES = 1,   /* of the state, in order */
    STATE_RECORD_WARNING = 2, /* JSON {"name", "reason"}: what was not saved */
    STATE_RECORD_END = 3,     /* one byte, 1: the bytes are a whole state; 0: nothing is to be saved */
};

/* Followed by `length` bytes of TLV as in worker/frame.h. Read: SPEC_SOURCE_NAME, SPEC_SOURCE,
   SPEC_PROGRAM_ARGS, SPEC_ENV (the whole environment of the program), SPEC_LIMIT_NOFILE, _FSIZE, _NPROC,
   _CPU_MS (rounded up to seconds; limits are only lowered). Other known tags are skipped; an unknown tag ends
   the program with 125. */
struct program_go {
    uint32_t magic;
    uint32_t length; /* at most PROGRAM_GO_MAX */
};

#endif
