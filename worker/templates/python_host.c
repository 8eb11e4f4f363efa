/* SPDX-License-Identifier: Apache-2.0 */
/* The C half of the Python template; python/template.py is the other half and calls millrace_serve() through
   ctypes. The user's program is run by the same call that `python3 prog.py` makes, with no frame of ours
   below it. */
#include "base/cleanup.h"
#include "base/fault.h"
#include "worker/templates/control.h"
#include "worker/templates/copies.h"
#include "worker/templates/fork_into.h"
#include "worker/templates/huge.h"
#include "worker/templates/mappings.h"
#include "worker/templates/program.h"
#include "worker/templates/python_api.h"
#include "worker/templates/python_state.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { EXIT_PROTOCOL = 70, EXIT_FLUSH_FAILED = 120, FINISH_SLOWLY = 1, GO_FD = 3, TEMPLATE_LIVES = 40 };

/* Methods of template.py's Host. The names are the fields'. */
#define HOOKS(X)                                                                                             \
    X(prepare)     /* (work_dir) once, in the template */                                                    \
    X(fresh)       /* () a new __main__ */                                                                   \
    X(begin)       /* (path, args, env) -> globals of __main__ */                                            \
    X(exit_status) /* (SystemExit) -> status; prints what sys.exit("text") prints */                         \
    X(finish)      /* () -> FINISH_SLOWLY where threads are left, else 0; joins, runs atexit */              \
    X(restore)     /* this one and the next four: see python_state.h */                                      \
    X(capture)                                                                                               \
    X(send_state)                                                                                            \
    X(state_warnings)                                                                                        \
    X(set_alarm)                                                                                             \
    X(clear) /* () lets go of what the program made */

enum { MT19937_KEY = 624, GENERATORS_MAX = 4, LISTS_MAX = 4 };

/* The state of a Mersenne twister. */
struct generator {
    uint32_t *key; /* MT19937_KEY of them */
    int *pos;      /* how many are used up */
};

struct hooks {
#define X(name) PyObject *name;
    HOOKS(X)
#undef X
    PyObject *streams[2]; /* the interpreter's own stdout and stderr */
    struct generator generators[GENERATORS_MAX];
    size_t generator_count;
    PyObject *keys;                         /* bytes to be made random */
    struct py_var_object *lists[LISTS_MAX]; /* of what is called around a fork */
    ptrdiff_t list_sizes[LISTS_MAX];
    size_t list_count;
    const char *folder; /* to be made in each pod; or "" */
    struct sigaction interrupt;
};

int millrace_serve(int control, const char *versions, PyObject *host) __attribute__((visibility("default")));
int millrace_alone(const char *work_dir, PyObject *host) __attribute__((visibility("default")));

/* From here on in P. */

static _Noreturn void give_up(const struct errinfo *info)
{
    (void)!program_tell_ready(GO_FD, info); /* PID 1 is all there is to tell */
    _exit(PROGRAM_COULD_NOT_START);
}

/* A new thread state, as a new interpreter has: no frames, no exception, no context. The old one's frames are
   never returned to, and what they hold is never freed. The spare one is there because the first state of an
   interpreter is a static object that CPython cannot set up twice, and would choose when there is no other.
 */
static void forget_frames(void)
{
    PyThreadState *spare = PyThreadState_New(PyInterpreterState_Get());
    PyThreadState_DeleteCurrent();
    (void)PyGILState_Ensure(); /* makes and binds the new one; never released */
    PyThreadState_Clear(spare);
    PyThreadState_Delete(spare);
}

static void fill_random(void *to, size_t size)
{
    for (char *at = to, *end = at + size; at < end;) {
        ssize_t n = getrandom(at, (size_t)(end - at), 0);
        if (n <= 0)
            _exit(PROGRAM_COULD_NOT_START); /* never a known sequence */
        at += n;
    }
}

/* The template never drew from the generators since they were seeded, and so no half of a pair of numbers is kept beside one. */
static void reseed(const struct hooks *hooks)
{
    for (size_t i = 0; i < hooks->generator_count; i++) {
        fill_random(hooks->generators[i].key, MT19937_KEY * sizeof(uint32_t));
        *hooks->generators[i].pos = MT19937_KEY;
    }
    for (ptrdiff_t i = 0; i < PyList_Size(hooks->keys); i++) {
        char *key = NULL;
        ptrdiff_t n = 0;
        if (PyBytes_AsStringAndSize(PyList_GetItem(hooks->keys, i), &key, &n) != 0)
            _exit(PROGRAM_COULD_NOT_START);
        fill_random(key, (size_t)n);
    }
}

