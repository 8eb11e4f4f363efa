/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 of RFC 4648: the standard alphabet with padding, and the one for URLs without. */
#ifndef MILLRACE_BASE_BASE64_H
#define MILLRACE_BASE_BASE64_H

#include "base/buf.h"

#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* Failure is sticky in `out`. */
void base64_encode(struct buf *out, struct str bytes);

/* Strict: padded, no white space, no bits set behind the end, so that each value has exactly one text.
   ERR_INVALID leaves `out` as it was; otherwise buf_status(out). */
MUST_CHECK enum err base64_decode(struct buf *out, struct str text);

/* base64url without padding, as strict. */
MUST_CHECK enum err base64url_decode(struct buf *out, struct str text);

#endif
