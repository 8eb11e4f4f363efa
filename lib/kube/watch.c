/* SPDX-License-Identifier: Apache-2.0 */
/* LISTING -> (page by page) -> WATCHING -> a break -> WATCHING from the newest resourceVersion, or LISTING after 410. Every break that
   is not the server's own time-out waits a pause first, which grows while nothing works.
   What comes is kept and told from the loop, never from within libcurl: a callback may close everything. */
#include "kube/internal.h"

#include "base/clock.h"
#include "kube/lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    IDLE_MS = 150000,
    SERVER_S = 270, /* the server ends a watch after so long, and up to a quarter more */
    LINE_MAX_ = 4 << 20,
    INBOX_MAX = 256 << 10, /* above it libcurl waits */
    VERSION_MAX = 64,
    WORKED_MS = 5000, /* a stream that lasted so long was a good one, whatever came */
    POISON = 3,       /* so often in a row what comes cannot be read: list again */
};

enum phase { PAUSING, LISTING, WATCHING };

struct kube_watch {
    struct list link; /* kube->watches */
    struct kube *kube;
    struct kube_ref ref;
    char ns[254];
    char *labels, *fields;
    int idle_ms;
    kube_watch_cb cb;
    void *arg;
    uv_timer_t timer; /* the pause, or the end of the patience with a silent watch */
    uv_timer_t work;  /* something came */
    unsigned handles;
    enum phase phase;
    struct kube_call *list;
    struct http_call *http;
    int64_t sent_ns;
    struct buf inbox;
    struct kube_lines lines;
    bool choked;      /* libcurl waits until the inbox is empty */
    bool ended;       /* the stream has: `status` says how */
    bool heard;       /* an event came in this stream */
    bool resumed;     /* SYNCED is to be told, with the next work */
    int64_t began_ns; /* when this stream was answered; 0: not yet */
    bool closed, synced, told, credentials;
    unsigned failures, poison;
    char version[VERSION_MAX]; /* the newest; "" none: a list is due */
    struct kube_status status;
};

static void go(struct kube_watch *w);
static void start_list(struct kube_watch *w, const char *next);

struct kube_watch *kube_watch_of(struct list *link)
{
    return container_of(link, struct kube_watch, link);
}

bool kube_watch_synced(const struct kube_watch *w)
{
    return w->synced;
}

static void tell(struct kube_watch *w, enum kube_watch_event event, const struct kube_object *object,
                 const struct kube_status *status)
{
    if (!w->closed)
        w->cb(w->arg, event, object, status);
}

/* ---- breaks ---- */

static void on_pause_over(uv_timer_t *timer)
{
    go(timer->data);
}

static void pause_then_go(struct kube_watch *w, int64_t pause_ms)
{
    w->phase = PAUSING;
    uv_timer_start(&w->timer, on_pause_over, (uint64_t)pause_ms, 0);
}

/* Something did not work: told once it is more than a broken connection. */
static void trouble(struct kube_watch *w, const struct kube_status *status)
{
    struct kube *k = w->kube;
    int64_t pause = kube_pause_ms(++w->failures, status->retry_after_s, &k->random);
    int64_t whole = k->pause_end_ns - clock_mono_ns(); /* the client holds back as a whole */
    w->synced = false;
    w->told = true;
    pause_then_go(w, pause * KUBE_MS > whole ? pause : whole / KUBE_MS + 1);
    tell(w, KUBE_WATCH_TROUBLE, NULL, status);
}

static bool worked(const struct kube_watch *w)
{
    return w->heard || (w->began_ns && clock_mono_ns() - w->began_ns > (int64_t)WORKED_MS * KUBE_MS);
}

