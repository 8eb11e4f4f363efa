/* SPDX-License-Identifier: Apache-2.0 */
/* Traps of libcurl 7.88 kept here: curl_multi_socket_action is never called inside the timer callback, a poll
   handle is stopped at REMOVE before the descriptor is closed, finished transfers are drained after each
   action. */
#include "io/http/client.h"

#include "base/list.h"

#include <assert.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_CONNECT_MS = 5000, DEFAULT_MAX_BODY = 1 << 20, LOCATION_MAX = 512 };

struct http_client {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;
    struct list calls;
    struct list resumed; /* go on when the loop comes round */
    uv_idle_t resume;
    unsigned handles; /* uv handles not yet closed */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct http_call {
    struct list link;
    struct http_client *client;
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    struct buf body; /* of the answer */
    char location[LOCATION_MAX];
    int retry_after_s;
    bool connect_only;
    bool send_paused, receive_paused;
    size_t (*read)(void *arg, char *room, size_t size);
    bool (*data)(void *arg, int status, struct str bytes);
    void (*header)(void *arg, struct str name, struct str value);
    void (*began)(void *arg, int status);
    struct list paused; /* client->resumed, when it is to go on */
    http_call_cb cb;
    void *arg;
    char error[CURL_ERROR_SIZE];
};

struct watch {
    uv_poll_t poll;
    struct http_client *client;
    curl_socket_t fd;
};

static void handle_gone(struct http_client *c)
{
    if (--c->handles > 0 || !c->closing)
        return;
    if (c->closed)
        c->closed(c->closed_arg);
    free(c);
}

static void watch_closed(uv_handle_t *handle)
{
    struct watch *w = handle->data;
    struct http_client *c = w->client;
    free(w);
    handle_gone(c);
}

/* Apart from call_release(), so that a callback may close the client. */
static void call_detach(struct http_call *call)
{
    list_remove(&call->link);
    list_remove(&call->paused);
    curl_multi_remove_handle(call->client->multi, call->easy);
}

static void call_release(struct http_call *call)
{
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    curl_slist_free_all(call->connect_to);
    buf_free(&call->body);
    free(call);
}

static enum err err_of(CURLcode code, const struct http_call *call)
{
    if (buf_status(&call->body))
        return buf_status(&call->body);
    bool untrusted = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
    return code == CURLE_OK                   ? ERR_OK
           : code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT
           : untrusted                        ? ERR_DENIED
                                              : ERR_IO;
}

static void call_finish(struct http_call *call, CURLcode code)
{
    enum err e = err_of(code, call);
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    struct http_answer answer = {
        .status = (int)status,
        .body = buf_str(&call->body),
        .location = call->location[0] ? call->location : NULL,
        .retry_after_s = call->retry_after_s,
    };
    if (call->connect_only && !e) {
        call->cb(call->arg, ERR_OK, NULL, &answer);
        return;
    }
    const char *why = e == ERR_FULL    ? "the answer is too long"
                      : call->error[0] ? call->error
                                       : curl_easy_strerror(code);
    call_detach(call);
    call->cb(call->arg, e, e ? why : NULL, e ? NULL : &answer);
    call_release(call);
}

static void drain(struct http_client *c)
{
    CURLMsg *msg;
    int left;
    while (!c->closing && (msg = curl_multi_info_read(c->multi, &left))) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        struct http_call *call = NULL;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        call_finish(call, msg->data.result);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    struct http_client *c = w->client;
    int flags = 0, running;
    if (status < 0)
        flags = CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(c->multi, w->fd, flags, &running);
    drain(c);
}

static void on_timer(uv_timer_t *timer)
{
    struct http_client *c = timer->data;
    int running;
    curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    drain(c);
}

static int set_timer(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    struct http_client *c = arg;
    if (timeout_ms < 0 || c->closing)
        uv_timer_stop(&c->timer);
    else
        uv_timer_start(&c->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static void watch_stop(struct http_client *c, struct watch *w)
{
    uv_poll_stop(&w->poll);
    curl_multi_assign(c->multi, w->fd, NULL);
    uv_close((uv_handle_t *)&w->poll, watch_closed);
}

static struct watch *watch_start(struct http_client *c, curl_socket_t fd)
{
    struct watch *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->client = c;
    w->fd = fd;
    if (uv_poll_init_socket(c->loop, &w->poll, fd)) {
        free(w);
        return NULL;
    }
    w->poll.data = w;
    c->handles++;
    curl_multi_assign(c->multi, fd, w);
    return w;
}

static int set_watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    (void)easy;
    struct http_client *c = arg;
    struct watch *w = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (w)
            watch_stop(c, w);
        return 0;
    }
    if (!w && !(w = watch_start(c, fd)))
        return -1;
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&w->poll, events, on_poll) ? -1 : 0;
}

