/* SPDX-License-Identifier: Apache-2.0 */
/* The pages that every child of a template writes, whatever its program is. They are found out once, in a child that lives as the others
   will and is thrown away; every other child has them copied ahead of demand, without living for it. Nothing here is needed for
   a template to work. */
#ifndef MILLRACE_WORKER_TEMPLATES_COPIES_H
#define MILLRACE_WORKER_TEMPLATES_COPIES_H

#include <stdbool.h>

/* In the template, when its memory is as its children will find it. `live` is called in a child of its own. */
void copies_learn(bool (*live)(const void *), const void *arg);
/* In a child. False: the pages are not known, or this kernel cannot be asked for them. */
bool copies_make(void);

#endif
