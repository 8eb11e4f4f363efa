/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/runner/container_python.h"

#include <string.h>

extern const char template_python_py[], fork_library[];
extern const size_t template_python_py_len, fork_library_len;

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SET(name)                                                                                            \
    LIST("/usr/bin/python3", "/proc/self/fd/5", "--lib", "/proc/self/fd/6", "--set", name, "--alone",        \
         "/mnt/data")
#define FILES                                                                                                \
    {                                                                                                        \
        {"template.py", template_python_py, &template_python_py_len},                                        \
        {                                                                                                    \
            "libmillrace-fork.so", fork_library, &fork_library_len                                           \
        }                                                                                                    \
    }

/* As the template's, but for the places that can be written. */
#define ENVIRONMENT                                                                                          \
    LIST("PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nonexistent", "LANG=C.UTF-8", "OMP_NUM_THREADS=1",      \
         "OPENBLAS_NUM_THREADS=1", "MKL_NUM_THREADS=1", "NUMEXPR_NUM_THREADS=1", "MPLBACKEND=Agg",           \
         "MPLCONFIGDIR=/tmp/matplotlib")

static const struct launcher pythons[] = {
    {.name = "python-bare", .argv = SET("bare"), .env = ENVIRONMENT, .files = FILES},
    {.name = "python-science", .argv = SET("science"), .env = ENVIRONMENT, .files = FILES},
    {.name = "python-scipy", .argv = SET("scipy"), .env = ENVIRONMENT, .files = FILES},
};

const struct launcher *container_python_named(const char *name)
{
    for (size_t i = 0; i < sizeof pythons / sizeof pythons[0]; i++)
        if (strcmp(pythons[i].name, name) == 0)
            return &pythons[i];
    return NULL;
}
