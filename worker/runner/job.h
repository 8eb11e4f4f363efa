/* SPDX-License-Identifier: Apache-2.0 */
/* What a program of a cold pod, and the mediator of a warm one, do with the job that comes over the go socket. */
#ifndef MILLRACE_WORKER_RUNNER_JOB_H
#define MILLRACE_WORKER_RUNNER_JOB_H

#include "worker/spec.h"

enum { GO_FD = 3, JOB_NOT_STARTED = 125 };

/* Blocks; the bytes of the run specification, with room for one more, never freed. Ends the process when the runner closed
   without a job (0: nothing was wrong) or sent anything else. */
char *job_wait(int go_fd, size_t *ret_len);
/* The source as a fresh file of the working directory. */
MUST_CHECK enum err job_write_source(const struct spec *spec, struct errinfo *info);

#endif
