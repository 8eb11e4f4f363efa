/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_WORKER_TEMPLATES_LANDLOCK_H
#define MILLRACE_WORKER_TEMPLATES_LANDLOCK_H

/* The kernel's Landlock ABI (1, 2, ...), or 0 where there is none. */
int landlock_abi(void);

/* Confine this process to a pod's view of the file system: programs and libraries to read and execute, /etc,
   /proc and /dev to read, `work_dir`, /tmp and /dev/shm to write; no TCP, no abstract sockets and no signals
   beyond it where the ABI has them. Needs no_new_privs. Returns 0, or -1 with errno. */
int landlock_confine(const char *work_dir);

#endif
