/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/internal.h"

#include "base/clock.h"
#include "io/crypto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void pump(struct kube *k);

static void on_timer(uv_timer_t *timer)
{
    pump(timer->data);
}

/* Never from within a caller's function: the loop comes round first. */
static void pump_soon(struct kube *k)
{
    if (!k->closing)
        uv_timer_start(&k->timer, on_timer, 0, 0);
}

/* ---- the end of a call ---- */

static void call_free(struct kube_call *call)
{
    if (call->http)
        http_call_cancel(call->http);
    kube_request_free(&call->request);
    free(call->items);
    free(call);
}

static void call_unlink(struct kube_call *call)
{
    struct kube *k = call->kube;
    list_remove(&call->link);
    if (call->sent)
        k->sent_count--;
    else
        k->waiting_count--;
    call->sent = false;
}

void kube_call_cancel(struct kube_call *call)
{
    struct kube *k = call->kube;
    if (call->telling)
        return; /* it has ended: freed when its callback returns */
    call_unlink(call);
    call_free(call);
    pump_soon(k);
}

/* `call` is in no list any more. */
static void tell(struct kube_call *call, struct kube_result *result)
{
    char message[KUBE_MESSAGE_MAX + 512];
    result->tries = call->tries;
    result->message = "";
    if (!result->resource_version)
        result->resource_version = "";
    if (result->reason) {
        snprintf(message, sizeof message, "cannot %s: %s", buf_cstr(&call->request.what), call->last.message);
        result->message = message;
    }
    call->telling = true;
    call->cb(call->arg, result);
    call_free(call);
}

static void fail(struct kube_call *call)
{
    struct kube_result result = {.reason = call->last.reason, .code = call->last.code};
    tell(call, &result);
}

/* ---- how fast ---- */

/* The server as a whole is in trouble, not one request. */
static bool whole(enum kube_reason reason)
{
    return reason == KUBE_NO_ANSWER || reason == KUBE_BUSY || reason == KUBE_UNAVAILABLE;
}

static void count(struct kube_stats *s, const struct kube_status *status)
{
    s->ended[status->reason]++;
    if (status->reason == KUBE_OK)
        return;
    s->last_reason = status->reason;
    s->last_failed_ms = clock_wall_ms();
    snprintf(s->last_message, sizeof s->last_message, "%s", status->message);
}

void kube_outcome(struct kube *k, int64_t sent_ns, const struct kube_status *status)
{
    struct kube_stats *s = &k->stats;
    int64_t now = clock_mono_ns();
    count(s, status);
    if (status->reason == KUBE_CREDENTIALS)
        return; /* it was never sent */
    s->reachable = status->reason != KUBE_NO_ANSWER;
    if (s->reachable)
        s->last_answer_ms = clock_wall_ms();
    if (!whole(status->reason)) {
        k->failures = 0;
        k->pause_end_ns = 0;
    } else if (sent_ns >= k->paused_ns) { /* what was under way when the pause began is no new failure */
        k->failures++;
        k->paused_ns = now;
        k->pause_end_ns = now + kube_pause_ms(k->failures, status->retry_after_s, &k->random) * KUBE_MS;
    }
}

/* ---- a try ---- */

static void wait_again(struct kube_call *call, int64_t next_ns)
{
    struct kube *k = call->kube;
    call->next_ns = next_ns;
    list_append(k->waiting.next, &call->link); /* before all others: it came before them */
    k->waiting_count++;
}

/* Ended without success: again, or told. The call is in no list. */
static void retry_or_fail(struct kube_call *call)
{
    struct kube *k = call->kube;
    int64_t now = clock_mono_ns(), next = k->pause_end_ns;
    bool again = kube_reason_again(call->last.reason) && !call->one_try;
    if (again && !whole(call->last.reason))
        next = now + kube_pause_ms(call->tries, call->last.retry_after_s, &k->random) * KUBE_MS;
    if (call->last.reason == KUBE_UNAUTHORIZED && !call->refused) {
        call->refused = true;
        again = kube_credentials_refused(k->credentials);
        next = now;
    }
    if (again && next < call->end_ns)
        wait_again(call, next);
    else
        fail(call);
}

/* A create that was lost had worked: read what it made. */
static void find_again(struct kube_call *call)
{
    call->find_again = false;
    call->request.method = "GET";
    call->request.type = NULL;
    buf_printf(&call->request.target, "/%s", call->name);
    wait_again(call, 0);
}

static void take_answer(struct kube_call *call, const struct http_answer *answer)
{
    struct errinfo info;
    auto_json root = NULL;
    struct kube_result result = {.code = answer->status};
    enum kube_reason reason =
        json_parse(answer->body, &root, &info) ? KUBE_GARBAGE : call->read(call, root, &result);
    if (reason) {
        call->last.reason = reason;
        snprintf(call->last.message, sizeof call->last.message, "%s", kube_reason_text(reason));
    }
    kube_outcome(call->kube, call->sent_ns, &call->last);
    call_unlink(call);
    if (reason)
        retry_or_fail(call);
    else
        tell(call, &result);
}