/* The stream has ended with w->status. */
static void after_stream(struct kube_watch *w)
{
    struct kube_status *status = &w->status;
    /* A stream that breaks says nothing of the server as a whole: the next request will. */
    if (status->reason != KUBE_OK && (!w->began_ns || status->reason != KUBE_NO_ANSWER))
        kube_outcome(w->kube, w->sent_ns, status);
    w->ended = false;
    w->kube->stats.watch_breaks++;
    if (status->reason == KUBE_UNAUTHORIZED)
        kube_credentials_refused(w->kube->credentials);
    if (status->reason == KUBE_EXPIRED) {
        w->version[0] = '\0';
        pause_then_go(w, w->failures++ ? kube_pause_ms(w->failures, -1, &w->kube->random) : 0);
        return;
    }
    if ((status->reason == KUBE_OK || status->reason == KUBE_NO_ANSWER) && worked(w)) {
        w->failures = 0;
        pause_then_go(w, kube_pause_ms(1, -1, &w->kube->random)); /* it worked until now: not worth telling */
        return;
    }
    if (status->reason == KUBE_OK) {
        *status = (struct kube_status){.reason = KUBE_UNAVAILABLE, .code = status->code, .retry_after_s = -1};
        snprintf(status->message, sizeof status->message, "the watch ended without an event");
    }
    if ((status->reason == KUBE_GARBAGE || status->reason == KUBE_TOO_LONG) && ++w->poison >= POISON)
        w->version[0] = '\0';
    trouble(w, status);
}

static void stop_stream(struct kube_watch *w)
{
    if (w->http)
        http_call_cancel(w->http);
    w->http = NULL;
    w->choked = false;
    buf_reset(&w->inbox);
    uv_timer_stop(&w->timer);
    uv_timer_stop(&w->work);
}

/* ---- events ---- */

static void break_with(struct kube_watch *w, enum kube_reason reason)
{
    w->status = (struct kube_status){.reason = reason, .retry_after_s = -1};
    snprintf(w->status.message, sizeof w->status.message, "%s", kube_reason_text(reason));
}

static void take_event(struct kube_watch *w, const json_t *root)
{
    static const struct {
        const char *type;
        bool tells;
        enum kube_watch_event event;
    } types[] = {{"ADDED", true, KUBE_WATCH_SEEN},
                 {"MODIFIED", true, KUBE_WATCH_SEEN},
                 {"DELETED", true, KUBE_WATCH_GONE},
                 {"BOOKMARK", false, KUBE_WATCH_SEEN}};
    const char *type = json_string_value(json_object_get(root, "type"));
    const json_t *json = json_object_get(root, "object");
    struct kube_object object;
    size_t i = 0, count = sizeof types / sizeof *types;
    while (i < count && (!type || strcmp(type, types[i].type) != 0))
        i++;
    const char *version =
        json_string_value(json_object_get(json_object_get(json, "metadata"), "resourceVersion"));
    if (i == count || !version || strlen(version) >= VERSION_MAX ||
        (types[i].tells && kube_object_read(json, &object))) {
        break_with(w, KUBE_GARBAGE);
        return;
    }
    snprintf(w->version, sizeof w->version, "%s", version);
    w->heard = true;
    w->failures = w->poison = 0;
    if (types[i].tells)
        tell(w, types[i].event, &object, NULL);
}

static void take_line(struct kube_watch *w, struct str line)
{
    struct errinfo info;
    auto_json root = NULL;
    if (json_parse(line, &root, &info)) {
        break_with(w, KUBE_GARBAGE);
        return;
    }
    const char *type = json_string_value(json_object_get(root, "type"));
    if (!type || strcmp(type, "ERROR") != 0) {
        take_event(w, root);
        return;
    }
    auto_buf status = BUF_INIT(64 << 10);
    enum err e = json_write(json_object_get(root, "object"), &status);
    if (e)
        buf_reset(&status);
    kube_status_read(0, buf_str(&status), &w->status);
}

static void on_idle(uv_timer_t *timer)
{
    struct kube_watch *w = timer->data;
    stop_stream(w);
    break_with(w, KUBE_NO_ANSWER);
    snprintf(w->status.message, sizeof w->status.message, "the watch was silent for too long");
    after_stream(w);
}

/* Everything that has come. w->status stays OK while it can be read. */
static void take_inbox(struct kube_watch *w)
{
    struct str rest = buf_str(&w->inbox), line;
    bool found = true;
    while (found && !w->closed && w->status.reason == KUBE_OK) {
        if (kube_lines_next(&w->lines, &rest, &found, &line))
            break_with(w, KUBE_TOO_LONG);
        else if (found)
            take_line(w, line);
    }
    if (!w->closed)
        buf_reset(&w->inbox);
}

