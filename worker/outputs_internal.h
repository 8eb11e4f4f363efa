/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by outputs.c and outputs_tell.c. */
#ifndef MILLRACE_WORKER_OUTPUTS_INTERNAL_H
#define MILLRACE_WORKER_OUTPUTS_INTERNAL_H

#include "worker/run_files.h"

enum { OUTPUTS_LISTED_MAX = INPUTS_MAX + SESSION_FILES_MAX, JSON_MAX = 8192 };

/* One that came. STORED: its object is in the store, though not yet in the table. */
enum output_state { SPOOLING, ENDING, PUTTING, STORED, SAME, REFUSED };

struct output {
    struct outputs *out;
    enum output_state state;
    enum file_refused why;
    char path[FRAME_PATH_MAX + 1];
    uint64_t size;
    const struct input *input; /* it is that one, perhaps changed */
    struct id id;
    char hash[SHA256_HEX_LEN + 1];
    struct spool *spool;
    struct object_op *op;
    /* Of a workspace */
    bool import; /* as its input was; stored, because the workspace has it from now on */
    bool special, folder;
    char link[FRAME_LINK_MAX + 1];
    unsigned mode;
    int64_t time_ms;
};

struct outputs {
    const struct file_services *services;
    struct run_owner owner;
    const struct inputs *inputs;
    struct outputs_events events;
    const struct pod_backend_ops *ops;
    struct pod *pod; /* NULL: nothing more comes */
    struct output **at;
    size_t count, cap, active; /* active: being spooled or put */
    struct output *current;    /* FILE came, FILE_END did not */
    struct output *full;       /* its spool takes no more at present */
    bool skipping;             /* the current one is refused: its bytes are dropped */
    uint64_t current_left, new_files, bytes, unlisted;
    size_t refused;
    bool workspace;
    int64_t created_ms;                                    /* of the workspace */
    bool paused, ended, whole, adding, told, moved, freed; /* whole: the pod told everything */
};

#endif