static void on_answer(void *arg, enum err e, const char *why, const struct http_answer *answer)
{
    struct kube_call *call = arg;
    struct kube *k = call->kube;
    int64_t sent_ns = call->sent_ns;
    call->http = NULL;
    kube_status_of(e, why, answer, &call->last);
    if (call->last.reason == KUBE_OK) {
        take_answer(call, answer);
    } else {
        kube_outcome(k, sent_ns, &call->last);
        call_unlink(call);
        if (call->last.reason == KUBE_ALREADY_EXISTS && call->lost && call->find_again) {
            find_again(call);
        } else {
            call->lost =
                call->lost || (kube_reason_again(call->last.reason) && call->last.reason != KUBE_BUSY);
            retry_or_fail(call);
        }
    }
    pump_soon(k);
}

/* False: it has to wait for a plug-in. */
static bool send_one(struct kube *k, struct kube_call *call)
{
    struct kube_try how = {.request = &call->request, .timeout_ms = k->options.try_ms};
    enum err e = kube_send(k, &how, on_answer, call, &call->http, &call->last);
    if (e == ERR_AGAIN)
        return false;
    call_unlink(call);
    if (e) {
        kube_outcome(k, 0, &call->last);
        fail(call);
        return true;
    }
    call->tries++;
    call->sent_ns = clock_mono_ns();
    call->sent = true;
    list_append(&k->sent, &call->link);
    k->sent_count++;
    return true;
}

/* ---- the queue ---- */

static void fail_late(struct kube *k, struct kube_call *call)
{
    call_unlink(call);
    if (call->tries == 0) {
        const struct kube_stats *s = &k->stats;
        call->last = (struct kube_status){.reason = k->failures ? s->last_reason : KUBE_NO_ANSWER};
        snprintf(call->last.message, sizeof call->last.message, "waited in vain for its turn%s%.300s",
                 k->failures ? "; the newest request failed: " : "", k->failures ? s->last_message : "");
    }
    fail(call);
}

