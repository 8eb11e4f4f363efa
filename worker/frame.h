/* SPDX-License-Identifier: Apache-2.0 */
/* The framed protocol between a worker and the runner (PID 1) of a pod: the same in every backend, over one
   stream socket. A frame is an 8-byte header and a payload of at most FRAME_PAYLOAD_MAX bytes. All integers
   are little-endian. The worker trusts nothing that comes from a pod: a frame of an unknown type, out of turn
   or over its bound ends the pod (reason pod_protocol).

   worker                             runner
     |  <------------ READY -----------  |   the pod can take a job
     |  --- COLLECT, INPUT_BEGIN, DATA - |   (what to give back; input files)
     |  --- SPEC* (TLV, in pieces) --->  |
     |  ---------- STATE_IN* --------->  |   (a run that keeps state and has some)
     |  ------------ START ----------->  |
     |  <----------- STARTED ----------  |   the program was released
     |  <-- STDOUT | STDERR | WAITING -  |   a full socket blocks the program in its write
     |  --- STDIN | STDIN_EOF | SIGNAL > |
     |  <--------- STDIN_TAKEN --------  |   (of much input: there is room for so much more)
     |  <---------- TOOL_CALL ---------  |   (with SPEC_TOOLS: a message of the program, in pieces)
     |  --------- TOOL_RESULT -------->  |   (and one for it, written to its connection as it is)
     |  ------------ KILL ------------>  |   ends the whole pod's program, output kept
     |  <----------- STAGE ------------  |   the end of the compile step, when there was one
     |  <----------- STATE* -----------  |   (what a run that keeps state says of it)
     |  <------------ EXIT ------------  |   how the program ended; no output follows
     |  <- FILE_BEGIN FILE_DATA FILE_END |   (after an EXIT that says `files`: everything else in the pod is dead)
     |  <--------- FILE_REFUSED -------  |   (a file that is not given back, and why)
     |  <------------ DONE ------------  |   nothing follows; the worker has the pod destroyed
   Instead of STARTED..EXIT the runner may say ERROR (payload: one line of text): the program did not start. */
#ifndef MILLRACE_WORKER_FRAME_H
#define MILLRACE_WORKER_FRAME_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* STDIN bytes that the runner holds for a program that does not read them. It tells (STDIN_TAKEN) how many of them it holds no more,
   a FRAME_STDIN_TOLD at a time; whoever sends more than these allow finds that no frame is read, a KILL neither, until the program
   reads. So send at most this much before START, the rest after it with SPEC_STDIN_OPEN 1. */
enum { FRAME_STDIN_HELD_MAX = 1024 * 1024, FRAME_STDIN_TOLD = FRAME_STDIN_HELD_MAX / 4 };
enum { FRAME_VERSION = 2, FRAME_HEADER_SIZE = 8, FRAME_PAYLOAD_MAX = 65536, FRAME_EXIT_SIZE = 80 };

/* Wire values; new rows at the end of their half. */
enum frame_type {
    /* to the runner */
    FRAME_SPEC = 1,
    FRAME_START = 2,
    FRAME_STDIN = 3,
    FRAME_STDIN_EOF = 4,
    FRAME_SIGNAL = 5, /* u32 signal number */
    FRAME_KILL = 6,   /* u32 enum pod_end: PE_CANCELLED, PE_OUTPUT, ... is echoed in EXIT */
    FRAME_COLLECT =
        7, /* struct frame_collect; before START, at most once. Without it no file is given back */
    FRAME_INPUT_BEGIN = 8,  /* struct frame_file: a file in the working directory, before START */
    FRAME_INPUT_DATA = 9,   /* exactly its size in all */
    FRAME_COMPILED_IN = 12, /* before START: the compiled program, in pieces; then there is no compile step */
    FRAME_COMPILED_PASSED =
        13, /* the same, once, where the stream can carry descriptors: no payload, and a memory file came no later */
    FRAME_TOOL_RESULT = 16, /* struct frame_tool, bytes */
    FRAME_STATE_IN = 20,    /* before START: the raw state that the program gets, in pieces */
    /* from the runner */
    FRAME_READY = 64, /* u32 FRAME_VERSION */
    FRAME_STARTED = 65,
    FRAME_STDOUT = 66,
    FRAME_STDERR = 67,
    FRAME_WAITING = 68,    /* the program waits for input */
    FRAME_STAGE = 69,      /* struct frame_exit of the compile step */
    FRAME_EXIT = 70,       /* struct frame_exit */
    FRAME_ERROR = 71,      /* text */
    FRAME_FILE_BEGIN = 72, /* struct frame_file */
    FRAME_FILE_DATA = 73,
    FRAME_FILE_END = 74, /* u32: 1 whole, 0 it could not be read */
    FRAME_DONE = 75,
    FRAME_DEAD = 76, /* text: as ERROR, and the program did not even get its job, so another pod may run it */
    FRAME_FILE_REFUSED =
        77, /* struct frame_file: flags = enum file_refused; path empty: `size` more, not listed */
    FRAME_STDIN_TAKEN = 78, /* between STARTED and EXIT: u32 bytes of STDIN that are no longer held */
    FRAME_COMPILED =
        80, /* with SPEC_KEEP, between the output of the compile step and its STAGE: the program, in pieces; the last one is empty */
    FRAME_STATE =
        90, /* before EXIT: what the program says of its state, a stream of records (template_proto.h) */
    FRAME_TOOL_CALL = 96, /* struct frame_tool, bytes */
};

