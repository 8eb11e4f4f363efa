/* SPDX-License-Identifier: Apache-2.0 */
/* Speaks the go protocol for an interpreter that cannot use a socket it was given: a process beside it, which ends before the
   user's code runs. The interpreter needs nothing but files:

     MEDIATOR_STATUS_FD (write)  'r': it is ready; one that compiles then says 'K': that is done, and it waits for the end of the job,
                                 'R': done and not to be kept, it runs the program, or 'C': that failed
     MEDIATOR_JOB_FD (read)      the job, up to the end of the file: texts that end with NUL: how many args, the args, and
                                 the variables as NAME=value (to one that compiles, with an empty text behind them). Empty: there
                                 is no job, and it ends
     LAUNCHER_FD, LAUNCHER_FD+1  its launcher's files; with `appended` the source follows in the first

   To one that compiles the args are: the name of the source (empty: the program's file is there already), and what `run` of
   languages.def has behind its options. */
#ifndef MILLRACE_WORKER_RUNNER_MEDIATOR_H
#define MILLRACE_WORKER_RUNNER_MEDIATOR_H

#include "base/err.h"
#include "worker/templates/launcher.h"

enum { MEDIATOR_JOB_FD = 7, MEDIATOR_STATUS_FD = 8 };

/* In the process that becomes the interpreter, which is locked down already; the mediator is forked, and not its child. */
MUST_CHECK enum err mediator_start(const struct launcher *launcher, struct errinfo *info);

#endif
