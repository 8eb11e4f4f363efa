/* SPDX-License-Identifier: Apache-2.0 */
/* Which languages the living workers can run, as they last told, and how those fare whose pods a cluster makes. A language counts as there when every worker has it,
   for any of them may claim the job; while no worker has told anything nothing is refused. */
#ifndef MILLRACE_API_OFFERS_H
#define MILLRACE_API_OFFERS_H

#include "queue/queue.h"
#include "schema/languages.h"
#include "json/json.h"

enum { OFFERS_ASK_MS = 2000, OFFER_WHY_MAX = 320 };

/* Zero it first. */
struct offers {
    bool told; /* by one worker at least */
    const char
        *refused[LANG_COUNT]; /* why it cannot be run and what to install; NULL: it can, or nobody told */
    char why[LANG_COUNT][OFFER_WHY_MAX];
    char stuck[OFFER_WHY_MAX]; /* why no worker takes jobs, since longer than jobs wait for a cluster; "" */
    json_t *first;             /* what one of them told; owned */
    json_t *
        gaps; /* by the worker's name, where there are any: the defences that its pods lack, as accepted; owned; or NULL */
    json_t *
        kubernetes; /* of each worker with pods of a cluster its /health/kubernetes, by its name; owned; NULL: none */
};

/* Takes what all that are alive told; what cannot be read is left out. */
void offers_update(struct offers *offers, const struct queue_offered *list, size_t count);
void offers_free(struct offers *offers);
/* The answer of GET /v1/languages. */
void offers_write(const struct offers *offers, struct buf *out);
/* {"worker": ["swap_limit"]}, of those that have any. */
void offers_write_gaps(const struct offers *offers, struct buf *out);
/* The answer of GET /health/kubernetes. Returns its HTTP status; 0: no worker has pods of a cluster. */
int offers_write_kubernetes(const struct offers *offers, struct buf *out);

#endif
