/* SPDX-License-Identifier: Apache-2.0 */
/* The template's memory in huge pages, where the kernel gives some: a fork then copies, and the child's end gives back, one entry
   for 512 pages. What a child writes is copied by single pages all the same. Nothing here is needed for a template to work. The
   interpreter's arenas lie side by side from the first one on, for the library is preloaded into a template. */
#ifndef MILLRACE_WORKER_TEMPLATES_HUGE_H
#define MILLRACE_WORKER_TEMPLATES_HUGE_H

/* Before the first fork. What is allocated later, in the template or in a child, is of single pages. */
void huge_settle(void);

#endif
