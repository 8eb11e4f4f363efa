/* SPDX-License-Identifier: Apache-2.0 */
/* Whose a job is, inside a tenant. A caller with a user (a token names one) reaches what is that user's and what has no user;
   a key is the installation's own and reaches all of its tenant. */
#include "api/app.h"

#include "base/cleanup.h"

#include <stdlib.h>

bool call_owns(const struct call *c, struct str user)
{
    struct str mine = str_of(c->who.user);
    return mine.n == 0 || user.n == 0 || str_eq(mine, user);
}

struct owner_check {
    struct call *call; /* NULL once the client is gone */
    call_handler next;
};

static void on_gone(struct call *c)
{
    struct owner_check *check = c->context;
    check->call = NULL;
}

static void on_job(void *arg, enum queue_answer answer, const struct queue_job *job)
{
    auto_free struct owner_check *check = arg;
    struct call *c = check->call;
    if (c == NULL)
        return;
    c->context = NULL;
    c->gone = NULL;
    if (answer == QUEUE_OK && call_owns(c, job->user))
        check->next(c);
    else
        call_queue_failed(c, answer == QUEUE_OK ? QUEUE_NOT_FOUND : answer, 0);
}

void call_check_owner(struct call *c, call_handler next)
{
    struct id job;
    if (c->who.user[0] == '\0') {
        next(c);
        return;
    }
    if (!call_job_id(c, &job) || !call_store_ready(c))
        return;
    struct owner_check *check = calloc(1, sizeof *check);
    if (check == NULL) {
        call_fail(c, CE_INTERNAL, "out of memory");
        return;
    }
    *check = (struct owner_check){.call = c, .next = next};
    c->context = check;
    c->gone = on_gone;
    queue_get(c->api->queue, c->tenant, job, on_job, check);
}
