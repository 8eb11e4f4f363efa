/* SPDX-License-Identifier: Apache-2.0 */
/* What a program says of its state (records of templates/template_proto.h), as it comes from the pod: checked, bounded and
   packed piece by piece. Pure. The program is not trusted: whatever it sends, at worst its own state is not saved. */
#ifndef MILLRACE_WORKER_STATE_STREAM_H
#define MILLRACE_WORKER_STATE_STREAM_H

#include "io/state_blob.h"

enum { STATE_WARNINGS_MAX = 64, STATE_WARNING_TEXT_MAX = 400 };

struct state_stream {
    size_t max_raw;
    struct buf pending; /* the front of a record */
    struct state_packer *packer;
    struct buf warnings; /* JSON objects, comma between */
    unsigned warning_count;
    bool ended, whole;
    const char *broken; /* why nothing is taken any more; else NULL */
};

void state_stream_init(struct state_stream *s, size_t max_raw);
void state_stream_add(struct state_stream *s, struct str bytes);
/* Texts are made valid UTF-8, and cut. Over the bound it is dropped. */
void state_stream_warn(struct state_stream *s, struct str name, struct str reason);
/* The blob, once, when the stream came whole. ERR_AGAIN: it did not, or says that nothing is to be saved. */
MUST_CHECK enum err state_stream_take(struct state_stream *s, struct buf *ret_blob, struct sha256 *ret_hash);
void state_stream_free(struct state_stream *s);

#endif
