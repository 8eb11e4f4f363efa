/* SPDX-License-Identifier: Apache-2.0 */
#include "base/percent.h"

#include <string.h>

void percent_encode(struct buf *out, const char *text, bool slash_stays)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";
    for (const char *p = text; *p; p++) {
        if (strchr(plain, *p) || (slash_stays && *p == '/'))
            buf_append_char(out, *p);
        else
            buf_printf(out, "%%%02X", (unsigned char)*p);
    }
}
