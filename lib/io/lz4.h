/* SPDX-License-Identifier: Apache-2.0 */
/* LZ4 frames, in pieces going in and bounded coming out. */
#ifndef MILLRACE_IO_LZ4_H
#define MILLRACE_IO_LZ4_H

#include "base/buf.h"

/* One frame, written piece by piece, with a checksum of its content. */
struct lz4_writer;
MUST_CHECK enum err lz4_begin(struct lz4_writer **ret_writer, struct buf *out);
MUST_CHECK enum err lz4_add(struct lz4_writer *writer, struct str data,
                            struct buf *out);                            /* ERR_NOMEM, ERR_FULL */
MUST_CHECK enum err lz4_end(struct lz4_writer *writer, struct buf *out); /* frees it, always */
void lz4_drop(struct lz4_writer *writer);                                /* frees it; NULL is fine */

/* The content of `frame`, which is one whole frame and nothing else. Never writes more than out->max: ERR_FULL above
   it, ERR_PROTOCOL for what is no frame, is damaged, cut, or has something behind it. */
MUST_CHECK enum err lz4_unpack(struct str frame, struct buf *out);

#endif