static struct kube_call *first_late(struct kube *k, int64_t now)
{
    list_each(call, &k->waiting, struct kube_call, link) if (call->end_ns <= now) return call;
    return NULL;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The next call that may go out; NULL: none now, and *due is when to look again. */
static struct kube_call *next_call(struct kube *k, int64_t now, int64_t *due)
{
    unsigned at_once = k->failures ? 1 : k->options.in_flight;
    struct kube_call *found = NULL;
    if (k->sent_count >= at_once)
        return NULL; /* an answer comes first */
    if (k->pause_end_ns > now) {
        *due = least(*due, k->pause_end_ns);
        return NULL;
    }
    list_each(call, &k->waiting, struct kube_call, link)
    {
        if (!found && call->next_ns <= now)
            found = call;
        else if (call->next_ns > now)
            *due = least(*due, call->next_ns);
    }
    int64_t wait = found ? kube_bucket_take(&k->bucket, now) : 0;
    if (wait > 0) {
        *due = least(*due, now + wait);
        return NULL;
    }
    return found;
}

static void arm(struct kube *k, int64_t now, int64_t due)
{
    list_each(call, &k->waiting, struct kube_call, link) due = least(due, call->end_ns);
    if (due == INT64_MAX)
        uv_timer_stop(&k->timer);
    else
        uv_timer_start(&k->timer, on_timer, (uint64_t)((due - now + KUBE_MS - 1) / KUBE_MS), 0);
}

/* Callbacks run here, and may begin and cancel calls and close the client (whose memory lasts until the loop comes round). */
static void pump(struct kube *k)
{
    struct kube_call *call;
    int64_t now = clock_mono_ns(), due = INT64_MAX;
    uv_update_time(k->loop);
    while (!k->closing && (call = first_late(k, now)))
        fail_late(k, call);
    while (!k->closing && (call = next_call(k, now, &due)))
        if (!send_one(k, call))
            break; /* on_credentials() comes back */
    if (!k->closing)
        arm(k, now, due > now ? due : now);
}

/* A plug-in has ended. */
static void on_credentials(void *arg)
{
    struct kube *k = arg;
    pump_soon(k);
    for (struct list *link = k->watches.next, *next = link->next; link != &k->watches;
         link = next, next = link->next)
        kube_watch_credentials(kube_watch_of(link));
}

enum err kube_call_start(struct kube *k, struct kube_request *request, kube_reader read, int patience_ms,
                         kube_cb cb, void *arg, struct kube_call **ret_call)
{
    enum err e = kube_request_status(request);
    e = e ? e : k->waiting_count >= k->options.waiting ? ERR_FULL : ERR_OK;
    struct kube_call *call = e ? NULL : calloc(1, sizeof *call);
    if (!call) {
        kube_request_free(request);
        return e ? e : ERR_NOMEM;
    }
    *call = (struct kube_call){.kube = k, .request = *request, .read = read, .cb = cb, .arg = arg};
    call->one_try = patience_ms < 0;
    call->made_ns = clock_mono_ns();
    call->end_ns =
        call->made_ns + (int64_t)(patience_ms > 0 ? patience_ms : k->options.patience_ms) * KUBE_MS;
    list_append(&k->waiting, &call->link);
    k->waiting_count++;
    if (ret_call)
        *ret_call = call;
    pump_soon(k);
    return ERR_OK;
}

/* ---- the life of the client ---- */

static void fill_defaults(struct kube_options *o)
{
    o->rate_per_s = o->rate_per_s ? o->rate_per_s : 50;
    o->burst = o->burst ? o->burst : 100;
    o->in_flight = o->in_flight ? o->in_flight : 8;
    o->waiting = o->waiting ? o->waiting : 4096;
    o->try_ms = o->try_ms > 0 ? o->try_ms : 10000;
    o->patience_ms = o->patience_ms > 0 ? o->patience_ms : 15000;
    o->user_agent = o->user_agent ? o->user_agent : "millrace";
}

static enum err open_access(const struct kube_options *options, struct kube_access *access,
                            struct errinfo *info)
{
    if (options->kubeconfig)
        return kube_access_load(options->kubeconfig, options->context, options->allow_insecure, access, info);
    return kube_access_in_cluster(options->service_account ? options->service_account : KUBE_SERVICE_ACCOUNT,
                                  getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT"),
                                  access, info);
}

enum err kube_open(uv_loop_t *loop, const struct kube_options *options, struct kube **ret_kube,
                   struct errinfo *info)
{
    struct kube_access access;
    enum err e = open_access(options, &access, info);
    if (e)
        return e;
    struct kube *k = calloc(1, sizeof *k);
    if (!k) {
        kube_access_free(&access);
        return errinfo_set(info, ERR_NOMEM, 0, "out of memory");
    }
    k->loop = loop;
    k->options = *options;
    fill_defaults(&k->options);
    snprintf(k->user_agent, sizeof k->user_agent, "%.63s", k->options.user_agent);
    kube_bucket_init(&k->bucket, k->options.rate_per_s, k->options.burst);
    random_bytes(&k->random, sizeof k->random);
    list_init(&k->waiting);
    list_init(&k->sent);
    list_init(&k->watches);
    e = kube_credentials_open(loop, &access, on_credentials, k, &k->credentials, info);
    if (e)
        kube_access_free(&access);
    else if (http_client_open(loop, &k->http)) {
        kube_credentials_close(k->credentials);
        e = errinfo_set(info, ERR_NOMEM, 0, "out of memory");
    }
    if (e) {
        free(k);
        return e;
    }
    uv_timer_init(loop, &k->timer);
    k->timer.data = k;
    k->open_parts = 2;
    *ret_kube = k;
    return ERR_OK;
}

void kube_part_closed(struct kube *k)
{
    if (--k->open_parts > 0)
        return;
    if (k->closed)
        k->closed(k->closed_arg);
    free(k);
}

static void on_timer_closed(uv_handle_t *handle)
{
    kube_part_closed(handle->data);
}

static void on_http_closed(void *arg)
{
    kube_part_closed(arg);
}

void kube_close(struct kube *k, void (*closed)(void *arg), void *arg)
{
    k->closing = true;
    k->closed = closed;
    k->closed_arg = arg;
    while (!list_empty(&k->watches))
        kube_watch_close(kube_watch_of(k->watches.next));
    list_each(waiting, &k->waiting, struct kube_call, link)
    {
        call_unlink(waiting);
        call_free(waiting);
    }
    list_each(sent, &k->sent, struct kube_call, link)
    {
        call_unlink(sent);
        call_free(sent);
    }
    kube_credentials_close(k->credentials);
    uv_close((uv_handle_t *)&k->timer, on_timer_closed);
    http_client_close(k->http, on_http_closed, k);
}

const char *kube_server(const struct kube *k)
{
    return kube_credentials_access(k->credentials)->server;
}

const char *kube_namespace(const struct kube *k)
{
    const char *ns = kube_credentials_access(k->credentials)->ns;
    return ns ? ns : "default";
}

const struct kube_stats *kube_stats(struct kube *k)
{
    int64_t left = k->pause_end_ns - clock_mono_ns();
    k->stats.paused_ms = left > 0 ? left / KUBE_MS + 1 : 0;
    k->stats.in_flight = k->sent_count;
    k->stats.waiting = k->waiting_count;
    return &k->stats;
}
