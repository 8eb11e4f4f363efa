/* SPDX-License-Identifier: Apache-2.0 */
/* The languages, one row of languages.def each. */
#ifndef MILLRACE_SCHEMA_LANGUAGES_H
#define MILLRACE_SCHEMA_LANGUAGES_H

#include "base/buf.h"

enum language {
#define X(symbol, ...) LANG_##symbol,
#include "schema/languages.def"
#undef X
    LANG_COUNT,
};

enum language_naming {
    NAME_FIXED,
    NAME_OF_CLASS, /* the source is named as Java's public class, and {main} is the class with main() */
};

enum language_state { STATE_NEVER, STATE_ALWAYS, STATE_ASKED };

struct language_row { /* languages.def says what each is; what a row does not name is NULL or 0 */
    const char *id;   /* what requests, events and metrics say */
    const char *aliases, *text;
    const char *source_name;
    const char *endings;
    enum language_naming naming;
    const char *const *compile; /* lists end with NULL */
    const char *const *run;
    const char *out;
    const char *const *env;
    const char *products;
    const char *warm;
    bool sized;
    const char *const *needs;
    enum language_state state;
    const char *packages, *version_of, *libraries;
    const char *const *etc;
    unsigned wall, memory; /* per cent; 0: 100 */
};

const struct language_row *language_row(enum language lang);
/* Of the configured limits, per cent. */
unsigned language_wall_percent(const struct language_row *row);
unsigned language_memory_percent(const struct language_row *row);
/* By id or alias, in any case. ERR_NOT_FOUND with the known ids in `info`. */
MUST_CHECK enum err language_parse(struct str name, enum language *ret_lang, struct errinfo *info);
/* By the end of a file's name ("prog.py"), for the command line. ERR_NOT_FOUND. */
MUST_CHECK enum err language_of_file(struct str name, enum language *ret_lang);
/* "py, js, bash" */
void language_list(struct buf *out);

#endif
