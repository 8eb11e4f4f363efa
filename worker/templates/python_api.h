/* SPDX-License-Identifier: Apache-2.0 */
/* The few functions of CPython that the fork library calls: all of the documented API, found in the
   interpreter that loads the library. Declared here because the interpreter's headers are not needed for
   anything else. */
#ifndef MILLRACE_WORKER_TEMPLATES_PYTHON_API_H
#define MILLRACE_WORKER_TEMPLATES_PYTHON_API_H

#include <stddef.h>
#include <stdio.h>

typedef struct py_object PyObject;
typedef struct py_thread_state PyThreadState;
typedef struct py_interpreter_state PyInterpreterState;

/* The head of an object of variable size (PyVarObject). */
struct py_var_object {
    ptrdiff_t references;
    void *type;
    ptrdiff_t size;
};

enum { PYTHON_FILE_INPUT = 257 }; /* Py_file_input */

extern PyObject _Py_NoneStruct; /* None itself */
extern PyObject *PyExc_SystemExit;
extern PyObject *PyExc_KeyboardInterrupt;

void PyOS_BeforeFork(void);
void PyOS_AfterFork_Child(void);
PyInterpreterState *PyInterpreterState_Get(void);
PyThreadState *PyThreadState_New(PyInterpreterState *interpreter);
void PyThreadState_Clear(PyThreadState *state);
void PyThreadState_Delete(PyThreadState *state);
void PyThreadState_DeleteCurrent(void);
int PyGILState_Ensure(void);

PyObject *PyRun_FileExFlags(FILE *fp, const char *name, int start, PyObject *globals, PyObject *locals,
                            int close, void *flags);
PyObject *PyErr_Occurred(void);
int PyErr_ExceptionMatches(PyObject *type);
void PyErr_Fetch(PyObject **type, PyObject **value, PyObject **traceback);
void PyErr_NormalizeException(PyObject **type, PyObject **value, PyObject **traceback);
void PyErr_PrintEx(int set_sys_last);
void PyErr_Clear(void);
void PyErr_WriteUnraisable(PyObject *where);
PyObject *PySys_GetObject(const char *name);
PyObject *PyObject_GetAttrString(PyObject *o, const char *name);
int PyObject_IsTrue(PyObject *o);
int Py_FinalizeEx(void);
ptrdiff_t PyGC_Collect(void);

PyObject *PyObject_CallFunctionObjArgs(PyObject *callable, ...);
PyObject *PyList_New(ptrdiff_t n);
int PyList_SetItem(PyObject *list, ptrdiff_t at, PyObject *item); /* takes `item` over */
ptrdiff_t PyList_Size(PyObject *list);
PyObject *PyList_GetItem(PyObject *list, ptrdiff_t at); /* borrowed */
int PyList_Append(PyObject *list, PyObject *item);
PyObject *PyUnicode_FromStringAndSize(const char *text, ptrdiff_t n);
PyObject *PyUnicode_DecodeFSDefault(const char *text);
PyObject *PyBytes_FromString(const char *text);
PyObject *PyBytes_FromStringAndSize(const char *text, ptrdiff_t n); /* NULL: room for n bytes */
int PyBytes_AsStringAndSize(PyObject *bytes, char **ret_text, ptrdiff_t *ret_n);
char *PyBytes_AsString(PyObject *bytes);
PyObject *PyLong_FromUnsignedLongLong(unsigned long long number);
ptrdiff_t PyDict_Size(PyObject *dict);
long PyLong_AsLong(PyObject *number);
PyObject *PyLong_FromLong(long number);
void *PyObject_Malloc(size_t size);
typedef struct {
    void *context;
    void *(*alloc)(void *context, size_t size);
    void (*free)(void *context, void *arena, size_t size);
} PyObjectArenaAllocator;
void PyObject_SetArenaAllocator(PyObjectArenaAllocator *allocator);
void Py_IncRef(PyObject *o);
void Py_DecRef(PyObject *o);

#endif
