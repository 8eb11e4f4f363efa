/* SPDX-License-Identifier: Apache-2.0 */
#include "api/fault.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum err api_fault_set(struct api_fault *fault, enum client_error error, const char *fmt, ...)
{
    char text[sizeof fault->detail];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    /* What was quoted may be cut inside a character. */
    auto_buf clean = BUF_INIT(4 * sizeof text);
    utf8_sanitize(&clean, str_of(text));
    *fault = (struct api_fault){.error = error};
    size_t n = clean.len < sizeof fault->detail ? clean.len
                                                : utf8_complete((struct str){clean.data, sizeof text - 1});
    if (n > 0)
        memcpy(fault->detail, clean.data, n);
    return ERR_INVALID;
}

enum err api_fault_from(struct api_fault *fault, const struct errinfo *info)
{
    return api_fault_set(fault, info->code == ERR_FULL ? CE_TOO_LARGE : CE_INVALID_FIELD, "%s", info->text);
}
