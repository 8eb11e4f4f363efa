/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of a watch, from pieces cut anywhere. Pure. */
#ifndef MILLRACE_KUBE_LINES_H
#define MILLRACE_KUBE_LINES_H

#include "base/buf.h"

struct kube_lines {
    struct buf rest; /* a line that is not complete */
};

void kube_lines_init(struct kube_lines *lines, size_t max);
void kube_lines_free(struct kube_lines *lines);
/* Forgets what is not complete. */
void kube_lines_reset(struct kube_lines *lines);

/* Takes one complete line from *piece (first what was kept, completed by it), which then is what follows; false: there is none,
   *piece is used up and its end kept. Empty lines are passed over. The line lives until the next call. Anything but ERR_OK: a line
   is longer than the maximum, or no memory. */
MUST_CHECK enum err kube_lines_next(struct kube_lines *lines, struct str *piece, bool *ret_found,
                                    struct str *ret_line);

#endif