/* The lists of the fork hooks are empty while the template forks, and whole again in the child: only their size is changed, so that
   nothing that they hold is touched. */
static void set_fork_hooks(const struct hooks *hooks, bool there)
{
    for (size_t i = 0; i < hooks->list_count; i++)
        hooks->lists[i]->size = there ? hooks->list_sizes[i] : 0;
}

static PyObject *strings(const struct spec_list *list, PyObject *(*make)(const char *))
{
    PyObject *out = PyList_New((ptrdiff_t)list->n);
    for (size_t i = 0; out != NULL && i < list->n; i++) {
        PyObject *item = make(list->at[i]);
        if (item == NULL || PyList_SetItem(out, (ptrdiff_t)i, item) != 0)
            return NULL;
    }
    return out;
}

static PyObject *begin(const struct hooks *hooks, const char *path, const struct spec *spec)
{
    PyObject *name = PyUnicode_DecodeFSDefault(path);
    PyObject *args = strings(&spec->program_args, PyUnicode_DecodeFSDefault);
    PyObject *env = strings(&spec->env, PyBytes_FromString);
    PyObject *globals = NULL;
    if (name != NULL && args != NULL && env != NULL)
        globals = PyObject_CallFunctionObjArgs(hooks->begin, name, args, env, NULL);
    if (globals == NULL) {
        PyErr_PrintEx(0);
        _exit(PROGRAM_COULD_NOT_START);
    }
    Py_DecRef(name);
    Py_DecRef(args);
    Py_DecRef(env);
    return globals;
}

static long call(PyObject *hook, PyObject *argument, long otherwise)
{
    PyObject *result = PyObject_CallFunctionObjArgs(hook, argument, NULL); /* a NULL argument ends the list */
    long value = result != NULL ? PyLong_AsLong(result) : -1;
    if (value >= 0)
        return value;
    PyErr_Clear();
    return otherwise;
}

struct ending {
    bool interrupted, failed; /* by an exception that nobody caught; sys.exit() is none */
};

/* What the interpreter's own main does after the program: traceback, or the value of sys.exit(). Returns the
 * exit status. */
static int judge(const struct hooks *hooks, PyObject *result, struct ending *ret_ending)
{
    *ret_ending = (struct ending){.interrupted = false};
    if (result != NULL) {
        Py_DecRef(result);
        return 0;
    }
    ret_ending->interrupted = PyErr_Occurred() == PyExc_KeyboardInterrupt;
    ret_ending->failed = !PyErr_ExceptionMatches(PyExc_SystemExit);
    if (ret_ending->failed) {
        PyErr_PrintEx(1);
        return 1;
    }
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    int status = (int)call(hooks->exit_status, value, 1);
    Py_DecRef(type);
    Py_DecRef(value); /* the last references to the frames, and so to what the program holds */
    Py_DecRef(traceback);
    return status;
}

/* As the interpreter: a closed stream is passed over, and only stdout's failure is told in the exit status.
 */
static bool flush(const char *name)
{
    PyObject *stream = PySys_GetObject(name); /* borrowed */
    if (stream == NULL || stream == &_Py_NoneStruct)
        return true;
    Py_IncRef(stream);
    PyObject *closed = PyObject_GetAttrString(stream, "closed");
    bool done = closed != NULL && PyObject_IsTrue(closed) == 1;
    PyErr_Clear();
    PyObject *method = done ? NULL : PyObject_GetAttrString(stream, "flush");
    if (method != NULL)
        done = PyObject_CallFunctionObjArgs(method, NULL) != NULL;
    if (PyErr_Occurred() != NULL)
        PyErr_WriteUnraisable(stream);
    Py_DecRef(stream);
    return done;
}

static bool flush_both(void)
{
    bool good = flush("stdout");
    (void)flush("stderr"); /* as the interpreter: nobody could be told */
    return good;
}

/* Streams of the program's own are gone after clear(); the interpreter's can wait until then. */
static bool flush_replaced(const struct hooks *hooks)
{
    return (PySys_GetObject("stdout") == hooks->streams[0] &&
            PySys_GetObject("stderr") == hooks->streams[1]) ||
           flush_both();
}

