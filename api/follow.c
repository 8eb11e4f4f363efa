/* SPDX-License-Identifier: Apache-2.0 */
#include "api/follow.h"

#include <string.h>

bool follow_after(struct call *c, const char *name, struct str text, char ret_after[EVENT_ID_MAX])
{
    uint64_t ms, n;
    ret_after[0] = '\0';
    if (text.n == 0)
        return true;
    if (text.n >= EVENT_ID_MAX || event_id_parse(text, &ms, &n) != ERR_OK) {
        call_fail(c, CE_BAD_CURSOR, "%s: must be the id of an event, like 1700000000000-0", name);
        return false;
    }
    memcpy(ret_after, text.p, text.n);
    ret_after[text.n] = '\0';
    return true;
}

void followers_drain(struct api *api)
{
    list_each(f, &api->followers, struct follower, node) f->leave(f);
}

static void follow_job(struct call *c)
{
    struct id job;
    char after[EVENT_ID_MAX];
    bool head = str_eq(http_method(c->request), STR("HEAD")); /* a stream without a body would only wait */
    bool sse = !head && sse_wanted(http_header(c->request, "accept"));
    struct str last = http_header(c->request, "last-event-id");
    bool resumed = sse && last.n > 0; /* the newer one of the two: browsers repeat the URL */
    const char *name = resumed ? "Last-Event-ID" : "after";
    if (!call_job_id(c, &job) ||
        !follow_after(c, name, resumed ? last : http_query(c->request, "after", NULL), after) ||
        !call_store_ready(c))
        return;
    if (sse)
        follow_sse(c, job, after);
    else
        follow_poll(c, job, after);
}

void handle_job_events(struct call *c)
{
    call_check_owner(c, follow_job);
}
