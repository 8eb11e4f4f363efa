/* SPDX-License-Identifier: Apache-2.0 */
/* Scope-bound release. Descriptors start at -1; hand a value out of scope with steal_fd()/steal_ptr(). */
#ifndef MILLRACE_BASE_CLEANUP_H
#define MILLRACE_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *pp)
{
    free(*(void **)pp);
}

static inline void cleanup_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline int steal_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

#define auto_free __attribute__((cleanup(cleanup_free)))
#define auto_fd   __attribute__((cleanup(cleanup_fd))) int
#define steal_ptr(p)                                                                                         \
    ({                                                                                                       \
        __typeof__(*(p)) taken_ = *(p);                                                                      \
        *(p) = NULL;                                                                                         \
        taken_;                                                                                              \
    })

#endif
