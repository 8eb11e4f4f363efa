/* SPDX-License-Identifier: Apache-2.0 */
/* The key layout of PROTOCOL.md 4, as a table of parts. */
#include "queue/internal.h"

enum part { PART_JOB, PART_SESSION, PART_TENANT, PART_CLASS, PART_IDEM, PART_REQUEST, PART_NONE };

static const struct {
    const char *name, *before;
    enum part part;
    const char *after;
} layout[] = {
    {"JOB", "j:", PART_JOB, ""},
    {"LOG", "j:", PART_JOB, ":log"},
    {"REQ", "j:", PART_JOB, ":req"},
    {"IDEM", "i:", PART_IDEM, ""},
    {"TENANT", "t:", PART_TENANT, ""},
    {"ORDER", "s:", PART_SESSION, ":order"},
    {"COUNT", "count", PART_NONE, ""},
    {"DUE", "due", PART_NONE, ""},
    {"WAITING", "waiting", PART_NONE, ""},
    {"FAIR", "c:", PART_CLASS, ":fair"},
    {"B0", "c:", PART_CLASS, ":b0"},
    {"B1", "c:", PART_CLASS, ":b1"},
    {"B2", "c:", PART_CLASS, ":b2"},
    {"READY", "c:", PART_CLASS, ":ready"},
    {"WORKERS", "c:", PART_CLASS, ":workers"},
    {"STORE", "store", PART_NONE, ""},
    {"OFFERS", "offers", PART_NONE, ""},
    {"SESSION", "s:", PART_SESSION, ""},
    {"SLOG", "s:", PART_SESSION, ":log"},
    {"SFILES", "s:", PART_SESSION, ":files"},
    {"SDUE", "sdue", PART_NONE, ""},
    {"STATES", "s:", PART_SESSION, ":states"},
    {"BLOBS", "s:", PART_SESSION, ":blobs"},
    {"DROP", "drop", PART_NONE, ""},
    {"PACKS", "packs", PART_NONE, ""},
    {"REQUEST", "r:", PART_REQUEST, ""},
    {"SIDLE", "sidle", PART_NONE, ""},
    {"SWEEP", "sweep", PART_NONE, ""},
};

void key_base(const struct queue *q, unsigned partition, struct buf *out)
{
    buf_printf(out, "%s{p%02u}:", q->options.key_prefix, partition);
}

static struct str part_text(const struct keyset *k, enum part part)
{
    const struct str parts[] = {
        [PART_JOB] = k->job,       [PART_SESSION] = k->session,
        [PART_TENANT] = k->tenant, [PART_CLASS] = k->class_name,
        [PART_IDEM] = k->idem,     [PART_REQUEST] = k->request,
        [PART_NONE] = {0},
    };
    return parts[part];
}

void key_write(const struct queue *q, const struct keyset *k, struct str name, struct buf *out)
{
    for (size_t i = 0; i < sizeof layout / sizeof *layout; i++) {
        if (!str_eq(name, str_of(layout[i].name)))
            continue;
        key_base(q, k->partition, out);
        buf_append_cstr(out, layout[i].before);
        buf_append_str(out, part_text(k, layout[i].part));
        buf_append_cstr(out, layout[i].after);
        return;
    }
    abort(); /* a name that scripts.def has and the layout has not */
}
