/* SPDX-License-Identifier: Apache-2.0 */
/* The run specification of frame.h: written by the worker, read by the runner and by a warm program. Pure, no heap
   in the reader, which works in the bytes it is given. */
#ifndef MILLRACE_WORKER_SPEC_H
#define MILLRACE_WORKER_SPEC_H

#include "worker/frame.h"

enum {
    SPEC_SIZE_MAX = 16 * 1024 * 1024, /* code 8 MiB, args and environment in the rest */
    SPEC_STRINGS_MAX = 1024,          /* elements of each list */
};

struct spec_list {
    char *at[SPEC_STRINGS_MAX + 1]; /* NULL-terminated, each NUL-terminated */
    size_t n;
};

struct spec {
    struct spec_list argv, env, compile_argv, program_args;
    const char *source_name; /* NULL: no source file */
    struct str source;
    uint64_t wall_ms, cpu_ms, output_bytes, nofile, fsize, nproc; /* 0: not given */
    uint64_t state_max, state_size, state_ms;                     /* state_max 0: the run keeps no state */
    struct str state_script;
    bool stdin_open, state_on_error;
    uint64_t keep; /* bytes of a compiled program that is given back */
    bool tools;    /* it may call tools */
};

/* Writers; failures are sticky in `out` (buf_status). */
void spec_put(struct buf *out, enum spec_tag tag, struct str value);
void spec_put_u64(struct buf *out, enum spec_tag tag, uint64_t value);

/* Another value for a number that is in `bytes`, which were scanned before. */
void spec_replace_u64(char *bytes, size_t len, enum spec_tag tag, uint64_t value);

/* Take `bytes` apart. `bytes` is changed (strings are terminated in place) and must outlive *ret_spec.
   ERR_PROTOCOL for unknown tags, cut items, wrong sizes, a NUL in a string, a source name with '/', a variable
   without a name, or a single-valued tag given twice; ERR_FULL for too long a list. */
MUST_CHECK enum err spec_parse(char *bytes, size_t len, struct spec *ret_spec);
/* The same checks without a change to `bytes`: fills the numbers, the flag, `source` and the lengths of the lists;
   `at` of every list and source_name stay NULL. */
MUST_CHECK enum err spec_scan(struct str bytes, struct spec *ret_spec);

#endif
