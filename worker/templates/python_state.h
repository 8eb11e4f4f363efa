/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a Python program (docs/STATE.md): what a run that keeps state does before and after its program. Nothing here
   is entered by other runs. */
#ifndef MILLRACE_WORKER_TEMPLATES_PYTHON_STATE_H
#define MILLRACE_WORKER_TEMPLATES_PYTHON_STATE_H

#include "worker/spec.h"
#include "worker/templates/python_api.h"

#include <sys/types.h>

struct python_state {
    int go;
    dev_t dev; /* what `go` is: a program may put something else in its place */
    ino_t ino;
    const struct spec *spec;
    PyObject *restore, *capture,
        *send; /* Host.restore(main, bytes), .capture(main, most, ms, dotted), .send_state(fd, parts) */
    PyObject *warnings;  /* a list: of what there is to warn */
    PyObject *set_alarm; /* (): from now on SIGALRM ends a capture */
    PyObject *globals;   /* of __main__ */
    ptrdiff_t names;     /* in it before the program */
    bool given;          /* it began with a state */
    bool ended;          /* its end was told, and what is saved */
};

/* The run has begun: says so, takes what the runner sends behind the specification and puts it into `globals`. What cannot be
   restored is a warning of the run. ERR_CLOSED: the runner is gone. */
MUST_CHECK enum err python_state_begin(struct python_state *state, const struct spec *spec,
                                       PyObject *globals);
/* The program has ended. False: its namespace is empty, and there is nothing to say. */
bool python_state_due(const struct python_state *state);
void python_state_end(struct python_state *state, int status);
/* The last thing before its end. */
void python_state_over(const struct python_state *state, int status);
/* Lets go of the namespace, so that what is in it can end as in any program. */
void python_state_drop(struct python_state *state);

#endif