enum err http_client_open(uv_loop_t *loop, struct http_client **ret_client)
{
    struct http_client *c = calloc(1, sizeof *c);
    if (!c || curl_global_init(CURL_GLOBAL_DEFAULT) || !(c->multi = curl_multi_init())) {
        free(c);
        return ERR_NOMEM;
    }
    c->loop = loop;
    list_init(&c->calls);
    list_init(&c->resumed);
    uv_timer_init(loop, &c->timer);
    uv_idle_init(loop, &c->resume);
    c->timer.data = c->resume.data = c;
    c->handles = 2;
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, set_watch);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    *ret_client = c;
    return ERR_OK;
}

static void handle_closed(uv_handle_t *handle)
{
    handle_gone(handle->data);
}

void http_client_close(struct http_client *c, void (*closed)(void *arg), void *arg)
{
    c->closing = true;
    c->closed = closed;
    c->closed_arg = arg;
    list_each(call, &c->calls, struct http_call, link) http_call_cancel(call);
    curl_multi_cleanup(c->multi); /* removes its sockets: set_watch runs */
    uv_timer_stop(&c->timer);
    uv_close((uv_handle_t *)&c->timer, handle_closed);
    uv_close((uv_handle_t *)&c->resume, handle_closed);
}

static int status_of(const struct http_call *call)
{
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

static size_t on_body(char *data, size_t one, size_t n, void *arg)
{
    (void)one;
    struct http_call *call = arg;
    int status = status_of(call);
    if (call->data && status >= 200 && status <= 299) {
        call->receive_paused = !call->data(call->arg, status, (struct str){.p = data, .n = n});
        return call->receive_paused ? CURL_WRITEFUNC_PAUSE : n;
    }
    buf_append(&call->body, data, n);
    return buf_status(&call->body) ? 0 : n;
}

static bool header_value(struct str line, struct str name, struct str *ret_value)
{
    struct str rest = line;
    struct str key = str_split(&rest, ':');
    if (!rest.p || !str_eq_nocase(key, name))
        return false;
    while (rest.n && (rest.p[rest.n - 1] == '\r' || rest.p[rest.n - 1] == '\n'))
        rest.n--;
    *ret_value = str_trim(rest);
    return true;
}

static void tell_header(struct http_call *call, struct str line)
{
    struct str rest = line, name = str_split(&rest, ':');
    while (rest.n && (rest.p[rest.n - 1] == '\r' || rest.p[rest.n - 1] == '\n'))
        rest.n--;
    if (rest.p)
        call->header(call->arg, name, str_trim(rest));
}

static size_t on_read(char *room, size_t one, size_t size, void *arg)
{
    struct http_call *call = arg;
    size_t n = call->read(call->arg, room, one * size);
    call->send_paused = n == 0;
    return n ? n : CURL_READFUNC_PAUSE;
}

static size_t on_header(char *data, size_t one, size_t n, void *arg)
{
    (void)one;
    struct http_call *call = arg;
    struct str line = {.p = data, .n = n}, value;
    int64_t seconds;
    if (call->header)
        tell_header(call, line);
    if (call->began && (str_eq(line, STR("\r\n")) || str_eq(line, STR("\n"))))
        call->began(call->arg, status_of(call));
    if (header_value(line, STR("location"), &value) && value.n < sizeof call->location)
        memcpy(call->location, value.p, value.n);
    else if (header_value(line, STR("retry-after"), &value) && !str_to_i64(value, &seconds) && seconds >= 0 &&
             seconds < 86400)
        call->retry_after_s = (int)seconds;
    return n;
}

static enum err call_headers(struct http_call *call, const struct http_call_options *options)
{
    /* An empty Expect keeps libcurl from asking leave for each body. */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    for (const char *const *h = options->headers; list && h && *h; h++) {
        struct curl_slist *longer = curl_slist_append(list, *h);
        if (!longer)
            curl_slist_free_all(list);
        list = longer;
    }
    call->headers = list;
    if (options->connect_to) {
        char rule[512];
        int n = snprintf(rule, sizeof rule, "::%s", options->connect_to);
        call->connect_to = n > 0 && (size_t)n < sizeof rule ? curl_slist_append(NULL, rule) : NULL;
    }
    return list && (call->connect_to || !options->connect_to) ? ERR_OK : ERR_NOMEM;
}

static void set_blob(CURL *easy, CURLoption option, struct str pem)
{
    /* libcurl copies: its struct has no const. */
    struct curl_blob blob = {.data = (void *)(uintptr_t)pem.p, .len = pem.n, .flags = CURL_BLOB_COPY};
    if (pem.p)
        curl_easy_setopt(easy, option, &blob);
}

/* Who the server is, and who we are to it. */
static void setup_peer(struct http_call *call, const struct http_call_options *options)
{
    CURL *easy = call->easy;
    if (options->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, options->ca_file);
    if (options->ca_file || options->ca_pem.p)
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* the system's folder would be trusted as well */
    set_blob(easy, CURLOPT_CAINFO_BLOB, options->ca_pem);
    set_blob(easy, CURLOPT_SSLCERT_BLOB, options->cert_pem);
    set_blob(easy, CURLOPT_SSLKEY_BLOB, options->key_pem);
    if (options->insecure) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (options->unix_socket)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, options->unix_socket);
    if (call->connect_to)
        curl_easy_setopt(easy, CURLOPT_CONNECT_TO, call->connect_to);
    if (options->keepalive) {
        curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
        curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 15L);
        curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 15L);
    }
}

