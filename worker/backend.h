/* SPDX-License-Identifier: Apache-2.0 */
/* A place where pods come from: a small vtable and an opaque handle. Every call is asynchronous on the
   worker's loop; events are told through the pod's one callback, never before the call that causes them
   returns.

   Life of a pod:   create -> READY -> [limits -> LIMITS] -> [place*] -> run -> STARTED -> OUTPUT* -> EXIT -> [FILE*] -> DONE
                    any time: LOST (it will do no work any more), and after destroy: GONE, the last event;
                    the handle is not valid once the callback of GONE has returned.
   A pod that could not be made tells LOST and waits for its destroy like any other. */
#ifndef MILLRACE_WORKER_BACKEND_H
#define MILLRACE_WORKER_BACKEND_H

#include "base/str.h"
#include "schema/reasons.h"
#include "worker/frame.h"
#include "worker/spawner/proto.h"

struct pod;

enum pod_event_type {
    POD_READY,     /* takes a job */
    POD_LIMITS,    /* answer to limits(): ok */
    POD_STARTED,   /* the program was released */
    POD_OUTPUT,    /* bytes, stream */
    POD_WAITING,   /* the program waits for input */
    POD_STATE,     /* bytes: what the program says of its state (state_stream.h) */
    POD_COMPILED,  /* bytes: a piece of the compiled program; ok: that was all. Before its STAGE */
    POD_STAGE,     /* exit: of the compile step */
    POD_EXIT,      /* exit: of the program; no output follows */
    POD_REFUSED,   /* text: the runner could not start the program */
    POD_DONE,      /* the runner has nothing more to say */
    POD_USAGE,     /* answer to usage(): ok, usage */
    POD_TOOL_CALL, /* bytes: payload of FRAME_TOOL_CALL */
    POD_ROOM,      /* place(), or input(), may go on */
    POD_FILE,      /* file: an output file begins; after an EXIT that says `files` */
    POD_FILE_DATA,
    POD_FILE_END,     /* ok: whole */
    POD_FILE_REFUSED, /* file: one that is not given back, flags = enum file_refused */
    POD_LOST,         /* text: it died, broke the protocol or could not be made */
    POD_GONE,         /* nothing of it is left */
};

enum pod_stream { POD_STDOUT, POD_STDERR, POD_STREAMS };

struct pod_event {
    enum pod_event_type type;
    bool ok; /* LIMITS, USAGE, FILE_END; REFUSED: the program did not even get its job */
    enum pod_stream stream;
    struct str bytes; /* OUTPUT, FILE_DATA: valid until the callback returns */
    struct frame_file file;
    struct frame_exit exit;
    struct pod_usage usage;
    enum reason reason; /* LOST: what the job is told; REASON_POD_LOST where nothing more is known */
    const char *text;
};
typedef void (*pod_event_cb)(void *arg, const struct pod_event *event);

/* Standard input that goes ahead of the release; with more of it the spec says that it is open. */
enum { POD_STDIN_FIRST = FRAME_STDIN_HELD_MAX / 2 };

/* What a compiler made, so that nothing is compiled. */
struct pod_program {
    struct str bytes;
    int fd; /* >= 0: a sealed memory file in their place, for pods whose stream carries descriptors; -1 */
};

struct pod_run {
    struct str spec;  /* TLV of worker/frame.h */
    struct str state; /* raw state that the program begins with; the spec says how much */
    struct str stdin_bytes;
    bool stdin_eof;                     /* after stdin_bytes; false: more comes with input() */
    const struct pod_program *compiled; /* the spec has no compile step then; NULL: none */
    struct str collect;                 /* payload of FRAME_COLLECT; empty: no file is given back */
};

struct pod_backend;
struct pod_backend_ops {
    const char *name;
    /* NULL: no more at present (bounded). */
    struct pod *(*create)(struct pod_backend *backend, const char *kind, const struct pod_limits *limits,
                          pod_event_cb cb, void *arg);
    /* Limits other than those it was made with; before run. */
    MUST_CHECK enum err (*limits)(struct pod *pod, const struct pod_limits *limits);
    /* FRAME_INPUT_BEGIN and _DATA, before run. ERR_AGAIN: taken, but no more before POD_ROOM; ERR_CLOSED. */
    MUST_CHECK enum err (*place)(struct pod *pod, enum frame_type type, struct str payload);
    /* Hands the job over and releases the program. Everything is copied. Once per pod. */
    MUST_CHECK enum err (*run)(struct pod *pod, const struct pod_run *run);
    /* FRAME_STDIN, FRAME_STDIN_EOF, FRAME_SIGNAL, FRAME_TOOL_RESULT; signals and results pass input that the program does not read.
       ERR_FULL: nothing was taken, of STDIN none before POD_ROOM; ERR_CLOSED: it takes no more. */
    MUST_CHECK enum err (*input)(struct pod *pod, enum frame_type type, struct str bytes);
    /* Ends the program; EXIT follows with `why`. */
    void (*kill)(struct pod *pod, enum pod_end why);
    MUST_CHECK enum err (*usage)(struct pod *pod);
    /* While paused nothing is read from the pod, so that its program blocks in its write. Going on tells at
       once what was read before (the one call that does). */
    void (*pause)(struct pod *pod, bool paused);
    void (*destroy)(struct pod *pod); /* any time, once */
};

struct pod_backend {
    const struct pod_backend_ops *ops;
};

#endif
