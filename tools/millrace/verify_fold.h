/* SPDX-License-Identifier: Apache-2.0 */
/* A job's log, folded; from Redis and from the archive alike. */
#ifndef MILLRACE_TOOLS_VERIFY_FOLD_H
#define MILLRACE_TOOLS_VERIFY_FOLD_H

#include "base/id.h"
#include "schema/event.h"
#include "tools/millrace/verify_look.h"

/* What the log says. Texts are cut to what an honest one needs. */
struct folded {
    char status[16], session[ID_LEN + 1], lang[40], priority[16], class_name[140], worker[140];
    char queued_id[EVENT_ID_MAX], last[EVENT_ID_MAX];
    int64_t attempt, seq, ms, created, claimed, started, finished, released, ins, stored, reasons;
    bool cancel, over;
};

/* One more event; what cannot follow is a difference of `key`. */
void verify_fold(struct verify *v, const char *key, struct folded *f, const struct event *e);

/* verify_pack.c: the archived log of a job. False: it cannot be folded, which was told. */
struct archive_place;
bool verify_pack(struct verify *v, const char *key, const char *job, const struct archive_place *place,
                 struct folded *ret_folded);

#endif