/* Where a program with SPEC_TOOLS finds the socket of its tools. A message there, either way, is {u32 length, JSON}. */
#define FRAME_TOOLS_SOCKET "/tmp/.tools"
enum { FRAME_TOOL_HEAD = 12 };

struct frame_header {
    uint32_t length; /* of the payload */
    uint8_t type;
    uint8_t reserved[3]; /* zero */
};

/* Why a program ended. */
enum pod_end {
    PE_OWN = 0,       /* by itself: exit_code or signal */
    PE_WALL = 1,      /* wall-clock limit */
    PE_CPU = 2,       /* CPU limit */
    PE_OUTPUT = 3,    /* output limit */
    PE_CANCELLED = 4, /* KILL from the worker */
    PE_WORKER_GONE = 5,
    PE_MEMORY = 6, /* the kernel killed a process of the pod for its memory limit, so PID 1 ended the rest */
    PE_TOOLS = 7,  /* no results of its tool calls came in time, or it asked for too much */
    PE_DIVERGED = 8, /* run again, it made other tool calls than before */
    PE_PIDS = 9,     /* more processes than its limit, where the kernel only counts them */
};

struct frame_exit {
    int32_t exit_code; /* -1 when a signal ended it */
    int32_t signal;    /* 0 when it exited */
    uint32_t end;      /* enum pod_end */
    uint32_t
        processes; /* and threads, that were started in the pod for the run, the program itself among them */
    uint64_t wall_ns; /* from release to the end of the main process */
    uint64_t user_ns;
    uint64_t system_ns;
    uint64_t max_rss_bytes; /* of the largest process */
    /* Of the whole pod, by its cgroup, where PID 1 can read it; else the worker asks the backend. */
    uint32_t counted;    /* 1: the rest is there */
    uint32_t files;      /* 1: FILE frames follow before DONE */
    uint64_t pod_cpu_ns; /* since the release */
    uint64_t pod_peak_bytes;
    uint64_t pod_oom_kills;
};

/* What of the working directory is given back: {u64 files, u64 bytes of one, u64 bytes of all, u64 all} and the names, each with a
   NUL behind, that are not (the source, what its compiler leaves). Hidden folders and __pycache__ are not either, unless
   an input lies there; an input is given back like any other file but does not count, a read-only one never is. `all`: the whole folder
   is a workspace: hidden folders too, links that lead nowhere but below it, folders without anything in them. */
struct frame_collect {
    uint64_t max_files, max_file_bytes, max_bytes;
    bool all;
    struct str skip; /* NUL-terminated names */
};
/* {u64 size, i64 time in ms, u32 flags} and the path: relative, '/' between, no part empty, "." or "..". */
struct frame_file {
    uint64_t size;
    int64_t time_ms; /* of the last write */
    uint32_t flags;
    struct str path;
};
enum {
    FRAME_FILE_READ_ONLY = 1,
    FRAME_FILE_IS_INPUT = 2,
    /* Of workspaces. Folders and links have no DATA and no END; a link's target is in `path`, behind a NUL. */
    FRAME_FILE_FOLDER = 4,
    FRAME_FILE_LINK = 8,
    FRAME_FILE_HAS_MODE = 16, /* the permissions are in the upper half */
    FRAME_FILE_MODE_SHIFT = 16,
    FRAME_LINK_MAX = 255,
};
enum { FRAME_PATH_MAX = 255, FRAME_PATH_DEPTH_MAX = 10 };

