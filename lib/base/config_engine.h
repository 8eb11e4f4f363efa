/* SPDX-License-Identifier: Apache-2.0 */
/* Settings from a table of rows into a struct, pure: no file, no environment. lib/io/config_load.h reads the
   sources and applies them in their order; schema/config.h has Millrace's table.
   Problems are collected, so that a person is told all of them at once; values of secrets are in none. */
#ifndef MILLRACE_BASE_CONFIG_ENGINE_H
#define MILLRACE_BASE_CONFIG_ENGINE_H

#include "base/arena.h"
#include "base/buf.h"

/* TYPE, C type of the field, how the documentation calls it. */
#define CONFIG_TYPE_TABLE(X)                                                                                 \
    X(STRING, const char *, "text")                                                                          \
    X(INT, int64_t, "integer")                                                                               \
    X(BOOL, bool, "true or false")                                                                           \
    X(SECONDS, int64_t, "seconds")      /* stored in milliseconds; also 500ms, 2m, 1h */                     \
    X(MB, int64_t, "MiB")               /* stored in bytes */                                                \
    X(ENUM, int, "one of")              /* stored as the place in `choices` */                               \
    X(LIST, struct config_list, "list") /* comma-separated; empty items are left out */                      \
    X(SECRET, const char *, "secret")                                                                        \
    X(SECRETS, struct config_list, "list of secrets")                                                        \
    X(URL, const char *, "URL") /* its password is never shown */

enum config_type {
#define X(type, c_type, text) CONFIG_##type,
    CONFIG_TYPE_TABLE(X)
#undef X
};

struct config_list {
    const char *const *items;
    size_t count;
};

#define X(type, c_type, text) typedef c_type config_c_##type;
CONFIG_TYPE_TABLE(X)
#undef X

/* min and max are in the stored unit; for texts and secrets (and each item of a list) they bound the length,
   where an empty text means "not set" and is always allowed. */
struct config_row {
    const char *section, *name;
    enum config_type type;
    size_t offset; /* of the field in the struct */
    const char *fallback;
    int64_t min, max;
    const char *choices; /* "a|b|c" of an ENUM, else NULL */
    const char *help;
};

enum config_source { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_DOTENV, CONFIG_ENVIRONMENT, CONFIG_COMMAND };

struct config_origin {
    enum config_source source;
    unsigned line; /* of a file, else 0 */
};

enum { CONFIG_PROBLEMS_MAX = 32 };
struct config_problems {
    struct errinfo items[CONFIG_PROBLEMS_MAX];
    size_t count; /* may be above CONFIG_PROBLEMS_MAX: those were only counted */
};

/* The head of every struct that a table fills. */
struct config_base {
    struct arena memory;           /* owns every text */
    struct config_origin *origins; /* one for each row */
    struct config_problems problems;
};

struct config_table {
    const struct config_row *rows;
    size_t count;
    /* NULL: all rows are heeded. Else only those of this section: the others stay at their defaults whatever a source
       says of them, and names that look like theirs are nobody's mistake. */
    const char *section;
    /* Names that belong to somebody else although they begin like ours; ends with NULL. A trailing '*'
       matches any end, a leading '*' any beginning. */
    const char *const *foreign;
    /* Relations between fields; reports with config_problem(). May be NULL. */
    void (*check)(struct config_base *filled);
};

/* Fills in the defaults. `out` is a zeroed struct that begins with struct config_base. ERR_NOMEM; asserts
   that the defaults of the table are good. */
MUST_CHECK enum err config_begin(const struct config_table *table, struct config_base *out);
void config_release(struct config_base *out);

/* One setting from one source. What is wrong with it is added to out->problems. */
void config_apply(const struct config_table *table, struct config_base *out, struct str name,
                  struct str value, struct config_origin origin);
/* The same when the name was already found. */
void config_apply_row(const struct config_table *table, struct config_base *out, const struct config_row *row,
                      struct str value, struct config_origin origin);
/* A name from the environment or a shared file: does it claim to be ours (the first word of a row's name, and
   not one of table->foreign)? */
bool config_is_ours(const struct config_table *table, struct str name);
const struct config_row *config_find(const struct config_table *table, struct str name); /* or NULL */
/* The row whose name is nearest to `name`, or NULL when none is near. */
const struct config_row *config_nearest(const struct config_table *table, struct str name);

void config_problem(struct config_base *out, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* ERR_OK, or ERR_INVALID with the first problem and how many more there are. */
MUST_CHECK enum err config_verdict(const struct config_base *out, struct errinfo *info);

/* For people. A secret is written as "(hidden)", one that is not set as nothing. */
void config_write_value(const struct config_row *row, const struct config_base *values, struct buf *out);
void config_write_range(const struct config_row *row, struct buf *out); /* "1 to 65535", "a, b or c", "" */
const char *config_type_text(enum config_type type);
bool config_is_secret(enum config_type type);
/* "environment", "millrace.yaml line 3"... */
void config_write_origin(struct config_origin origin, struct buf *out);

#endif
