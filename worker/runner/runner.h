/* SPDX-License-Identifier: Apache-2.0 */
/* PID 1 of a pod. One run: prepared -> ready -> (compiling ->) running -> ending -> over; see frame.h for what the
   worker sees of it. Single-threaded, one poll loop, no blocking call but the handing over of the specification. */
#ifndef MILLRACE_WORKER_RUNNER_RUNNER_H
#define MILLRACE_WORKER_RUNNER_RUNNER_H

#include "worker/runner/channel.h"
#include "worker/runner/files.h"
#include "worker/runner/tools.h"
#include "worker/spec.h"
#include "worker/templates/launcher.h"

#include <sys/types.h>

enum run_state {
    RUN_PREPARING, /* the program is not ready yet */
    RUN_READY,     /* it waits for its job */
    RUN_STARTING,  /* it was given its job and locks itself down */
    RUN_RUNNING,
    RUN_GRACE,   /* the main process ended; whoever still holds its pipes has GRACE_NS */
    RUN_KILLING, /* everything else is being killed */
    RUN_KEEPING, /* as GIVING, between compiling and running: the compiled program goes to the worker */
    RUN_GIVING,  /* everything else is dead; output files go to the worker */
    RUN_OVER,    /* DONE is queued */
};

#define GRACE_NS (50 * 1000000LL)

/* A run that keeps state (runner_state.c). */
struct runner_state {
    bool kept;      /* the go socket stays open while the program runs */
    bool ended;     /* the program told its end: it is being saved, which does not change how it ended */
    bool announced; /* the worker knows that something is said of the state */
    bool held;      /* the worker does not take it as fast: more may be there than was read */
    size_t part;    /* bytes of `told` that are here */
    char told[8];   /* struct program_ended, as it comes */
    int32_t status; /* of it, when `ended` */
    uint64_t left;  /* bytes of its records that may still come */
    struct buf in;  /* raw state for it */
};

struct runner {
    enum run_state state;
    struct channel channel;
    unsigned fds;   /* bits of enum runner_fd */
    unsigned off;   /* bits of enum defence */
    bool contained; /* PID 1 of a container that somebody else made: contained.h */
    const struct launcher *warm;
    uint64_t memory;   /* bytes that its runs usually have */
    int signals;       /* signalfd: SIGCHLD */
    int go;            /* our end; -1 once the program runs */
    int in;            /* the program's standard input; -1 once it has ended */
    int out[2];        /* its output and error; -1 once at their end */
    bool out_first;    /* which of the two is read first: they take turns */
    pid_t main;        /* 0 until the program told */
    bool compile;      /* the compile step runs */
    bool taking;       /* the interpreter has compiled, and waits until we have the program */
    bool second;       /* the run behind it */
    bool started_told; /* STARTED was said */
    bool children_gone;
    int artifact; /* the compiled program while it comes or goes; -1 */
    struct buf spec_bytes;
    struct spec spec; /* scanned: numbers and lengths only */
    struct buf held;  /* standard input that the program has not taken */
    size_t held_at;
    uint32_t taken; /* of it: taken or of no use any more, and the worker does not know yet */
    bool input_ended;
    int64_t started_ns, deadline_ns, grace_ns, tick_ns;
    uint64_t cpu_base_ns, oom_base, output_left;
    int loadavg;          /* whose last word is the pod's newest pid; -1 */
    uint64_t newest_base; /* of them at the release */
    uint64_t pids_limit;  /* kept by counting; 0: not so */
    bool over_output;
    bool drained;   /* pump_output() found no more to send */
    bool over_told; /* the program told that nothing but its end is left, with the status */
    bool early;     /* and so its end was told while it goes */
    int over_status;
    struct tools *tools; /* NULL: the program may call none */
    struct frame_exit exit;
    struct frame_exit compiled;
    struct files files;
    struct runner_state state_run;
};

/* runner_main.c: the one of this process. */
struct runner *runner_context(void);
bool runner_block_signals(void); /* all, and SIGCHLD is read from r->signals */

void runner_begin(struct runner *r);         /* the program is prepared; nothing is said yet */
_Noreturn void runner_run(struct runner *r); /* until the worker is gone */
void runner_on_go(struct runner *r);         /* the program's side of the go socket can be read */
void runner_say_ready(struct runner *r);
_Noreturn void runner_leave(void); /* PID 1 ends, and so the pod */
/* Leaves when the worker is gone, or breaks the protocol. */
void runner_must(enum err e);
void runner_release(struct runner *r); /* the program that waits gets its job */
/* The first reason counts. */
void runner_end_run(struct runner *r, enum pod_end why);
/* The program did not start: nothing of it may go on. */
void runner_give_up(struct runner *r, const char *text);

/* orders.c: frames of the worker. */
void orders_read(struct runner *r);
void orders_take(struct runner *r); /* those that were read and had no room */
/* A frame is taken only when what it brings has room, so that the worker's socket fills up and not our memory. */
bool orders_have_room(const struct runner *r);

/* pump.c: bytes between the pipes and the worker. */
MUST_CHECK enum err
pump_output(struct runner *r); /* ERR_FULL: over the limit; ERR_CLOSED: the worker is gone */
bool pump_at_end(const struct runner *r);
void pump_input(struct runner *r);
MUST_CHECK enum err pump_hold_input(struct runner *r, struct str bytes);
void pump_tell_taken(struct runner *r); /* what has room again, when that is worth a frame */

/* runner_state.c: a run that keeps state. */
MUST_CHECK enum err state_take_in(struct runner *r, struct str bytes);
bool state_begin(struct runner *r); /* at START; false: what came is not what was said */
void state_program_ended(
    struct runner *r); /* the main process was reaped: the exit status that it told counts */
/* What the program says. ERR_CLOSED: the worker is gone. */
MUST_CHECK enum err state_pump(struct runner *r);
/* Behind it: the worker is to know that the program was being saved, also if nothing came. */
MUST_CHECK enum err state_announce(struct runner *r);
bool state_listens(const struct runner *r); /* the go socket is to be polled */

/* usage.c: what the pod's cgroup tells. */
bool usage_cpu_ns(const struct runner *r, uint64_t *ret_ns);
bool usage_oom_kills(const struct runner *r, uint64_t *ret_count);
bool usage_pids(const struct runner *r, uint64_t *ret_count);
/* Processes and threads that began since the release, by the pod's pid counter, and the first one. */
void usage_tasks_begin(struct runner *r);
void usage_tasks(const struct runner *r, uint32_t *ret_count);
bool usage_peak_bytes(const struct runner *r, uint64_t *ret_bytes);

/* False: it is not known of every counter that is told at the end. */
bool usage_is_counted(const struct runner *r);

/* early.c: true: the program told that it is over, that can be taken for its end, and it has been killed. */
bool early_end(struct runner *r);

/* artifact.c: the compiled program from the worker's cache, and to it. */
MUST_CHECK enum err artifact_put(struct runner *r, struct str bytes, struct errinfo *info);
/* The same, of a memory file, which is taken over; -1: none came. Its bytes are copied: the worker's own are no file of the pod. */
MUST_CHECK enum err artifact_copy(struct runner *r, int from, struct errinfo *info);
void artifact_close(struct runner *r);
/* False: there is none that may be kept. */
bool artifact_open(struct runner *r);
/* Sends what the channel takes. ERR_AGAIN: more when it is idle again; ERR_CLOSED. */
MUST_CHECK enum err artifact_send(struct runner *r);

/* start.c: pipes, the go socket, the program. */
MUST_CHECK enum err start_program(struct runner *r, bool second, struct errinfo *info);

#endif
