/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/internal.h"

#include <stdio.h>
#include <string.h>

/* The URL of a request. With a tls-server-name that name stands in it, and `connect_to` is where the server really is. */
static void build_url(const struct kube_access *a, struct str target, struct buf *url, struct buf *connect_to)
{
    if (!a->tls_server_name) {
        buf_printf(url, "%s" STR_FMT, a->server, STR_ARG(target));
        return;
    }
    const char *host = strstr(a->server, "://") + 3;
    size_t n = strcspn(host, "/");
    struct str place = {.p = host, .n = n};
    bool bracket = memchr(host, ']', n) != NULL;
    const char *colon = bracket ? strstr(host, "]:") : memchr(host, ':', n);
    struct str port = colon ? (struct str){.p = colon + (bracket ? 2 : 1), .n = n} : STR("443");
    if (colon)
        port.n = (size_t)(host + n - port.p);
    buf_printf(connect_to, STR_FMT "%s", STR_ARG(place), colon ? "" : ":443");
    buf_printf(url, "https://%s:" STR_FMT "%s" STR_FMT, a->tls_server_name, STR_ARG(port), host + n,
               STR_ARG(target));
}

static enum err send_with(struct kube *k, const struct kube_try *how, const struct kube_material *m,
                          http_call_cb cb, void *arg, struct http_call **ret_call)
{
    const struct kube_access *a = kube_credentials_access(k->credentials);
    auto_buf url = BUF_INIT(64 << 10), connect_to = BUF_INIT(512), token = BUF_INIT(128 << 10),
             type = BUF_INIT(128), agent = BUF_INIT(128);
    build_url(a, buf_str(&how->request->target), &url, &connect_to);
    if (m->token.p)
        buf_printf(&token, "Authorization: Bearer " STR_FMT, STR_ARG(m->token));
    buf_printf(&type, "Content-Type: %s", how->request->type ? how->request->type : "");
    buf_printf(&agent, "User-Agent: %s", k->user_agent);
    const char *headers[5] = {"Accept: application/json", buf_cstr(&agent)};
    size_t n = 2;
    if (how->request->type)
        headers[n++] = buf_cstr(&type);
    if (m->token.p)
        headers[n++] = buf_cstr(&token);
    if (buf_status(&url) || buf_status(&connect_to) || buf_status(&token) || buf_status(&type) ||
        buf_status(&agent))
        return ERR_NOMEM;
    struct http_call_options options = {
        .method = how->request->method,
        .url = buf_cstr(&url),
        .headers = headers,
        .body = how->request->type ? buf_str(&how->request->body) : (struct str){.p = NULL, .n = 0},
        .timeout_ms = how->timeout_ms,
        .max_body = KUBE_ANSWER_MAX,
        .ca_pem = m->ca,
        .cert_pem = m->cert,
        .key_pem = m->key,
        .insecure = a->insecure,
        .connect_to = connect_to.len ? buf_cstr(&connect_to) : NULL,
        .keepalive = true,
        .data = how->data,
        .began = how->began,
    };
    return http_client_send(k->http, &options, cb, arg, ret_call);
}

enum err kube_send(struct kube *k, const struct kube_try *how, http_call_cb cb, void *arg,
                   struct http_call **ret_call, struct kube_status *ret_status)
{
    struct kube_material material;
    const char *why = "";
    enum err e = kube_credentials_get(k->credentials, &material, &why);
    if (!e) {
        e = send_with(k, how, &material, cb, arg, ret_call);
        why = "out of memory";
        k->stats.sent += !e;
    }
    if (e && e != ERR_AGAIN) {
        *ret_status = (struct kube_status){.reason = KUBE_CREDENTIALS, .retry_after_s = -1};
        snprintf(ret_status->message, sizeof ret_status->message, "%.*s", KUBE_MESSAGE_MAX, why);
        e = ERR_DENIED;
    }
    return e;
}

void kube_status_of(enum err e, const char *why, const struct http_answer *answer,
                    struct kube_status *ret_status)
{
    if (!e && (answer->status < 200 || answer->status > 299)) {
        kube_status_read(answer->status, answer->body, ret_status);
        if (ret_status->retry_after_s < 0)
            ret_status->retry_after_s = answer->retry_after_s;
        return;
    }
    *ret_status = (struct kube_status){.reason = !e               ? KUBE_OK
                                                 : e == ERR_FULL  ? KUBE_TOO_LONG
                                                 : e == ERR_NOMEM ? KUBE_TOO_LONG
                                                                  : KUBE_NO_ANSWER,
                                       .code = e ? 0 : answer->status,
                                       .retry_after_s = -1};
    if (e)
        snprintf(ret_status->message, sizeof ret_status->message, "%.*s", KUBE_MESSAGE_MAX, why);
}
