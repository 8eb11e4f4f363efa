/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a program wrote what was expected of it, told as it writes, in memory of the expectation's size: pure. */
#ifndef MILLRACE_WORKER_JUDGE_H
#define MILLRACE_WORKER_JUDGE_H

#include "base/buf.h"

enum judge_compare {
    JUDGE_LINES,  /* white space at the ends of lines, and empty lines at the end, do not count */
    JUDGE_TOKENS, /* words count, and not what is between them */
    JUDGE_EXACT,  /* every byte */
};

struct judge {
    bool on; /* something is expected */
    enum judge_compare compare;
    struct buf wanted; /* without what does not count */
    size_t at;         /* bytes of it that were written */
    size_t breaks;     /* ends of lines that were written since, */
    size_t blanks;     /* and white space behind the last of them: they count when more follows */
    bool blanks_fit;
    bool wrong;
};

/* "lines", "tokens" or "exact"; nothing is lines. ERR_INVALID: unknown. */
MUST_CHECK enum err judge_compare_parse(struct str name, enum judge_compare *ret_compare);

/* ERR_NOMEM; then it is off. Freed by judge_free(), which may be called twice. */
MUST_CHECK enum err judge_begin(struct judge *judge, enum judge_compare compare, struct str expected);
void judge_free(struct judge *judge);

/* What was written until now does not count: it was a compiler's. */
void judge_restart(struct judge *judge);
void judge_feed(struct judge *judge, struct str bytes);
/* All of it was written, and nothing else. */
bool judge_right(const struct judge *judge);

#endif
