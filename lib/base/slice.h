/* SPDX-License-Identifier: Apache-2.0 */
/* The time slice that the scheduler gives the calling thread and what it forks. A task with a short slice has an earlier deadline when it
   wakes up (EEVDF, custom slices since Linux 6.12), so it runs before programs that compute, for no more of the
   processor in all. Only a wish: an older kernel ignores it. */
#ifndef MILLRACE_BASE_SLICE_H
#define MILLRACE_BASE_SLICE_H

/* For what stands between a client and its answer, and works for less than this at a time. */
void slice_short(void);
/* As everybody else: for what runs programs. */
void slice_default(void);

#endif
