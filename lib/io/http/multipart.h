/* SPDX-License-Identifier: Apache-2.0 */
/* multipart/form-data (RFC 7578) read strictly, from pieces of any size, without holding more than a part's header. Pure.

   Refused: a line end that is not CRLF, folded header lines, a part without exactly one Content-Disposition of form-data
   with exactly one name, a transfer encoding, names that are not UTF-8 or hold control characters (CR, LF and NUL by
   any way of writing them), and more parts or longer headers than allowed. File names keep their directories and their
   bytes: `%22` stays as it is, `\"` and `\\` are unescaped, any other backslash is one. `filename*` (RFC 8187, UTF-8 or
   ISO-8859-1) wins over `filename`. Whether a path may be used is for the caller to judge. */
#ifndef MILLRACE_IO_HTTP_MULTIPART_H
#define MILLRACE_IO_HTTP_MULTIPART_H

#include "base/buf.h"

enum {
    MULTIPART_BOUNDARY_MAX = 70,
    MULTIPART_HEAD_MAX = 8192, /* bytes of one part's header */
    MULTIPART_LINES_MAX = 16,
    MULTIPART_NAME_MAX = 128,
    MULTIPART_FILENAME_MAX = 1024,
    MULTIPART_TYPE_MAX = 128,
};

struct multipart_part {
    unsigned number; /* from 1 */
    bool has_filename;
    char name[MULTIPART_NAME_MAX + 1]; /* both without NUL and control characters, UTF-8 */
    char filename[MULTIPART_FILENAME_MAX + 1];
    char type[MULTIPART_TYPE_MAX + 1]; /* Content-Type as it was sent, or "" */
};

/* What a callback returns other than ERR_OK ends the parsing, and is what multipart_feed() returns. */
struct multipart_events {
    enum err (*begin)(void *arg, const struct multipart_part *part);
    enum err (*data)(void *arg, struct str bytes); /* never empty */
    enum err (*end)(void *arg);
    void *arg;
};

struct multipart {
    struct multipart_events events;
    unsigned max_parts;
    char delimiter[MULTIPART_BOUNDARY_MAX + 5]; /* CR LF - - boundary */
    size_t delimiter_len, matched;
    unsigned char state;
    enum err failed;
    struct buf head;
    struct multipart_part part;
    char why[160]; /* a sentence for the client after ERR_PROTOCOL and ERR_FULL */
};

/* The boundary of a Content-Type. ERR_UNSUPPORTED: it is not multipart/form-data. ERR_INVALID: no good boundary. */
MUST_CHECK enum err multipart_boundary(struct str content_type,
                                       char ret_boundary[MULTIPART_BOUNDARY_MAX + 1]);

void multipart_init(struct multipart *m, const char *boundary, unsigned max_parts,
                    const struct multipart_events *events);
void multipart_free(struct multipart *m);
/* Takes all of `in`. ERR_OK: the last boundary has passed. ERR_AGAIN: more is needed. ERR_PROTOCOL: refused (400).
   ERR_FULL: too many parts (413). Otherwise what a callback returned. Errors are sticky. */
MUST_CHECK enum err multipart_feed(struct multipart *m, struct str in);
/* The body has ended. ERR_OK, or ERR_PROTOCOL: in the middle of it. */
MUST_CHECK enum err multipart_end(struct multipart *m);

#endif
