/* SPDX-License-Identifier: Apache-2.0 */
/* DELETE /v1/sessions/{id}: the session ends with all that it holds, its state in every version and its files. What is in the object
   store was noted by the script and is deleted by an archiver; a run that is still in it keeps nothing. */
#include "api/state_call.h"

static void on_removed(void *arg, enum queue_answer answer, const struct session_removed *removed)
{
    struct state_call *x = arg;
    (void)removed; /* their objects are noted */
    if (answer == QUEUE_OK || answer == QUEUE_DUP)
        state_call_deleted(x);
    else
        state_call_fail_answer(x, answer);
}

void handle_session_end(struct call *c)
{
    struct state_call *x = state_call_begin(c, NULL); /* it need not be looked at */
    if (x != NULL)
        session_remove(x->api->queue, x->owner, x->session, x->owner.user, SESSION_TOMBSTONE_MS, on_removed,
                       x);
}
