/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of `replay --verify` share: the store that is looked at, and the differences found so far. */
#ifndef MILLRACE_TOOLS_VERIFY_LOOK_H
#define MILLRACE_TOOLS_VERIFY_LOOK_H

#include "io/state_blob.h"
#include "queue/objects.h"
#include "tools/millrace/store_ask.h"
#include "tools/millrace/tally.h"

enum { VERIFY_KEY_MAX = 400, VERIFY_LOOKS = 3 };

struct verify {
    struct store *store;
    struct objects objects;
    struct state_keys keys; /* that seals are made with */
    unsigned partition;     /* that is looked at */
    const char *prefix;     /* of all keys */
    char base[128];         /* of the partition's keys: "<prefix>{pNN}:" */
    const char *only;       /* a job's id, or NULL: all */
    unsigned look;
    struct tally found;    /* differences -> in how many looks */
    struct tally expected; /* "<key> <field>" -> what the jobs' logs say of a counter */
    struct tally lanes;    /* "<class> <job>" in the ready lanes */
    uint64_t jobs, sessions, events, other_keys;
    bool failed;
};

/* The partition's key of that name; in a static buffer for `slot` 0 to 3. */
const char *verify_key(const struct verify *v, unsigned slot, const char *fmt, ...) PRINTF_LIKE(3, 4);
void verify_differs(struct verify *v, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* verify_job.c: one job's HASH against its log, and its place in every list. */
void verify_job(struct verify *v, const char *job);
/* verify_session.c: a session's HASH, tables, blobs and objects against its log. */
void verify_session(struct verify *v, const char *id);
/* verify_pack.c: the object is there and has that content, or it is a difference of `key`. */
void verify_object(struct verify *v, const char *key, const char *object, const struct sha256 *hash);
/* verify_lists.c: what the lists and counters of the partition hold that no job accounts for. */
void verify_lanes(struct verify *v, const char *key);     /* before the jobs */
void verify_other_key(struct verify *v, const char *key); /* behind them */
void verify_counters(struct verify *v);

#endif
