/* SPDX-License-Identifier: Apache-2.0 */
/* Why a request is refused: a row of errors.def and a sentence "field: what is wrong and what to send". Pure.
 */
#ifndef MILLRACE_API_FAULT_H
#define MILLRACE_API_FAULT_H

#include "schema/errors.h"

struct api_fault {
    enum client_error error;
    char detail[512];   /* UTF-8; "" = the row's own text */
    int retry_after_ms; /* 0: none */
};

/* Return ERR_INVALID, so that a check can end with them. */
MUST_CHECK enum err api_fault_set(struct api_fault *fault, enum client_error error, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* From a sentence of json/fields.h: ERR_FULL is 413, all else 422. */
MUST_CHECK enum err api_fault_from(struct api_fault *fault, const struct errinfo *info);

#endif
