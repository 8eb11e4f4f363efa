/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/templates/template_exec.h"

#include "worker/templates/sealed.h"
#include "worker/templates/template_proto.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

extern const char template_python_py[], fork_library[];
extern const size_t template_python_py_len, fork_library_len;

enum { SCRIPT_FD = TEMPLATE_CONTROL_FD + 1, LIBRARY_FD, FIRST_OTHER_FD };

/* Everything of the environment that an interpreter sees before it has its program; the program's is its own.
   One thread: pools of numeric libraries would start more. */
static const char *const environment[] = {
    "PATH=/usr/local/bin:/usr/bin:/bin",
    "HOME=/nonexistent",
    "LANG=C.UTF-8",
    "OMP_NUM_THREADS=1",
    "OPENBLAS_NUM_THREADS=1",
    "MKL_NUM_THREADS=1",
    "NUMEXPR_NUM_THREADS=1",
    "MPLBACKEND=Agg",
    "MPLCONFIGDIR=/tmp/matplotlib",
    "LD_BIND_NOW=1",              /* once in the template, and not in each child */
    "LD_PRELOAD=/proc/self/fd/5", /* LIBRARY_FD: its memory is the interpreter's from the first object on */
    NULL,
};

/* execve's prototype is older than const; it writes to neither list. */
static int run(const char *const argv[])
{
    execve(argv[0], (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)environment);
    return -errno;
}

int template_exec_python(const char *set)
{
    /* The parent may have ended already; then the control socket is at its end too. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_close_range, SCRIPT_FD, ~0U, 0) != 0 || fcntl(TEMPLATE_CONTROL_FD, F_SETFD, 0) != 0)
        return -errno;
    int e = sealed_place("template.py", template_python_py, template_python_py_len, SCRIPT_FD);
    if (e == 0)
        e = sealed_place("libmillrace-fork.so", fork_library, fork_library_len, LIBRARY_FD);
    if (e != 0)
        return e;
    const char *const argv[] = {
        "/usr/bin/python3", "/proc/self/fd/4", "--lib", "/proc/self/fd/5", "--set", set, NULL};
    return chdir("/") != 0 ? -errno : run(argv);
}
