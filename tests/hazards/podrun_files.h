/* SPDX-License-Identifier: Apache-2.0 */
/* What podrun tells of the files that a program left. */
#ifndef MILLRACE_TESTS_PODRUN_FILES_H
#define MILLRACE_TESTS_PODRUN_FILES_H

#include "base/buf.h"
#include "worker/frame.h"

/* As JSON; bytes as Latin-1, so that nothing is lost. */
void podrun_quote(struct buf *out, struct str text);

/* Asks for files, as many as a run may leave where nothing else is said. */
void podrun_collect(struct buf *job);
/* False: `frame` tells of no file. Objects with a comma behind each: {"path", "data"}, or {"path", "refused", "count"}. */
bool podrun_file(struct buf *told, struct buf *bytes, const struct frame *frame);

#endif
