/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by jobrun.c (the pod's side), jobrun_log.c (the log's side) and jobrun_input.c (the client's). */
#ifndef MILLRACE_WORKER_JOBRUN_INTERNAL_H
#define MILLRACE_WORKER_JOBRUN_INTERNAL_H

#include "queue/state_load.h"
#include "worker/coalesce.h"
#include "worker/jobrun.h"
#include "worker/jobrun_tools.h"
#include "worker/outcome.h"
#include "worker/plan.h"
#include "worker/request.h"
#include "worker/state_stream.h"

#define MS_NS 1000000LL
enum {
    PODS_PER_JOB = 3,      /* pods that may turn out dead before the job is handed back */
    WALL_GRACE_MS = 2000,  /* the pod's own clock ends the program; ours only when it does not */
    KILL_GRACE_MS = 1000,  /* from KILL to EXIT; then the pod is destroyed without a word */
    USAGE_GRACE_MS = 1000, /* the spawner's answer */
    STARTED_ALONE_MS = 25, /* a program that writes nothing: `started` is told so long after */
    STARTED_AT_END_MS =
        COALESCE_END_NS / MS_NS, /* the same, where nobody reads before the end: with the output */
    RELEASE_AFTER_MS = 100,      /* a finish that is not answered by then does not hold its pod */
    LEAVE_AFTER_MS = 1,          /* behind the answer to a finish */
    EARLY_SIGNALS_MAX = 8,       /* kept for a program that is not released yet */
    LOADING_MAX_MS = 120000,     /* all input files; the store's own time limit is shorter */
    COLLECTING_STALL_MS = 30000, /* output files: so long without any progress */
    LOG_RETRY_FIRST_MS = 50,
    LOG_RETRY_MAX_MS = 1000,
    JOBRUN_MAGIC = 0x6a6f6221,
};

struct jobruns {
    struct jobruns_options options;
    struct list runs;
    size_t count;
};

/* Of a run that keeps state (jobrun_state.c). */
struct run_state {
    struct id session;
    struct buf tenant, user;
    uint64_t base;   /* the version that it begins with; 0: none */
    bool fetching;   /* an answer is outstanding */
    bool any_pod;    /* no warm one can be made: it runs without saving, and the answer says so */
    bool unwanted;   /* another version than the one that the request wants */
    int64_t away_ns; /* its store could not be reached, since; 0: it could */
    bool foreign;    /* the session is somebody else's or gone */
    bool given;      /* it begins with a state: `raw` */
    uint64_t given_size;
    char given_hash[SHA256_HEX_LEN + 1];
    struct buf raw;
    bool specified; /* the plan's specification tells of it */
    bool heard;     /* the program said something of its state */
    struct state_stream stream;
    bool saved; /* `change` goes with the finish */
    enum event_type event;
    struct state_unpacking *unpacking; /* the object that it begins with, in another thread */
    struct sha256 blob_hash;
    struct state_load *load; /* of the object that it begins with */
    struct state_seal seal;
    bool decided, storing; /* what becomes of the state; its object is being written */
    struct object_op *op;
    struct buf json, blob, seal_text, place;
    char hash[SHA256_HEX_LEN + 1];
    struct state_change change;
};

/* A program that is compiled: from the cache, or for it. */
struct run_compile {
    struct sha256 key;
    struct compiled *hit; /* held; NULL: it is compiled */
    bool whole;           /* `program` is all of it */
    struct buf program;
    struct buf told[COMPILE_OUTPUTS]; /* by the compiler */
};

struct jobrun {
    unsigned magic;
    struct jobruns *runs;
    struct list link;
    enum jobrun_state state;
    struct id job;
    uint32_t attempt;
    bool retry;
    int64_t queue_ms, begun_ns; /* begun: by our clock */

    struct run_request request;
    struct run_plan plan;
    struct run_compile *compile; /* NULL: nothing to compile, or nothing to keep */
    struct run_state *state_run; /* NULL: it keeps none */
    bool input_waits;            /* the next input is in the log until jobrun_take_inputs() */
    bool early_eof;
    int early_signals[EARLY_SIGNALS_MAX];
    unsigned early_signal_count;

    struct pool_wait wait;
    struct pool_pod *pod; /* NULL: none */
    unsigned pods_tried;
    bool released; /* the program may run in it */
    bool paused;
    int64_t released_ns;
    int64_t deadline_ns; /* of the present state; 0: none */

    struct run_owner owner;
    struct buf owner_texts;
    struct inputs *inputs;   /* NULL: none */
    struct outputs *outputs; /* NULL: none (yet) */
    struct run_tools *tools; /* NULL: it may call none */
    bool loaded;             /* the inputs are in the pod */
    bool pod_done, pod_lost; /* it has nothing more to say; nor will it have */

    struct coalescer out;
    struct judge judge; /* off: nothing is expected of its output */
    struct outcome_facts facts;
    char refused[256];

    /* The log: one call in flight at a time. */
    uint64_t appends; /* answered */
    enum { LOG_APPEND, LOG_FINISH, LOG_REQUEUE } sent;
    bool appending;    /* `sent` is not answered */
    bool complete;     /* all facts are there: finish as soon as the log is free */
    bool started_told; /* `started` was answered, or is in flight */
    struct coalesce_batch batch;
    struct event_draft draft_room[COALESCE_EVENTS_MAX + TOOLS_DRAFTS_MAX + 5];
    struct event_draft *drafts; /* the room, or more of it where files are to be told */
    size_t draft_count;
    struct buf started_json, usage_json, end_json, files_json;
    struct outcome outcome;
    enum reason return_reason;
    int64_t sent_ns, retry_ns; /* of the append, finish or requeue; retry_ns != 0: to be sent again then */
    unsigned tries;
    uv_timer_t flush;
    bool flush_closed;
};

/* The one function that changes `state`. */
void jobrun_set_state(struct jobrun *run, enum jobrun_state to);
/* Gives the pod back, whatever it does. */
void jobrun_drop_pod(struct jobrun *run, bool dead);
void jobrun_resume(struct jobrun *run);
/* After RECORDING: `started` is in the log. */
void jobrun_release_program(struct jobrun *run);

void jobrun_set_deadline(struct jobrun *run, int64_t ms); /* of the present state */
const struct pod_backend_ops *jobrun_ops(const struct jobrun *run);
struct jobrun *jobrun_find(struct jobruns *runs, struct id job, uint32_t attempt); /* or NULL */

int64_t jobrun_wall_ms(const struct jobrun *run);
/* The pod failed before the program was released in it: the client does not notice. */
void jobrun_replace_pod(struct jobrun *run, const char *why);

/* jobrun_pod.c */
void jobrun_on_pod(void *arg, const struct pod_event *event); /* of pool_pod_hold() */
void jobrun_ask_usage(struct jobrun *run); /* no more comes from the program; what it used is asked for */

/* jobrun_input.c */
void jobrun_kill(struct jobrun *run, enum pod_end why); /* the first reason counts */
void jobrun_send_early_inputs(struct jobrun *run);      /* the program was released */
void jobrun_take_inputs(struct jobrun *run);            /* there is room again, or no use for any */

/* jobrun_compile.c; each does nothing for a job that is not compiled. */
void jobrun_compile_look(struct jobrun *run); /* before its pod is taken */
const struct pod_program *jobrun_compile_program(const struct jobrun *run);
void jobrun_compile_started(struct jobrun *run);
void jobrun_compile_output(struct jobrun *run, enum pod_stream stream, struct str bytes);
void jobrun_compile_piece(struct jobrun *run, struct str bytes, bool whole);
void jobrun_compile_staged(struct jobrun *run);
void jobrun_compile_free(struct jobrun *run);

/* jobrun_files.c */
void jobrun_keep_owner(struct jobrun *run, const struct claimed_job *job);
void jobrun_look(struct jobrun *run); /* its input files, then a pod */
/* False: it has none, or they are in the pod. */
bool jobrun_load(struct jobrun *run);
/* What the program left comes, or came; false: nothing. Ends in jobrun_finish. */
bool jobrun_collect(struct jobrun *run);
void jobrun_on_file(struct jobrun *run, const struct pod_event *event);
void jobrun_on_done(struct jobrun *run);
void jobrun_files_cut(struct jobrun *run);  /* the pod is gone or time is up */
void jobrun_files_stop(struct jobrun *run); /* no event of them follows */
void jobrun_files_free(struct jobrun *run);
void jobrun_files_drafts(struct jobrun *run); /* adds them; there is room for three more behind them */

/* The job cannot begin: nothing of the user ran. */
void jobrun_refuse(struct jobrun *run, enum reason reason, const char *why);
void jobrun_take_pod(struct jobrun *run);
void jobrun_after_limits(struct jobrun *run);

/* jobrun_state.c */
MUST_CHECK enum err jobrun_state_open(struct jobrun *run, const struct claimed_job *job);
/* Then takes a pod, or ends. `told`: with the claim; NULL: the store is asked. */
void jobrun_state_fetch(struct jobrun *run, const struct state_view *told);
void jobrun_state_ask(struct jobrun *run); /* again: it could not be read */
/* The kind of pod in which its state can be neither restored nor saved; NULL: none is so. */
const char *jobrun_state_never(const struct jobrun *run);
/* What goes to the pod: the specification with what it must know of the state, and the state. May be called again. */
struct str jobrun_state_release(struct jobrun *run, struct str *ret_spec);
void jobrun_state_said(struct jobrun *run, struct str bytes);
/* True: a large state is on its way to the object store, jobrun_finish() is called again behind it. */
bool jobrun_state_store(struct jobrun *run);
/* The event that says what became of the state. False: nothing is to be said. May be called again. */
bool jobrun_state_end(struct jobrun *run, struct event_draft *ret_draft);
void jobrun_state_free(struct jobrun *run);

/* jobrun_log.c */
enum err jobrun_log_init(struct jobrun *run);
/* Nothing may be sent now: an answer is outstanding, or a repeat of the last call is due later. */
bool jobrun_log_busy(const struct jobrun *run);
void jobrun_record_started(struct jobrun *run);
void jobrun_flush_soon(struct jobrun *run); /* plans the next append by what is pending */
void jobrun_finish(struct jobrun *run);     /* all facts are there */
void jobrun_return(struct jobrun *run, enum reason reason);
void jobrun_log_tick(struct jobrun *run, int64_t now_ns);
/* In state OVER: frees the run once nothing refers to it. */
void jobrun_over(struct jobrun *run);

#endif
