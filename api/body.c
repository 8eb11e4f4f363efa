/* SPDX-License-Identifier: Apache-2.0 */
#include "api/body.h"

#include "schema/limits.h"

#include <assert.h>
#include <stdlib.h>

/* Owned by its call until the pool has it; then by the pool, until parsed() gives it back. */
struct body_work {
    uv_work_t work;
    struct list node; /* of api->unparsed, while it waits */
    struct api *api;
    struct call *call; /* NULL: it went while the pool had its body */
    call_handler next;
    struct buf text;
    bool running;
    json_t *root;
    enum err e;
    struct errinfo info;
};

static void free_work(struct body_work *w)
{
    json_decref(w->root);
    buf_free(&w->text);
    free(w);
}

static void parse(uv_work_t *work)
{
    struct body_work *w = work->data;
    w->e = json_parse_clamped(buf_str(&w->text), limit_fields, &w->root, &w->info);
}

static void start_next(struct api *api);

static void parsed(uv_work_t *work, int status)
{
    struct body_work *w = work->data;
    struct api *api = w->api;
    (void)status; /* nobody cancels it */
    w->running = false;
    api->parsing--;
    start_next(api);
    if (w->call == NULL) {
        free_work(w);
        return;
    }
    http_body_give(w->call->request, &w->text);
    w->next(w->call);
}

static void start_next(struct api *api)
{
    struct body_work *w;
    while (api->parsing < BODY_PARSERS && (w = list_first(&api->unparsed, struct body_work, node)) != NULL) {
        list_remove(&w->node);
        http_body_take(w->call->request, &w->text);
        w->running = true;
        api->parsing++;
        int failed = uv_queue_work(&api->loop.uv, &w->work, parse, parsed);
        assert(failed == 0); /* only for want of a callback */
    }
}

static bool is_large_json(const struct call *c)
{
    return http_body(c->request).n >= BODY_LARGE &&
           str_starts(http_header(c->request, "content-type"), STR("application/json"));
}

void body_ready(struct call *c, call_handler next)
{
    struct body_work *w = is_large_json(c) ? calloc(1, sizeof *w) : NULL;
    if (w == NULL) {
        next(c);
        return;
    }
    *w = (struct body_work){.work.data = w, .api = c->api, .call = c, .next = next};
    c->body = w;
    list_append(&c->api->unparsed, &w->node);
    start_next(c->api);
}

enum err body_json(struct call *c, json_t **ret_root, struct errinfo *info)
{
    struct body_work *w = c->body;
    if (w == NULL)
        return json_parse_clamped(http_body(c->request), limit_fields, ret_root, info);
    c->body = NULL;
    enum err e = w->e;
    *info = w->info;
    if (e == ERR_OK)
        *ret_root = w->root;
    w->root = NULL;
    free_work(w);
    return e;
}

void body_forget(struct call *c)
{
    struct body_work *w = c->body;
    c->body = NULL;
    if (w == NULL)
        return;
    if (w->running) {
        w->call = NULL;
        return;
    }
    list_remove(&w->node);
    free_work(w);
}
