/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal's side of a run: bytes out to stdout and stderr without ever blocking the loop, bytes in from stdin on
   demand. The modes of the descriptors are left alone, for they are shared with whoever started us. */
#ifndef MILLRACE_TOOLS_TERMINAL_H
#define MILLRACE_TOOLS_TERMINAL_H

#include "base/buf.h"

#include <uv.h>

struct outlet {
    int fd;
    struct buf waiting;
    uv_poll_t poll;
    bool pollable, polling, broken;
    void (*on_room)(void *arg);   /* little waits now, after much did */
    void (*on_broken)(void *arg); /* nobody reads: EPIPE and the like; once */
    void *arg;
};

enum { OUTLET_MAX = 64 << 20, OUTLET_MUCH = 1 << 20, OUTLET_LITTLE = 128 << 10 };

void outlet_open(struct outlet *o, uv_loop_t *loop, int fd);
/* False: much waits; hold back until on_room. */
bool outlet_write(struct outlet *o, struct str bytes);
/* Blocks until all has left (the program has ended, there is nothing else to do). */
void outlet_finish(struct outlet *o);
void outlet_close(struct outlet *o, uv_close_cb closed);

struct inlet {
    int fd;
    uv_poll_t poll;
    bool pollable, polling, ended;
    void (*on_bytes)(void *arg, struct str bytes); /* empty: the end. At most INLET_CHUNK. */
    void *arg;
};

enum { INLET_CHUNK = 8192 };

void inlet_open(struct inlet *i, uv_loop_t *loop, int fd);
void inlet_want(struct inlet *i, bool want); /* may call on_bytes at once when the descriptor is a file */
void inlet_close(struct inlet *i, uv_close_cb closed);

#endif
