/* SPDX-License-Identifier: Apache-2.0 */
/* The languages, one row of languages.def each. */
#ifndef MILLRACE_SCHEMA_LANGUAGES_H
#define MILLRACE_SCHEMA_LANGUAGES_H

#include "base/buf.h"

enum language {
#define X(symbol, id, aliases, source, run, compile, warm, packages, text) LANG_##symbol,
#include "schema/languages.def"
#undef X
    LANG_COUNT,
};

struct language_row {
    const char *id;             /* what requests, events and metrics say */
    const char *aliases;        /* "a|b" */
    const char *source_name;    /* file name */
    const char *const *run;     /* ends with NULL; {source}, {out} as in languages.def */
    const char *const *compile; /* NULL: nothing to compile */
    const char *warm;           /* kind of pod that is kept ready; "" = "cold" */
    const char *packages, *text;
};

const struct language_row *language_row(enum language lang);
/* By id or alias, in any case. ERR_NOT_FOUND with the known ids in `info`. */
MUST_CHECK enum err language_parse(struct str name, enum language *ret_lang, struct errinfo *info);
/* By the end of a file's name ("prog.py"), for the command line. ERR_NOT_FOUND. */
MUST_CHECK enum err language_of_file(struct str name, enum language *ret_lang);
/* "py, js, bash" */
void language_list(struct buf *out);

#endif
