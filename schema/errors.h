/* SPDX-License-Identifier: Apache-2.0 */
/* What the API refuses, one row of errors.def each. */
#ifndef MILLRACE_SCHEMA_ERRORS_H
#define MILLRACE_SCHEMA_ERRORS_H

#include "base/buf.h"

enum client_error {
#define X(symbol, status, type, text, fix) CE_##symbol,
#include "schema/errors.def"
#undef X
    CE_COUNT,
};

struct client_error_row {
    int status; /* HTTP */
    const char *type, *text, *fix;
};

const struct client_error_row *client_error_row(enum client_error error);

/* {"error", "message"?, "error_type", "details":[{"field","message","code"}] | null, "request_id"}, and with
   retry_after_s > 0 "retry_after_seconds". `detail` is a sentence "field: what is wrong" (base of the row's
   text when NULL or empty): what stands before the first ": " is the field, unless it holds a space. UTF-8.
 */
void client_error_write(enum client_error error, const char *detail, const char *request_id,
                        int retry_after_s, struct buf *out);

#endif
