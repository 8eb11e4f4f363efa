/* SPDX-License-Identifier: Apache-2.0 */
/* Structured log on stderr: one JSON object a line, or readable text on a terminal (or LOG_FORMAT=text).
   Values are escaped and cut at 2 KiB; a record is one write(2). Never log a secret.
   Repeats: log_limited() prints at most one line a second for each cause at each call site, of at most LOG_CAUSES_MAX causes a
   second, and says how many were held back. */
#ifndef MILLRACE_BASE_LOG_H
#define MILLRACE_BASE_LOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* A field of a record. Use F_STR / F_INT / F_BOOL; the array ends with F_END (log_* macros add it). */
struct log_field {
    const char *key;
    const char *text; /* NULL: the number counts */
    int64_t number;
};
#define F_STR(k, v)    ((struct log_field){.key = (k), .text = (v)})
#define F_INT(k, v)    ((struct log_field){.key = (k), .number = (int64_t)(v)})
#define F_JOB(id, att) F_STR("job", (id)), F_INT("attempt", (att))

enum { LOG_CAUSES_MAX = 4 };
struct log_limit {
    struct log_cause {
        uint64_t cause;
        int64_t last_ns;
        uint32_t held;
    } row[LOG_CAUSES_MAX];
};

/* Call once at start. `program` is a literal. */
void log_open(const char *program, enum log_level least, bool as_text);
void log_write(enum log_level level, const char *message, const struct log_field *fields);
/* What the fields say of why: of the others each line of one cause may have different ones. */
uint64_t log_cause_of(const struct log_field *fields);
/* True when the caller may print now; *ret_held is how many were held back since. */
bool log_limit_pass(struct log_limit *limit, uint64_t cause, uint32_t *ret_held);

#define LOG_AT(level, message, ...)                                                                          \
    log_write((level), (message), (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.key = NULL}})
#define log_debug(message, ...) LOG_AT(LOG_DEBUG, (message), ##__VA_ARGS__)
#define log_info(message, ...)  LOG_AT(LOG_INFO, (message), ##__VA_ARGS__)
#define log_warn(message, ...)  LOG_AT(LOG_WARN, (message), ##__VA_ARGS__)
#define log_error(message, ...) LOG_AT(LOG_ERROR, (message), ##__VA_ARGS__)
#define log_limited(level, message, ...)                                                                     \
    do {                                                                                                     \
        static struct log_limit limit_;                                                                      \
        uint32_t held_;                                                                                      \
        const struct log_field given_[] = {__VA_ARGS__ __VA_OPT__(, ){.key = NULL}};                         \
        if (log_limit_pass(&limit_, log_cause_of(given_), &held_))                                           \
            LOG_AT((level), (message), F_INT("held_back", held_), ##__VA_ARGS__);                            \
    } while (0)

#endif
