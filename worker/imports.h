/* SPDX-License-Identifier: Apache-2.0 */
/* What a program seems to import, seen without parsing it: cheap, bounded, and only ever used to choose which pod is the
   quickest for it. Pure. */
#ifndef MILLRACE_WORKER_IMPORTS_H
#define MILLRACE_WORKER_IMPORTS_H

#include "base/str.h"

#include <stdbool.h>

enum { IMPORTS_SCAN_MAX = 64 * 1024, IMPORTS_LINE_MAX = 512 };

/* Does a line of the first IMPORTS_SCAN_MAX bytes have the word `import` and one of `names` ("a|b") as a word? */
bool imports_any(struct str code, const char *names);

#endif
