/* SPDX-License-Identifier: Apache-2.0 */
/* Python started ahead in a container: the template's script and library, which become the one program instead of forking
   it into pods. */
#ifndef MILLRACE_WORKER_RUNNER_CONTAINER_PYTHON_H
#define MILLRACE_WORKER_RUNNER_CONTAINER_PYTHON_H

#include "worker/templates/launcher.h"

/* By the `set` of a row of kinds.def whose how is FORKED, with "python-" before it; or NULL. */
const struct launcher *container_python_named(const char *name);

#endif
