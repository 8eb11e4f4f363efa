/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_WORKER_TEMPLATES_FREEZE_H
#define MILLRACE_WORKER_TEMPLATES_FREEZE_H

#include "base/err.h"

/* What this process has written becomes the content of a sealed memory file, mapped privately where it lay. To the process nothing
   changes; but a fork copies no page tables for it, and a child has only the pages that it touches, at its start as at
   its end. Call it once, with one thread, when everything is there that forks shall share. Its own later writes cost each fork
   again. Failing in the middle leaves a process that works as before. */
MUST_CHECK enum err freeze_memory(struct errinfo *info);

#endif
