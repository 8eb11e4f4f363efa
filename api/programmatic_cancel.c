/* SPDX-License-Identifier: Apache-2.0 */
/* POST /exec/programmatic/cancel (CONTRACT 7): a client ends the programmatic request that it gave this id, in the header
   X-LibreChat-Code-Request-ID; the request may wait at any api. */
#include "api/app.h"

#include "base/cleanup.h"
#include "queue/request.h"

#include <stdlib.h>

struct cancelling {
    struct call *call; /* NULL once the client is gone */
    struct api *api;
    struct str tenant;
};

bool request_id_valid(struct str id)
{
    if (id.n != 36)
        return false;
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (dash ? c != '-' : !hex)
            return false;
    }
    return true;
}

static void on_gone(struct call *c)
{
    struct cancelling *x = c->context;
    x->call = NULL;
}

static void say(struct call *c, int status, const char *text)
{
    auto_buf body = BUF_INIT(128);
    buf_printf(&body, "{\"status\":\"%s\"}\n", text);
    call_json(c, status, &body);
}

static void on_cancelled(void *arg, enum queue_answer answer, struct id job)
{
    auto_free struct cancelling *x = arg;
    struct call *c = x->call;
    if (answer == QUEUE_OK && job.text[0] != '\0')
        exec_abandon(x->api, x->tenant, job);
    if (c == NULL)
        return;
    c->gone = NULL;
    if (answer == QUEUE_OK)
        say(c, 202, "cancellation_requested");
    else if (answer == QUEUE_DUP)
        say(c, 200, "already_completed");
    else if (answer == QUEUE_NOT_FOUND)
        call_fail(c, CE_FORBIDDEN, "Programmatic request belongs to another principal");
    else
        call_queue_failed(c, answer, 0);
}

void handle_programmatic_cancel(struct call *c)
{
    auto_json body = NULL;
    if (!call_store_ready(c) || !exec_is_json(c))
        return;
    const json_t *id =
        json_parse(http_body(c->request), &body, NULL) == ERR_OK ? json_object_get(body, "request_id") : NULL;
    struct request_ref ref = {.tenant = c->tenant, .user = str_of(c->who.user)};
    if (json_is_string(id))
        ref.id = (struct str){json_string_value(id), json_string_length(id)};
    if (!request_id_valid(ref.id)) {
        call_fail(c, CE_BAD_REQUEST, "Invalid or missing request_id");
        return;
    }
    struct cancelling *x = calloc(1, sizeof *x);
    if (x == NULL) {
        call_fail(c, CE_INTERNAL, "out of memory");
        return;
    }
    *x = (struct cancelling){.call = c, .api = c->api, .tenant = c->tenant};
    c->context = x;
    c->gone = on_gone;
    request_cancel(c->api->queue, &ref, on_cancelled, x);
}
