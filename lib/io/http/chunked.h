/* SPDX-License-Identifier: Apache-2.0 */
/* The chunked transfer coding of RFC 9112 section 7, read strictly: CRLF only, at most 16 hex digits, nothing
   before the size, extensions and trailers skipped within one budget and never merged into the head. Pure. */
#ifndef MILLRACE_IO_HTTP_CHUNKED_H
#define MILLRACE_IO_HTTP_CHUNKED_H

#include "base/buf.h"

/* What extensions, trailers and the framing itself may cost: 16 KiB, and beyond it an eighth of the payload,
   so that a body of one-byte chunks ends early. */
enum { CHUNKED_OVERHEAD = 16 * 1024 };

struct chunked {
    unsigned char state, digits;
    uint64_t left;     /* of the present chunk */
    uint64_t payload;  /* so far */
    uint64_t overhead; /* so far: all that is not payload */
};

/* {0} is the beginning of a body. Takes what it can of `in`, appends payload to `out`, and says by *ret_used
   how many bytes it took (all of them but after the end). ERR_OK: the body has ended. ERR_AGAIN: more is
   needed. ERR_PROTOCOL: refused. ERR_FULL: `out` is full (buf_status). */
MUST_CHECK enum err chunked_decode(struct chunked *c, struct str in, struct buf *out, size_t *ret_used);

/* The payload so far and what the present chunk says that is to come are more than `max`. A size line that is not whole says nothing. */
bool chunked_exceeds(const struct chunked *c, uint64_t max);

#endif
