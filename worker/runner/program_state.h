/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a program that is executed: a shell that reads and writes it by a script (templates/template_proto.h). */
#ifndef MILLRACE_WORKER_RUNNER_PROGRAM_STATE_H
#define MILLRACE_WORKER_RUNNER_PROGRAM_STATE_H

#include "worker/spec.h"

/* Blocks until the state behind the specification is read. Before the limits, which may be lower than the descriptors. */
MUST_CHECK enum err program_state_open(int go, const struct spec *spec, struct errinfo *info);

#endif
