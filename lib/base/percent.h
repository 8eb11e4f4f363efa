/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_BASE_PERCENT_H
#define MILLRACE_BASE_PERCENT_H

#include "base/buf.h"

/* %XX for every byte but A-Z a-z 0-9 - _ . ~ (RFC 3986), and '/' when slash_stays. */
void percent_encode(struct buf *out, const char *text, bool slash_stays);

#endif
