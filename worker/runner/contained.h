/* SPDX-License-Identifier: Apache-2.0 */
/* PID 1 of a container that an engine made: reached over TCP (worker/knock.h) instead of over a socket that a spawner handed
   down. Who does what of HARDENING 1.2:

     the engine, from the pod's specification    namespaces, read-only root, masks of /proc, the volumes and their sizes, user and
                                                 group, no capability, no_new_privs, memory, processor, a first system call filter
     this process                                reads all that back, makes the program's pipes, ends every process, collects files
     the program (lockdown.h, `given`)           session, oom_score_adj, limits of each process, Landlock, our filter, in which
                                                 there are no sockets but AF_UNIX: the network namespace has a network */
#ifndef MILLRACE_WORKER_RUNNER_CONTAINED_H
#define MILLRACE_WORKER_RUNNER_CONTAINED_H

/* Returns an exit code when it cannot begin, and says why on standard error. */
int contained_main(int argc, char **argv);

/* Opens those of the container's own counters that the engine shows; bits of enum runner_fd. */
unsigned contained_counters(void);

#endif
