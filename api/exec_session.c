/* SPDX-License-Identifier: Apache-2.0 */
/* The session that a run names (DECISIONS 1): on /exec a hint, so a fresh one is drawn, in the same partition, when it is
   unknown, foreign or expired; on /v1/jobs it must be the caller's. A run that names none does not come here. */
#include "api/app.h"

#include "io/crypto.h"
#include "queue/state.h"

#include <stdlib.h>

struct session_check {
    struct call *call; /* NULL once the client is gone */
    struct exec_request request;
    bool strict;
    exec_next next;
};

static void on_gone(struct call *c)
{
    struct session_check *check = c->context;
    check->call = NULL;
}

static void on_view(void *arg, enum queue_answer answer, const struct state_view *view)
{
    struct session_check *check = arg;
    struct exec_request request = check->request;
    struct call *c = check->call;
    bool strict = check->strict,
         missing = answer == QUEUE_NOT_FOUND || (answer == QUEUE_OK && !view->exists && !view->pending);
    exec_next next = check->next;
    free(check);
    if (c == NULL) {
        exec_request_free(&request);
        return;
    }
    c->context = NULL;
    c->gone = NULL;
    if (missing && !strict)
        request.session = session_draw_file(c->api->queue, request.session); /* any id of that partition */
    if ((answer == QUEUE_OK && !missing) || (missing && !strict)) {
        next(c, &request);
        return;
    }
    exec_request_free(&request);
    if (missing)
        call_fail(
            c, CE_NOT_FOUND,
            "session_id: there is no such session, or it is not yours, or it holds nothing any more; send none "
            "to get a fresh one");
    else
        call_queue_failed(c, answer, 0);
}

/* The same for the same tenant, user and hint, and for nobody else; its partition is whatever it lies in. */
static struct id workspace_of(const struct call *c, const char *hint)
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    auto_buf text = BUF_INIT(4096);
    struct id id;
    buf_append_cstr(&text, "workspace");
    const struct str parts[] = {c->tenant, str_of(c->who.user), str_of(hint)};
    for (size_t i = 0; i < 3; i++) {
        buf_append_char(&text, '\0'); /* which none of them can hold */
        buf_append_str(&text, parts[i]);
    }
    if (buf_status(&text) != ERR_OK)
        abort(); /* their lengths are bounded well below that */
    struct sha256 hash = sha256_of(buf_str(&text));
    for (size_t i = 0; i < ID_LEN; i++)
        id.text[i] = letters[hash.bytes[i] % 62];
    id.text[ID_LEN] = '\0';
    return id;
}

void exec_settle_session(struct call *c, struct exec_request *request, bool strict, exec_next next)
{
    if (request->hint[0] != '\0') {
        request->session = workspace_of(c, request->hint);
        next(c, request);
        return;
    }
    if (request->session.text[0] == '\0') {
        next(c, request);
        return;
    }
    struct session_check *check = calloc(1, sizeof *check);
    if (check == NULL) {
        exec_request_free(request);
        call_fail(c, CE_INTERNAL, "out of memory");
        return;
    }
    *check = (struct session_check){.call = c, .request = *request, .strict = strict, .next = next};
    c->context = check;
    c->gone = on_gone;
    struct session_owner owner = {c->tenant, str_of(c->who.user)};
    state_look(c->api->queue, owner, request->session, on_view, check);
}