static void call_setup(struct http_call *call, const struct http_call_options *options)
{
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_URL, options->url);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, options->method);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)options->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(options->connect_timeout_ms ? options->connect_timeout_ms : DEFAULT_CONNECT_MS));
    if (options->connect_only) {
        curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    }
    if (options->body.p) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)options->body.n);
        curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, options->body.p);
    }
    if (!strcmp(options->method, "HEAD"))
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    if (options->stall_ms) {
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)(options->stall_ms + 999) / 1000);
    }
    if (options->upload) {
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)options->upload_size);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(easy, CURLOPT_READDATA, call);
    }
}

enum err http_client_send(struct http_client *c, const struct http_call_options *options, http_call_cb cb,
                          void *arg, struct http_call **ret_call)
{
    assert(!c->closing);
    struct http_call *call = calloc(1, sizeof *call);
    if (!call)
        return ERR_NOMEM;
    *call = (struct http_call){
        .client = c, .cb = cb, .arg = arg, .retry_after_s = -1, .connect_only = options->connect_only};
    list_init(&call->link);
    list_init(&call->paused);
    call->read = options->read;
    call->data = options->data;
    call->header = options->header;
    call->began = options->began;
    buf_init(&call->body, options->max_body ? options->max_body : DEFAULT_MAX_BODY);
    call->easy = curl_easy_init();
    if (!call->easy || call_headers(call, options)) {
        call_release(call);
        return ERR_NOMEM;
    }
    call_setup(call, options);
    setup_peer(call, options);
    list_append(&c->calls, &call->link);
    if (curl_multi_add_handle(c->multi, call->easy)) {
        http_call_cancel(call);
        return ERR_NOMEM;
    }
    if (ret_call)
        *ret_call = call;
    return ERR_OK;
}

void http_call_cancel(struct http_call *call)
{
    call_detach(call);
    call_release(call);
}

/* libcurl may call back from within curl_easy_pause(), so that is done from the loop. */
static void on_resume(uv_idle_t *idle)
{
    struct http_client *c = idle->data;
    while (!list_empty(&c->resumed)) {
        struct http_call *call = list_first(&c->resumed, struct http_call, paused);
        list_remove(&call->paused);
        int still = (call->send_paused ? CURLPAUSE_SEND : 0) | (call->receive_paused ? CURLPAUSE_RECV : 0);
        curl_easy_pause(call->easy, still);
    }
    uv_idle_stop(idle);
    drain(c);
}

static void go_on(struct http_call *call)
{
    list_remove(&call->paused);
    list_append(&call->client->resumed, &call->paused);
    uv_idle_start(&call->client->resume, on_resume);
}

void http_call_send_on(struct http_call *call)
{
    call->send_paused = false;
    go_on(call);
}

void http_call_receive_on(struct http_call *call)
{
    call->receive_paused = false;
    go_on(call);
}

int http_raw_fd(struct http_call *call)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    curl_easy_getinfo(call->easy, CURLINFO_ACTIVESOCKET, &fd);
    return fd;
}

enum err http_raw_send(struct http_call *call, struct str bytes, size_t *ret_sent)
{
    CURLcode code = curl_easy_send(call->easy, bytes.p, bytes.n, ret_sent);
    return code == CURLE_OK ? ERR_OK : code == CURLE_AGAIN ? ERR_AGAIN : ERR_IO;
}

enum err http_raw_receive(struct http_call *call, char *room, size_t size, size_t *ret_got)
{
    CURLcode code = curl_easy_recv(call->easy, room, size, ret_got);
    return code == CURLE_OK ? ERR_OK : code == CURLE_AGAIN ? ERR_AGAIN : ERR_IO;
}