static void tell_synced(struct kube_watch *w)
{
    w->synced = true;
    w->told = w->resumed = false;
    tell(w, KUBE_WATCH_SYNCED, NULL, NULL);
}

static void on_work(uv_timer_t *timer)
{
    struct kube_watch *w = timer->data;
    struct kube_status end = w->status;
    if (w->resumed)
        tell_synced(w);
    w->status = (struct kube_status){.reason = KUBE_OK, .code = 200, .retry_after_s = -1};
    take_inbox(w);
    if (w->closed)
        return;
    if (w->status.reason != KUBE_OK || w->ended) {
        if (w->status.reason == KUBE_OK)
            w->status = end;
        stop_stream(w);
        after_stream(w);
        return;
    }
    w->status = end;
    if (w->choked) {
        w->choked = false;
        http_call_receive_on(w->http);
    }
}

static bool on_data(void *arg, int status, struct str bytes)
{
    (void)status;
    struct kube_watch *w = arg;
    uv_timer_start(&w->timer, on_idle, (uint64_t)w->idle_ms, 0);
    uv_timer_start(&w->work, on_work, 0, 0);
    if (w->inbox.len > INBOX_MAX) {
        w->choked = true;
        return false;
    }
    buf_append_str(&w->inbox, bytes);
    return true;
}

static void on_began(void *arg, int status)
{
    struct kube_watch *w = arg;
    if (status < 200 || status > 299)
        return;
    w->status = (struct kube_status){.reason = KUBE_OK, .code = status, .retry_after_s = -1};
    kube_outcome(w->kube, w->sent_ns, &w->status);
    uv_timer_start(&w->timer, on_idle, (uint64_t)w->idle_ms, 0);
    w->began_ns = clock_mono_ns();
    w->resumed = w->told; /* inside of libcurl: told from the loop */
    if (w->resumed)
        uv_timer_start(&w->work, on_work, 0, 0);
}

static void on_end(void *arg, enum err e, const char *why, const struct http_answer *answer)
{
    struct kube_watch *w = arg;
    w->http = NULL;
    kube_status_of(e, why, answer, &w->status);
    w->ended = true;
    uv_timer_start(&w->work, on_work, 0, 0);
}

/* ---- beginning ---- */

static enum err build_watch(struct kube_watch *w, struct kube_request *r)
{
    unsigned more = (unsigned)(w->kube->random % (SERVER_S / 4));
    enum err e = kube_request_begin(r, "GET", "watch", &w->ref);
    if (e)
        return e;
    kube_request_number(r, "watch", 1);
    kube_request_query(r, "allowWatchBookmarks", "true");
    kube_request_query(r, "resourceVersion", w->version);
    kube_request_number(r, "timeoutSeconds", SERVER_S + more);
    kube_request_query(r, "labelSelector", w->labels);
    kube_request_query(r, "fieldSelector", w->fields);
    return kube_request_status(r);
}

static void start_stream(struct kube_watch *w)
{
    struct kube *k = w->kube;
    struct kube_request r;
    struct kube_status status = {.reason = KUBE_CREDENTIALS, .retry_after_s = -1, .message = "out of memory"};
    enum err e = build_watch(w, &r);
    w->phase = WATCHING;
    w->ended = w->heard = w->choked = w->resumed = false;
    w->began_ns = 0;
    w->status = (struct kube_status){.reason = KUBE_OK, .retry_after_s = -1};
    kube_lines_reset(&w->lines);
    buf_reset(&w->inbox);
    if (!e) {
        struct kube_try how = {.request = &r, .data = on_data, .began = on_began};
        e = kube_send(k, &how, on_end, w, &w->http, &status);
        kube_request_free(&r);
    }
    w->sent_ns = clock_mono_ns();
    w->credentials = e == ERR_AGAIN;
    if (!e)
        uv_timer_start(&w->timer, on_idle, (uint64_t)k->options.try_ms, 0);
    else if (e != ERR_AGAIN)
        trouble(w, &status);
}

void kube_watch_credentials(struct kube_watch *w)
{
    if (w->credentials) {
        w->credentials = false;
        pause_then_go(w, 0);
    }
}

