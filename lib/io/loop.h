/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a program around one uv loop: it runs until a signal or loop_stop() asks it to end, is told so
   once (SIGTERM and SIGINT drain; a second one, or the grace running out, ends at once), and closes what it
   opened. */
#ifndef MILLRACE_IO_LOOP_H
#define MILLRACE_IO_LOOP_H

#include "base/err.h"

#include <stdbool.h>
#include <uv.h>

struct loop {
    uv_loop_t uv;
    uv_signal_t term, interrupt;
    uv_timer_t grace;
    int grace_ms;
    bool stopping, forced;
    /* Begin to end: no new work. Call loop_end() when done. Called once. */
    void (*on_stop)(void *arg);
    void *arg;
};

/* SIGPIPE is ignored from here on. `grace_ms`: how long on_stop may take before the loop ends anyway. */
MUST_CHECK enum err loop_open(struct loop *l, int grace_ms, void (*on_stop)(void *arg), void *arg,
                              struct errinfo *info);
void loop_run(struct loop *l);  /* returns after loop_end(), a second signal, or the grace */
void loop_stop(struct loop *l); /* as a first SIGTERM */
void loop_end(struct loop *l);
/* Runs what closes handles to its end, at most one second. False: something was still open (a defect,
 * logged). */
bool loop_close(struct loop *l);
/* The end was forced: a second signal or the grace. */
bool loop_forced(const struct loop *l);

#endif
