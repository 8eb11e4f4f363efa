/* SPDX-License-Identifier: Apache-2.0 */
/* The working directory, as PID 1 sees it: input files are put there before the program is released, output files are
   taken from there when every other process of the pod is dead. Always by descriptor, never through a link, never out of
   the directory or its mount. Memory that a run does not use is not touched. */
#ifndef MILLRACE_WORKER_RUNNER_FILES_H
#define MILLRACE_WORKER_RUNNER_FILES_H

#include "worker/file_refused.h"
#include "worker/runner/channel.h"

enum {
    FILES_NAMES_MAX = 1 << 20,
    FILES_ENTRIES_MAX =
        16384, /* as many as the working directory takes: files, folders, inputs and refused ones together that are remembered */
    FILES_REFUSED_MAX = 64, /* of them refused; the rest is counted */
};

enum files_kind {
    FILES_SKIP,
    FILES_INPUT,
    FILES_FIXED,
    FILES_FOLDER,
    FILES_OUTPUT,
    FILES_REFUSED,
    FILES_LINK,
    FILES_EMPTY
};

struct files_entry {
    uint32_t at; /* in `names`, NUL-terminated */
    uint8_t kind, refused, is_input;
};

struct files {
    bool wanted;    /* FRAME_COLLECT came */
    bool open;      /* `root` is the working directory */
    bool unstarted; /* it never ran: a file that is new is one of its compiler's, and nothing of the user's */
    bool contained; /* the program has our id: nothing is given to it */
    unsigned off;   /* bits of enum defence */
    int root, file;
    uint64_t left;             /* bytes of `file` that are still to come or go */
    struct frame_file pending; /* the input that is being written */
    struct frame_collect bounds;
    uint64_t outputs, bytes, refused, told, unlisted;
    size_t names_len, count, next;
    size_t passed_by; /* files of a compiler */
    size_t given;     /* entries from before the look: inputs, what is skipped */
    struct files_entry entries[FILES_ENTRIES_MAX];
    char names[FILES_NAMES_MAX];
};

/* ERR_PROTOCOL: the worker breaks the protocol; else `info` says why the run cannot start. */
MUST_CHECK enum err files_collect(struct files *f, struct str payload);
MUST_CHECK enum err files_input(struct files *f, struct str payload, struct errinfo *info);
MUST_CHECK enum err files_input_data(struct files *f, struct str bytes, struct errinfo *info);
bool files_input_whole(const struct files *f); /* no input is half there */

/* True: a look may find something. */
bool files_any(struct files *f);
/* Looks around. True: there is something to tell. */
bool files_look(struct files *f);
/* Sends what the channel takes now. ERR_AGAIN: more when it is idle again; ERR_OK: that was all; ERR_CLOSED. */
MUST_CHECK enum err files_send(struct files *f, struct channel *c);

/* Makes the program's what PID 1 made for it. 0, or -1 with errno. */
int files_give(bool contained, int fd);

/* Shared by the two halves. */
int files_open(const struct files *f, int folder, const char *path, int flags, unsigned mode); /* or -1 */
bool files_root(struct files *f);
const char *files_name(const struct files *f, const struct files_entry *e);
/* NULL: no room. */
struct files_entry *files_note(struct files *f, enum files_kind kind, struct str path);

#endif