/* All that `python3 FILE` does from here to the end of the program, except to end. Takes `file` and `globals`. Returns the exit status. */
static int live(const struct hooks *hooks, FILE *file, const char *path, PyObject *globals,
                struct python_state *state, struct ending *ret_ending)
{
    PyObject *result = PyRun_FileExFlags(file, path, PYTHON_FILE_INPUT, globals, globals, 1, NULL);
    Py_DecRef(globals);
    int status = judge(hooks, result, ret_ending);
    bool flushed, slowly = call(hooks->finish, NULL, 0) == FINISH_SLOWLY;
    bool good =
        !ret_ending->failed || (state != NULL && state->spec->state_on_error && !ret_ending->interrupted);
    if (state != NULL && good && python_state_due(state)) {
        (void)flush_both(); /* nobody waits for the output of a program until its state is saved */
        python_state_end(state, status);
    }
    if (state != NULL)
        python_state_drop(state);
    if (slowly) {
        flushed = Py_FinalizeEx() == 0;
    } else {
        flushed = flush_replaced(hooks);
        (void)call(hooks->clear, NULL, 0);
        flushed = flushed && flush_both();
    }
    return flushed ? status : EXIT_FLUSH_FAILED;
}

/* The job of a process, a rehearsed one first: 33 KiB, too much for a stack. */
static struct spec job;

/* A whole life of the smallest program, ahead of demand, where nobody waits for it: in a child the pages that every program writes are
   copied now. It leaves nothing but a used __main__, which fresh() replaces. */
static bool rehearse(const struct hooks *hooks, const char *folder)
{
    static char source[] = "def f(x):\n    return x\nprint(f(''), end='')\n";
    static char variable[] = "A=a";
    char path[PROGRAM_PATH_MAX];
    struct ending ending;
    memset(&job, 0, sizeof job);
    job.env.at[job.env.n++] = variable;
    snprintf(path, sizeof path, "%s/main.py", folder);
    FILE *file = fmemopen(source, sizeof source - 1, "r");
    if (file == NULL || call(hooks->fresh, NULL, 1) != 0)
        return false;
    PyObject *globals = begin(hooks, path, &job);
    return live(hooks, file, path, globals, NULL, &ending) == 0 && call(hooks->fresh, NULL, 1) == 0;
}

static _Noreturn void run(const struct hooks *hooks, const char *source_dir, unsigned off)
{
    char path[PROGRAM_PATH_MAX];
    char *bytes = NULL; /* lives as long as the program: its environment points into it */
    int source = -1;
    struct errinfo info = {.code = ERR_OK};
    enum err e = program_wait(GO_FD, &job, &bytes, &info);
    if (e == ERR_CLOSED)
        _exit(0);
    if (e != ERR_OK || program_write_source(source_dir, &job, path, &source, &info) != ERR_OK ||
        program_set_environment(&job.env, &info) != ERR_OK || lockdown_limits(0, &job, off, &info) != ERR_OK)
        give_up(&info);
    PyObject *globals = begin(hooks, path, &job);
    FILE *file = fdopen(source, "r");
    if (file == NULL) {
        (void)errinfo_set(&info, ERR_SYSTEM, errno, "opening the source");
        give_up(&info);
    }
    struct python_state state = {.go = GO_FD,
                                 .restore = hooks->restore,
                                 .capture = hooks->capture,
                                 .send = hooks->send_state,
                                 .warnings = hooks->state_warnings,
                                 .set_alarm = hooks->set_alarm};
    const bool keeps = job.state_max > 0;
    if (keeps && python_state_begin(&state, &job, globals) != ERR_OK)
        _exit(PROGRAM_COULD_NOT_START);
    struct ending ending;
    if (!keeps)
        close(GO_FD); /* which tells that the program runs */
    fault_user_code();
    int status = live(hooks, file, path, globals, keeps ? &state : NULL, &ending);
    fflush(NULL);
    if (ending.interrupted) {
        signal(SIGINT, SIG_DFL);
        raise(SIGINT);
    }
    if (keeps)
        python_state_over(&state, status);
    _exit(status);
}

static enum err get_ready(const struct hooks *hooks, const char *work_dir, bool copied, struct errinfo *info)
{
    set_fork_hooks(hooks, true);
    reseed(hooks);
    if (sigaction(SIGINT, &hooks->interrupt, NULL) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "setting the handler of SIGINT");
    if (hooks->folder[0] != '\0' && mkdir(hooks->folder, 0777) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "making %s", hooks->folder);
    if (copied ? call(hooks->fresh, NULL, 1) != 0 : !rehearse(hooks, work_dir))
        return errinfo_set(info, ERR_SYSTEM, 0, "preparing the interpreter");
    return ERR_OK;
}

/* In a child that is only there to be looked at. */
static bool live_once(const void *arg)
{
    const struct hooks *hooks = arg;
    PyOS_AfterFork_Child();
    forget_frames();
    set_fork_hooks(hooks, true);
    reseed(hooks);
    return rehearse(hooks, "/tmp");
}