static void on_page(void *arg, const struct kube_result *result)
{
    struct kube_watch *w = arg;
    struct kube_status status = {.reason = result->reason, .code = result->code, .retry_after_s = -1};
    w->list = NULL;
    if (result->reason == KUBE_EXPIRED) {
        pause_then_go(w, kube_pause_ms(++w->failures, -1, &w->kube->random));
        return;
    }
    if (result->reason) {
        snprintf(status.message, sizeof status.message, "%.*s", KUBE_MESSAGE_MAX, result->message);
        trouble(w, &status);
        return;
    }
    for (size_t i = 0; i < result->count && !w->closed; i++)
        tell(w, KUBE_WATCH_SEEN, &result->items[i], NULL);
    if (w->closed)
        return;
    if (result->next) {
        start_list(w, result->next);
        return;
    }
    snprintf(w->version, sizeof w->version, "%s", result->resource_version);
    w->failures = w->poison = 0;
    tell_synced(w);
    if (!w->closed)
        start_stream(w);
}

static void start_list(struct kube_watch *w, const char *next)
{
    struct kube_status status = {.reason = KUBE_CREDENTIALS, .retry_after_s = -1, .message = "out of memory"};
    struct kube_list list = {.labels = w->labels, .fields = w->fields, .next = next};
    w->phase = LISTING;
    if (kube_list(w->kube, &w->ref, &list, -1, on_page, w, &w->list)) /* its pauses are ours */
        trouble(w, &status);
}

static void go(struct kube_watch *w)
{
    if (w->version[0]) {
        start_stream(w);
        return;
    }
    w->kube->stats.watch_lists++;
    w->synced = false;
    tell(w, KUBE_WATCH_LISTING, NULL, NULL);
    if (!w->closed)
        start_list(w, NULL);
}

/* ---- outside ---- */

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

static void watch_release(struct kube_watch *w)
{
    buf_free(&w->inbox);
    kube_lines_free(&w->lines);
    free(w->labels);
    free(w->fields);
    free(w);
}

enum err kube_watch_open(struct kube *k, const struct kube_watch_options *options, kube_watch_cb cb,
                         void *arg, struct kube_watch **ret_watch)
{
    const char *ns = options->ref.ns ? options->ref.ns : kube_namespace(k);
    struct kube_watch *w = strlen(ns) < sizeof w->ns ? calloc(1, sizeof *w) : NULL;
    if (!w)
        return ERR_NOMEM;
    w->kube = k;
    w->idle_ms = options->idle_ms > 0 ? options->idle_ms : IDLE_MS;
    w->cb = cb;
    w->arg = arg;
    snprintf(w->ns, sizeof w->ns, "%s", ns);
    w->ref = (struct kube_ref){.kind = options->ref.kind, .ns = w->ns};
    w->labels = copy(options->labels);
    w->fields = copy(options->fields);
    w->inbox = BUF_INIT(INBOX_MAX + LINE_MAX_);
    kube_lines_init(&w->lines, LINE_MAX_);
    struct kube_request r;
    enum err e = kube_request_begin(&r, "GET", "watch", &w->ref);
    if (!e)
        kube_request_free(&r);
    if (e || (options->labels && !w->labels) || (options->fields && !w->fields)) {
        watch_release(w);
        return e ? e : ERR_NOMEM;
    }
    uv_timer_init(k->loop, &w->timer);
    uv_timer_init(k->loop, &w->work);
    w->timer.data = w->work.data = w;
    w->handles = 2;
    k->open_parts++;
    list_append(&k->watches, &w->link);
    pause_then_go(w, 0);
    *ret_watch = w;
    return ERR_OK;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct kube_watch *w = handle->data;
    if (--w->handles > 0)
        return;
    kube_part_closed(w->kube);
    watch_release(w);
}

void kube_watch_close(struct kube_watch *w)
{
    if (w->closed)
        return;
    w->closed = true;
    w->synced = false;
    list_remove(&w->link);
    if (w->list)
        kube_call_cancel(w->list);
    stop_stream(w);
    uv_close((uv_handle_t *)&w->timer, on_handle_closed);
    uv_close((uv_handle_t *)&w->work, on_handle_closed);
}
