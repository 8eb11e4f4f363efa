/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/templates/python_state.h"

#include "base/cleanup.h"
#include "worker/templates/program.h"
#include "worker/templates/template_proto.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

enum { SMALL_MAX = 32 * 1024, SMALL_PARTS = 4, MEMORY_EXTRA = 64 << 20 };

static bool same_socket(const struct python_state *state)
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

/* ---- its budgets: time by an alarm, memory by the size of the address space. PID 1 has a clock of its own behind them. As much of
   it here as can be: the same in Python copies some twenty pages more. */

static void limit_memory(uint64_t most)
{
    char text[128] = {0};
    char *end = text;
    struct rlimit limit;
    auto_fd fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
        return;
    rlim_t pages = strtoul(text, &end, 10); /* the first of its numbers: the whole size */
    if (end == text || getrlimit(RLIMIT_AS, &limit) != 0)
        return; /* the pod's own limit still holds */
    limit.rlim_cur = pages * (rlim_t)sysconf(_SC_PAGESIZE) + 3 * most + MEMORY_EXTRA;
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_cur < limit.rlim_max)
        (void)setrlimit(RLIMIT_AS, &limit);
}

static void limit_begin(const struct python_state *state)
{
    const uint64_t ms = state->spec->state_ms;
    struct itimerval alarm = {
        .it_value = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000) * 1000}};
    sigset_t alone;
    sigemptyset(&alone);
    sigaddset(&alone, SIGALRM);
    Py_DecRef(PyObject_CallFunctionObjArgs(state->set_alarm, NULL)); /* none of these can fail */
    (void)pthread_sigmask(SIG_UNBLOCK, &alone, NULL);
    (void)setitimer(ITIMER_REAL, &alarm, NULL);
    limit_memory(state->spec->state_max);
}

static void limit_end(void)
{
    const struct itimerval none = {.it_value = {.tv_sec = 0}};
    struct rlimit limit;
    (void)setitimer(ITIMER_REAL, &none, NULL);
    if (getrlimit(RLIMIT_AS, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_AS, &limit);
    }
}

/* ---- what the program's text imports as `import a.b` ---- */

static void add_dotted(PyObject *list, struct str names)
{
    while (names.p != NULL) {
        struct str name = str_trim(str_split(&names, ','));
        size_t n = 0;
        while (n < name.n && strchr(" \t\r\f", name.p[n]) == NULL)
            n++;
        PyObject *text =
            memchr(name.p, '.', n) == NULL ? NULL : PyUnicode_FromStringAndSize(name.p, (ptrdiff_t)n);
        if (text != NULL)
            (void)PyList_Append(list, text); /* then that one is not known */
        Py_DecRef(text);
    }
}

/* At the beginning of a line or behind a ';'. What only looks like it names no module that was imported. */
static PyObject *dotted_imports(struct str source)
{
    PyObject *list = PyList_New(0);
    while (list != NULL && source.p != NULL) {
        struct str line = str_split(&source, '\n');
        while (line.p != NULL) {
            struct str part = str_trim(str_split(&line, ';'));
            if (part.n > 7 && memcmp(part.p, "import", 6) == 0 && (part.p[6] == ' ' || part.p[6] == '\t')) {
                part = (struct str){part.p + 7, part.n - 7};
                add_dotted(list, str_split(&part, '#'));
            }
        }
    }
    return list;
}

/* ---- telling it ---- */

struct records {
    uint8_t heads[SMALL_PARTS + 1][FRAME_HEADER_SIZE];
    struct iovec at[2 * (SMALL_PARTS + 1)];
    size_t count, bytes;
};

static void add_record(struct records *r, enum state_record kind, const void *payload, size_t size)
{
    uint8_t *head = r->heads[r->count / 2];
    union {
        const void *shared;
        void *base;
    } u = {payload};
    frame_put_header(head, (enum frame_type)kind, size);
    r->at[r->count++] = (struct iovec){.iov_base = head, .iov_len = FRAME_HEADER_SIZE};
    r->at[r->count++] = (struct iovec){.iov_base = u.base, .iov_len = size};
    r->bytes += size;
}