static _Noreturn void become_program(const struct hooks *hooks, const struct control_setup *setup,
                                     const struct control_fork *request)
{
    struct errinfo info = {.code = ERR_OK};
    fault_enter(FAULT_FORKED);
    const int *fds = request->fds;
    int go = fds[TEMPLATE_FD_GO];
    const int places[] = {fds[TEMPLATE_FD_STDIN], fds[TEMPLATE_FD_STDOUT],
                          fds[TEMPLATE_FD_STDERR], [GO_FD] = go};
    const bool copied = copies_make();
    enum err e = lockdown_descriptors(places, sizeof places / sizeof places[0], setup->lockdown.off, &info);
    if (e == ERR_OK) {
        go = GO_FD;
        e = lockdown_identity(&setup->lockdown, &info);
    }
    if (e == ERR_OK)
        e = lockdown_scope(&setup->lockdown, &info);
    if (e == ERR_OK) {
        PyOS_AfterFork_Child();
        forget_frames();
        e = get_ready(hooks, setup->wire.work_dir, copied, &info);
    }
    if (program_tell_ready(go, e == ERR_OK ? NULL : &info) != ERR_OK || e != ERR_OK)
        _exit(PROGRAM_COULD_NOT_START);
    run(hooks, setup->wire.source_dir, setup->lockdown.off);
}

/* In the template. */

static enum err serve_one(int control, const struct hooks *hooks, const struct control_setup *setup)
{
    struct control_fork request;
    enum err e = control_read_fork(control, &request);
    if (e != ERR_OK)
        return e;
    fault_enter(FAULT_TEMPLATE_POD);
    struct fork_into into = {
        .pidfd = request.fds[TEMPLATE_FD_PIDFD],
        .cgroups = &request.fds[TEMPLATE_FD_CGROUPS],
        .cgroup_count = request.cgroup_count,
        .namespaces = setup->wire.namespaces,
    };
    struct errinfo info = {.code = ERR_OK};
    pid_t pid = -1;
    e = fork_into_pod(&into, &pid, &info);
    if (e == ERR_OK && pid == 0)
        become_program(hooks, setup, &request);
    control_close(&request);
    struct template_reply reply = {.magic = TEMPLATE_MAGIC, .tag = request.tag, .pid = pid};
    reply.type = e == ERR_OK ? TEMPLATE_FORKED : TEMPLATE_FAILED;
    reply.error = info.sys;
    memcpy(reply.text, info.text, sizeof reply.text);
    e = control_reply(control, &reply);
    fault_enter(FAULT_NONE);
    return e;
}

enum { LARGE = 96 * 1024 }; /* below the threshold of mmap */

static void sort_free_chunks(void)
{
    void *volatile large = malloc(LARGE); /* volatile: or the compiler knows better */
    free(large);
}

/* Each child's first allocations would come from the holes that start-up left all over both heaps, and every
   hole is a page to copy. So the holes are filled, for good, in the template: then a child's first objects
   lie side by side. */
static void settle_heaps(void)
{
    enum { SMALL_MAX = 4096, POOL = 16 * 1024, POOL_HEAD = 48, OBJECT_MAX = 512, ROUNDS = 100000 };
    enum {
        IN_ORDER = 16
    }; /* one after the other: more than malloc keeps at hand of a size, so it cuts them from one piece */
    PyGC_Collect(); /* which also gives back the objects that the interpreter keeps at hand */
    malloc_trim(0);
    sort_free_chunks();
    const uintptr_t top = (uintptr_t)sbrk(0);
    for (size_t size = SMALL_MAX; size >= 24; size -= 16) {
        uintptr_t got, before = 0;
        for (int i = 0, in_order = 0; i < ROUNDS && in_order < IN_ORDER; i++, before = got) {
            got = (uintptr_t)malloc(size);
            if (got > top - LARGE)
                break;
            in_order = got - before == size + 8 ? in_order + 1 : 0;
        }
    }
    for (size_t size = 16; size <= OBJECT_MAX; size += 16)
        for (int i = 0; i < ROUNDS && (uintptr_t)PyObject_Malloc(size) % POOL != POOL_HEAD; i++)
            ;
    sort_free_chunks();
}

static bool find_generators(PyObject *addresses, struct hooks *ret_hooks)
{
    const ptrdiff_t n = addresses == NULL ? -1 : PyList_Size(addresses);
    if (n < 0 || n % 2 != 0 || n / 2 > GENERATORS_MAX)
        return false;
    for (ptrdiff_t i = 0; i < n; i += 2)
        ret_hooks->generators[i / 2] =
            (struct generator){.key = (uint32_t *)PyLong_AsLong(PyList_GetItem(addresses, i)),
                               .pos = (int *)PyLong_AsLong(PyList_GetItem(addresses, i + 1))};
    ret_hooks->generator_count = (size_t)n / 2;
    return true;
}

