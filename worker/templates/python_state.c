/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/templates/python_state.h"

#include "worker/templates/program.h"
#include "worker/templates/template_proto.h"

#include <sys/socket.h>
#include <sys/stat.h>

static bool same_socket(struct python_state *state)
{
    struct stat now;
    return fstat(state->go, &now) == 0 && S_ISSOCK(now.st_mode) && now.st_dev == state->dev &&
           now.st_ino == state->ino;
}

static enum err restore(struct python_state *state)
{
    ptrdiff_t size = (ptrdiff_t)state->spec->state_size;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);
    if (bytes == NULL)
        return ERR_NOMEM;
    enum err e = program_receive(state->go, PyBytes_AsString(bytes), (size_t)size);
    if (e == ERR_OK && PyObject_CallFunctionObjArgs(state->restore, state->globals, bytes, NULL) == NULL)
        PyErr_PrintEx(0); /* it catches everything itself */
    Py_DecRef(bytes);
    return e;
}

enum err python_state_begin(struct python_state *state, const struct spec *spec, PyObject *globals)
{
    struct stat socket;
    if (fstat(state->go, &socket) != 0 || program_tell_ready(state->go, NULL) != ERR_OK)
        return ERR_CLOSED;
    state->dev = socket.st_dev;
    state->ino = socket.st_ino;
    state->spec = spec;
    state->globals = globals;
    state->names = PyDict_Size(globals);
    state->given = spec->state_size > 0;
    Py_IncRef(globals);
    return state->given ? restore(state) : ERR_OK;
}

bool python_state_due(const struct python_state *state)
{
    return state->given || PyDict_Size(state->globals) > state->names;
}

void python_state_end(struct python_state *state, int status)
{
    struct program_ended ended = {.magic = TEMPLATE_MAGIC, .status = status};
    if (!same_socket(state) || send(state->go, &ended, sizeof ended, MSG_NOSIGNAL) != (ssize_t)sizeof ended)
        return;
    PyObject *fd = PyLong_FromLong(state->go);
    PyObject *most = PyLong_FromUnsignedLongLong(state->spec->state_max);
    PyObject *ms = PyLong_FromUnsignedLongLong(state->spec->state_ms);
    if (fd != NULL && most != NULL && ms != NULL)
        (void)PyObject_CallFunctionObjArgs(state->capture, state->globals, fd, most, ms, NULL);
    PyErr_Clear(); /* it catches everything itself */
}

void python_state_drop(struct python_state *state)
{
    Py_DecRef(state->globals);
    state->globals = NULL;
}
