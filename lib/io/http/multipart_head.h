/* SPDX-License-Identifier: Apache-2.0 */
/* The header of one part, and parameters as Content-Disposition and Content-Type have them. Inside of multipart.c. */
#ifndef MILLRACE_IO_HTTP_MULTIPART_HEAD_H
#define MILLRACE_IO_HTTP_MULTIPART_HEAD_H

#include "io/http/multipart.h"

/* False: *ret_why says what is wrong (a static text). `head` ends with an empty line. */
bool multipart_head_read(struct str head, struct multipart_part *part, const char **ret_why);

#endif