/* The run specification: a sequence of {u16 tag, u16 zero, u32 length, bytes}. A tag that is not known is an error. */
enum spec_tag {
    SPEC_ARGV = 1,          /* one per element, the command to execute: absolute path first */
    SPEC_ENV = 2,           /* one per variable: NAME=value */
    SPEC_SOURCE_NAME = 3,   /* file name of the source below its folder, without '/' */
    SPEC_SOURCE = 4,        /* its bytes */
    SPEC_COMPILE_ARGV = 5,  /* one per element; absent: no compile step */
    SPEC_LIMIT_WALL_MS = 6, /* limits: u64 */
    SPEC_LIMIT_CPU_MS = 7,
    SPEC_LIMIT_OUTPUT = 8, /* bytes of stdout and stderr together */
    SPEC_LIMIT_NOFILE = 9,
    SPEC_LIMIT_FSIZE = 10, /* bytes of one file */
    SPEC_LIMIT_NPROC = 11,
    SPEC_STDIN_OPEN =
        12, /* u64 1: more input may come; 0 or absent: EOF after the STDIN frames sent before START */
    SPEC_PROGRAM_ARGS =
        13, /* one per element: the user's args, for warm programs that do not take SPEC_ARGV */
    /* Runs that keep state; u64. STATE_MAX 0 or absent: this one does not. */
    SPEC_STATE_MAX = 20,      /* bytes of raw state that it may hand over */
    SPEC_STATE_SIZE = 21,     /* bytes of raw state that it gets: those of the FRAME_STATE_IN before START */
    SPEC_STATE_MS = 22,       /* time that saving may take, on top of the wall-clock limit */
    SPEC_KEEP = 24,           /* u64: give the compiled program back when it has at most so many bytes */
    SPEC_STATE_ON_ERROR = 23, /* 1: saved also after an exception that nobody caught */
    SPEC_STATE_SCRIPT =
        25,          /* for a program that is executed: what its shell reads before it (template_proto.h) */
    SPEC_TOOLS = 28, /* u64 1: the program may call tools, over FRAME_TOOLS_SOCKET */
};

/* What stands before the bytes of TOOL_CALL (a piece of a message without its length) and TOOL_RESULT (any bytes). */
struct frame_tool {
    uint32_t connection;
    uint32_t
        seen; /* TOOL_RESULT: 0, or that no call waits any more of the first so many messages: the clock goes on */
    bool last; /* TOOL_CALL: the last piece of the message */
};

struct frame {
    uint8_t type; /* as it came: not yet known to be a row of enum frame_type */
    struct str payload;
};

/* The frame at the front of `data`: a view into it, and how many bytes it takes.
   ERR_AGAIN when it is not whole yet, ERR_PROTOCOL when it never will be. */
MUST_CHECK enum err frame_take(struct str data, struct frame *ret_frame, size_t *ret_used);
/* `length` is at most FRAME_PAYLOAD_MAX. */
void frame_put_header(uint8_t out[FRAME_HEADER_SIZE], enum frame_type type, size_t length);
/* Header and payload; a payload over FRAME_PAYLOAD_MAX becomes several frames of the same type. */
void frame_append(struct buf *out, enum frame_type type, const void *payload, size_t length);
void frame_append_u32(struct buf *out, enum frame_type type, uint32_t value);
MUST_CHECK enum err frame_get_u32(struct str payload, uint32_t *ret_value); /* ERR_PROTOCOL: not four bytes */
void frame_put_exit(uint8_t out[FRAME_EXIT_SIZE], const struct frame_exit *in);
MUST_CHECK enum err frame_get_exit(struct str payload, struct frame_exit *ret_exit); /* ERR_PROTOCOL */

/* The payloads; what is got views `payload`. ERR_PROTOCOL: too short, or (of a path that has to be one) not a path. */
void frame_put_collect(struct buf *out, const struct frame_collect *in);
MUST_CHECK enum err frame_get_collect(struct str payload, struct frame_collect *ret_collect);
void frame_put_file(struct buf *out, const struct frame_file *in);
MUST_CHECK enum err frame_get_file(struct str payload, struct frame_file *ret_file);
/* Relative, at most FRAME_PATH_MAX bytes and FRAME_PATH_DEPTH_MAX parts, none empty, "." or "..", no control character,
   no backslash. Says nothing of UTF-8. */
bool frame_path_ok(struct str path);
/* What `path` and target of a link are. ERR_PROTOCOL: there is no target, or it is not relative or too long. */
MUST_CHECK enum err frame_get_link(struct str both, struct str *ret_path, struct str *ret_target);
void frame_put_tool(uint8_t out[FRAME_TOOL_HEAD], const struct frame_tool *in);
MUST_CHECK enum err frame_get_tool(struct str payload, struct frame_tool *ret_head, struct str *ret_bytes);

#endif