static bool find_lists(PyObject *lists, struct hooks *ret_hooks)
{
    const ptrdiff_t n = lists == NULL ? -1 : PyList_Size(lists);
    if (n < 0 || n > LISTS_MAX)
        return false;
    for (ptrdiff_t i = 0; i < n; i++) {
        PyObject *list = PyList_GetItem(lists, i);
        ret_hooks->lists[i] = (struct py_var_object *)list;
        ret_hooks->list_sizes[i] = PyList_Size(list);
        if (ret_hooks->lists[i]->size != PyList_Size(list))
            return false; /* the object is not as we know it */
    }
    ret_hooks->list_count = (size_t)n;
    return true;
}

static bool find_hooks(PyObject *host, struct hooks *ret_hooks)
{
#define X(name) ret_hooks->name = PyObject_GetAttrString(host, #name);
    HOOKS(X)
#undef X
    PyObject *folder = PyObject_GetAttrString(host, "folder");
    ret_hooks->folder = folder == NULL ? NULL : PyBytes_AsString(folder);
    ret_hooks->keys = PyObject_GetAttrString(host, "keys");
    ret_hooks->streams[0] = PySys_GetObject("stdout");
    ret_hooks->streams[1] = PySys_GetObject("stderr");
    return find_generators(PyObject_GetAttrString(host, "generators"), ret_hooks) &&
           find_lists(PyObject_GetAttrString(host, "fork_hooks"), ret_hooks) && PyErr_Occurred() == NULL;
}

/* Once in the template, so that in a child nothing of it is left to do. */
static bool prepare(struct hooks *hooks, const char *work_dir)
{
    PyObject *dir = PyUnicode_DecodeFSDefault(work_dir);
    return dir != NULL && call(hooks->prepare, dir, 1) == 0 &&
           sigaction(SIGINT, NULL, &hooks->interrupt) == 0;
}

/* Our memory is as all children shall find it: nothing of the interpreter runs here from now on, so nothing of it is written between two
   forks. They are all announced to it at once. */
static void settle(const struct hooks *hooks)
{
    settle_heaps();
    huge_settle();
    mappings_settle();
    PyOS_BeforeFork();
    copies_learn(live_once, hooks);
}

/* Returns the exit status of the template; in P it does not return. */
int millrace_serve(int control, const char *versions, PyObject *host)
{
    static struct control_setup setup; /* 33 KiB, and P needs it too */
    struct hooks hooks = {.generator_count = 0};
    enum err e = find_hooks(host, &hooks) ? control_read_setup(control, &setup) : ERR_INVALID;
    if (e == ERR_OK && (!prepare(&hooks, setup.wire.work_dir) || signal(SIGINT, SIG_IGN) == SIG_ERR))
        e = ERR_INVALID;
    set_fork_hooks(&hooks, false);
    struct template_reply ready = {.magic = TEMPLATE_MAGIC, .type = TEMPLATE_READY};
    snprintf(ready.text, sizeof ready.text, "%s", versions);
    /* What a first life writes once (caches of methods, quickened code) is then written in no child. */
    for (int i = 0; e == ERR_OK && i < TEMPLATE_LIVES; i++)
        e = rehearse(&hooks, "/tmp") ? ERR_OK : ERR_INVALID;
    settle(&hooks);
    if (e == ERR_OK)
        e = control_reply(control, &ready);
    while (e == ERR_OK)
        e = serve_one(control, &hooks, &setup);
    return e == ERR_CLOSED ? 0 : EXIT_PROTOCOL;
}

/* The one program of a container, whose runner executed us locked down: no fork is left to do. Returns only when it failed. */
int millrace_alone(const char *work_dir, PyObject *host)
{
    struct hooks hooks = {.generator_count = 0};
    struct errinfo info = {.code = ERR_OK};
    enum err e = find_hooks(host, &hooks) ? ERR_OK : errinfo_set(&info, ERR_INVALID, 0, "finding the hooks");
    if (e == ERR_OK && !prepare(&hooks, work_dir))
        e = errinfo_set(&info, ERR_SYSTEM, 0, "preparing the interpreter");
    if (e == ERR_OK) {
        forget_frames();
        e = get_ready(&hooks, work_dir, false, &info);
    }
    if (program_tell_ready(GO_FD, e == ERR_OK ? NULL : &info) != ERR_OK || e != ERR_OK)
        return EXIT_PROTOCOL;
    run(&hooks, work_dir, 0);
}
