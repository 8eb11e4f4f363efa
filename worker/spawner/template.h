/* SPDX-License-Identifier: Apache-2.0 */
/* The spawner's side of the warm interpreters: one template a kind, kept alive with a bounded back-off. */
#ifndef MILLRACE_WORKER_SPAWNER_TEMPLATE_H
#define MILLRACE_WORKER_SPAWNER_TEMPLATE_H

#include "base/err.h"
#include "worker/templates/template_proto.h"

#include <stdbool.h>
#include <stddef.h>

enum { TEMPLATES_MAX = 4 };

struct template
{
    const char *kind; /* what CREATE says */
    const char *set;
    int control; /* -1: not running */
    bool ready;
    bool
        wanted; /* from the start, or because a pod of it was asked for: a package set takes a while to import */
    unsigned failures;           /* in a row */
    int64_t retry_ns;            /* not before */
    char why[TEMPLATE_TEXT_MAX]; /* it is not ready */
};

struct spawner;

void templates_init(struct spawner *s);
/* Start those that do not run and whose time has come. Returns milliseconds to the next one, or -1. */
int templates_keep(struct spawner *s);
/* It ended, or broke the protocol. */
void template_lost(struct spawner *s, struct template *t, const char *why);
/* Have `fds` (enum template_fd order, then cgroups) forked into; the answer comes as TEMPLATE_FORKED or _FAILED with `tag`. */
MUST_CHECK enum err template_fork(struct template *t, uint64_t tag, const int *fds, size_t n, size_t cgroups);
/* ERR_AGAIN: nothing there. ERR_CLOSED: call template_lost. */
MUST_CHECK enum err template_receive(struct template *t, struct template_reply *ret);

#endif
