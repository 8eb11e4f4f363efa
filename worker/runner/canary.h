/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_WORKER_RUNNER_CANARY_H
#define MILLRACE_WORKER_RUNNER_CANARY_H

/* Tries what the cluster enforces, and ends with what is missing as the container's termination message (worker/canary.h). `sizes`:
   what follows CANARY_OPTION. Returns an exit code. */
int canary_main(const char *sizes);

#endif
