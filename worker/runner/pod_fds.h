/* SPDX-License-Identifier: Apache-2.0 */
/* What a local pod's PID 1 is given by whoever made the pod: descriptors at fixed numbers, and two arguments that say
   which of them are there (--fds, a bit for each number) and, in a test build, which defences are off (--off). */
#ifndef MILLRACE_WORKER_RUNNER_POD_FDS_H
#define MILLRACE_WORKER_RUNNER_POD_FDS_H

enum runner_fd {
    RUNNER_FD_CONTROL = 3, /* stream socket to the worker; always */
    RUNNER_FD_FILTER = 4,  /* sealed memfd with the seccomp program (struct sock_filter[]) */
    RUNNER_FD_CGROUP =
        5,             /* to 8: cgroup.procs of the pod, open for writing; the program enters them itself */
    RUNNER_FD_CPU = 9, /* cpuacct.usage (v1) or cpu.stat (v2) of the pod */
    RUNNER_FD_MEMORY = 10, /* memory.oom_control (v1) or memory.events (v2) of the pod */
    RUNNER_FD_STDIN =
        11, /* to 14: a program that a template forks into the pod: our ends of its pipes and go socket */
    RUNNER_FD_STDOUT = 12,
    RUNNER_FD_STDERR = 13,
    RUNNER_FD_GO = 14,
    RUNNER_FD_PEAK = 15, /* memory.max_usage_in_bytes (v1) or memory.peak (v2) of the pod */
    RUNNER_FD_PIDS = 16, /* in a container: pids.current of its own */
    RUNNER_FD_END = 17,
    RUNNER_CGROUPS_MAX = 4,
};

/* Ids inside every pod. */
enum { POD_UID = 1000, POD_GID = 1000 };

#define POD_WORK_DIR "/mnt/data"
/* Where a compiler puts the program, where the language does not say otherwise. */
#define POD_PROGRAM POD_WORK_DIR "/.program"

#endif