/* False: there are too many, or they are too large. */
static bool add_parts(struct records *r, PyObject *parts)
{
    ptrdiff_t count = PyList_Size(parts), size = 0;
    bool good = count <= SMALL_PARTS;
    for (ptrdiff_t i = 0; good && i < count; i++) {
        char *bytes = NULL;
        good = PyBytes_AsStringAndSize(PyList_GetItem(parts, i), &bytes, &size) == 0 &&
               r->bytes + (size_t)size <= SMALL_MAX;
        if (good)
            add_record(r, STATE_RECORD_BYTES, bytes, (size_t)size);
    }
    PyErr_Clear(); /* a part may be an array's own memory */
    if (!good)
        r->count = r->bytes = 0;
    return good;
}

static bool send_records(int go, struct records *r)
{
    struct msghdr message = {.msg_iov = r->at, .msg_iovlen = r->count};
    while (message.msg_iovlen > 0) {
        ssize_t n = sendmsg(go, &message, MSG_NOSIGNAL);
        if (n < 0)
            return false;
        for (size_t sent = (size_t)n;
             sent > 0 || (message.msg_iovlen > 0 && message.msg_iov->iov_len == 0);) {
            struct iovec *first = message.msg_iov;
            size_t of_it = sent < first->iov_len ? sent : first->iov_len;
            first->iov_base = (char *)first->iov_base + of_it;
            first->iov_len -= of_it;
            sent -= of_it;
            if (first->iov_len == 0) {
                message.msg_iov++;
                message.msg_iovlen--;
            }
        }
    }
    return true;
}

/* In one piece where it is little. Without its end the worker takes nothing. */
static void tell(const struct python_state *state, PyObject *parts)
{
    struct records records = {.count = 0};
    const char whole = parts != NULL && parts != &_Py_NoneStruct;
    PyObject *some = whole ? parts : PyList_New(0);
    bool told = true;
    if (PyList_Size(state->warnings) > 0 || !add_parts(&records, some)) {
        PyObject *fd = PyLong_FromLong(state->go);
        told = PyObject_CallFunctionObjArgs(state->send, fd, some, NULL) != NULL;
    }
    add_record(&records, STATE_RECORD_END, &whole, 1);
    if (told)
        (void)send_records(state->go, &records); /* nobody is left to be told */
    PyErr_Clear();
}

void python_state_end(struct python_state *state, int status)
{
    struct program_ended ended = {.magic = TEMPLATE_MAGIC, .status = status};
    state->ended = true;
    if (!same_socket(state) || send(state->go, &ended, sizeof ended, MSG_NOSIGNAL) != (ssize_t)sizeof ended)
        return;
    PyObject *most = PyLong_FromUnsignedLongLong(state->spec->state_max);
    PyObject *ms = PyLong_FromUnsignedLongLong(state->spec->state_ms);
    PyObject *dotted = dotted_imports(state->spec->source), *parts = NULL;
    limit_begin(state);
    if (most != NULL && ms != NULL && dotted != NULL)
        parts = PyObject_CallFunctionObjArgs(state->capture, state->globals, most, ms, dotted, NULL);
    limit_end();
    PyErr_Clear(); /* it catches everything itself */
    tell(state, parts);
    Py_DecRef(parts);
}

void python_state_over(const struct python_state *state, int status)
{
    struct program_ended over = {.magic = TEMPLATE_MAGIC, .status = (status & 0xff) | PROGRAM_IS_OVER};
    if (!same_socket(state))
        return;
    if (state->ended)
        (void)shutdown(state->go, SHUT_WR);
    else
        (void)send(state->go, &over, sizeof over, MSG_NOSIGNAL | MSG_DONTWAIT); /* else it is known later */
}

void python_state_drop(struct python_state *state)
{
    Py_DecRef(state->globals);
    state->globals = NULL;
}
