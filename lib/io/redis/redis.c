/* SPDX-License-Identifier: Apache-2.0 */
/* One `struct redis` has at most one live `struct link` (a socket with what is in flight on it). A lost link lives
   on, without an owner, until libuv has let go of it; so nothing of an old connection reaches a new one. */
#include "io/redis/redis.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "io/redis/codec.h"
#include "io/redis/pending.h"
#include "io/redis/tls.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_UNSENT = 1 << 26,
    MAX_REPLY = 80 << 20,
    READ_SIZE = 64 << 10,
    PAUSE_MIN_MS = 10,
    PAUSE_MAX_MS = 1000,
    KEEPALIVE_S = 15,
};

enum link_state { LINK_CONNECTING, LINK_TLS, LINK_LOGIN, LINK_UP, LINK_DEAD };

struct link {
    struct redis *r; /* NULL: dropped */
    enum link_state state;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } socket;
    uv_connect_t connect;
    uv_getaddrinfo_t resolve;
    uv_write_t write;
    unsigned holds; /* requests and the handle that libuv still knows */
    bool writing;
    struct redis_codec *codec;
    struct tls *tls;
    struct buf out, sending; /* to be encrypted and sent; with libuv */
    struct redis_pending pending;
    char input[READ_SIZE];
};

struct redis {
    uv_loop_t *loop;
    struct redis_options options;
    struct link *link; /* NULL while waiting to connect */
    uv_timer_t timer;  /* the pause before connecting, then the deadline of what is going on */
    uv_prepare_t flush;
    unsigned pause_ms, handles;
    bool closing, suspicious; /* overdue, but give the loop one turn: it may be we who stood still */
    void (*closed)(void *arg);
    void *closed_arg;
};

static void link_drop(struct link *l, const char *why);
static void start_connecting(struct redis *r);

/* ---- memory ---- */

static void link_release(struct link *l)
{
    if (--l->holds > 0)
        return;
    redis_codec_free(l->codec);
    tls_free(l->tls);
    buf_free(&l->out);
    buf_free(&l->sending);
    redis_pending_free(&l->pending);
    free(l);
}

static void on_link_closed(uv_handle_t *handle)
{
    link_release(handle->data);
}

/* ---- time ---- */

static void on_timer(uv_timer_t *timer);

static void arm(struct redis *r, uint64_t deadline)
{
    uint64_t now = uv_now(r->loop);
    uv_timer_start(&r->timer, on_timer, deadline > now ? deadline - now : 0, 0);
}

static void arm_oldest(struct link *l)
{
    if (l->pending.count > 0)
        arm(l->r, redis_pending_oldest(&l->pending)->deadline);
    else
        uv_timer_stop(&l->r->timer);
}

static void on_timer(uv_timer_t *timer)
{
    struct redis *r = timer->data;
    struct link *l = r->link;
    if (!l) {
        start_connecting(r);
    } else if (l->state == LINK_CONNECTING || l->state == LINK_TLS) {
        link_drop(l, "connecting timed out");
    } else if (l->pending.count > 0 && redis_pending_oldest(&l->pending)->deadline <= uv_now(r->loop)) {
        if (!r->suspicious) {
            r->suspicious = true;
            arm(r, uv_now(r->loop) + 20);
        } else {
            link_drop(l, "no answer in time");
        }
    } else {
        arm_oldest(l);
    }
}

/* ---- losing a connection ---- */

static void fail_pending(struct link *l)
{
    while (l->pending.count > 0) {
        struct redis_waiter p = redis_pending_pop(&l->pending);
        if (p.cb)
            p.cb(p.arg, NULL);
    }
}

static void link_drop(struct link *l, const char *why)
{
    struct redis *r = l->r;
    if (!r)
        return;
    char reason[256];
    snprintf(reason, sizeof reason, "%s", why);
    l->r = NULL;
    l->state = LINK_DEAD;
    r->link = NULL;
    r->suspicious = false;
    uv_prepare_stop(&r->flush);
    if (l->holds > 1)
        uv_cancel((uv_req_t *)&l
                      ->resolve); /* fails when it is not waiting: then its callback is on the way, or was */
    uv_close(&l->socket.handle, on_link_closed);
    if (!r->closing) {
        arm(r, uv_now(r->loop) + r->pause_ms);
        r->pause_ms = r->pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : r->pause_ms * 2;
    }
    fail_pending(l);
    if (!r->closing && r->options.on_state)
        r->options.on_state(r->options.arg, false, reason);
}

/* ---- writing ---- */

static void flush_link(struct link *l);

static void on_written(uv_write_t *req, int status)
{
    struct link *l = req->data;
    l->writing = false;
    buf_free(&l->sending);
    if (l->r && status < 0)
        link_drop(l, uv_strerror(status));
    else if (l->r)
        flush_link(l);
    link_release(l);
}

/* What the socket does not take at once is handed to libuv; l->out is never longer than MAX_UNSENT. */
static void flush_link(struct link *l)
{
    if (l->writing || l->out.len == 0)
        return;
    uv_buf_t part = uv_buf_init(l->out.data, (unsigned)l->out.len);
    int sent = uv_try_write(&l->socket.stream, &part, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        link_drop(l, uv_strerror(sent));
        return;
    }
    if (sent > 0)
        buf_consume(&l->out, (size_t)sent);
    if (l->out.len == 0)
        return;
    l->sending = l->out;
    l->out = BUF_INIT(MAX_UNSENT);
    part = uv_buf_init(l->sending.data, (unsigned)l->sending.len);
    l->write.data = l;
    int e = uv_write(&l->write, &l->socket.stream, &part, 1, on_written);
    if (e < 0) {
        link_drop(l, uv_strerror(e));
        return;
    }
    l->writing = true;
    l->holds++;
}

static void on_flush(uv_prepare_t *prepare)
{
    struct redis *r = prepare->data;
    uv_prepare_stop(prepare);
    if (r->link)
        flush_link(r->link);
}

static enum err put(struct link *l, const struct str *args, size_t count)
{
    size_t total = 16;
    for (size_t i = 0; i < count; i++)
        total += args[i].n + 32;
    if (l->out.len + l->sending.len + total > MAX_UNSENT)
        return ERR_FULL;
    if (!l->tls) {
        redis_format(&l->out, args, count);
        return buf_status(&l->out);
    }
    auto_buf plain = BUF_INIT(MAX_UNSENT);
    redis_format(&plain, args, count);
    enum err e = buf_status(&plain);
    return e ? e : tls_write(l->tls, buf_str(&plain), &l->out);
}

static enum err link_command(struct link *l, const struct str *args, size_t count, int timeout_ms,
                             redis_cb cb, void *arg)
{
    int wait = timeout_ms > 0 ? timeout_ms : l->r->options.command_timeout_ms;
    enum err e = redis_pending_push(
        &l->pending,
        (struct redis_waiter){.cb = cb, .arg = arg, .deadline = uv_now(l->r->loop) + (uint64_t)wait});
    if (e)
        return e;
    e = put(l, args, count);
    if (e) {
        redis_pending_take_back(&l->pending);
        return e;
    }
    if (l->pending.count == 1)
        arm_oldest(l);
    uv_prepare_start(&l->r->flush, on_flush);
    return ERR_OK;
}

/* ---- reading ---- */

static bool is_push(const struct redis_value *v, const char *kind)
{
    return v->type == REDIS_ARRAY && str_eq(redis_text(redis_item(v, 0)), str_of(kind));
}

static void take_reply(struct link *l, const struct redis_value *v)
{
    struct redis *r = l->r;
    r->suspicious = false;
    if (r->options.on_message && is_push(v, "message")) {
        r->options.on_message(r->options.arg, redis_text(redis_item(v, 1)), redis_text(redis_item(v, 2)));
        return;
    }
    if (r->options.on_message && is_push(v, "unsubscribe"))
        return;
    if (l->pending.count == 0) {
        link_drop(l, "a reply that nobody asked for");
        return;
    }
    struct redis_waiter p = redis_pending_pop(&l->pending);
    arm_oldest(l);
    if (p.cb)
        p.cb(p.arg, v);
}

static void take_plain(struct link *l, struct str bytes)
{
    enum err e = redis_codec_feed(l->codec, bytes);
    struct redis_value *v = NULL;
    while (!e && l->r && (e = redis_codec_next(l->codec, &v)) == ERR_OK) {
        take_reply(l, v);
        redis_value_free(v);
    }
    if (e && e != ERR_AGAIN && l->r)
        link_drop(l, e == ERR_FULL ? "a reply above the limit" : "a reply that is not RESP");
}

static void login(struct link *l);

static void take_encrypted(struct link *l, struct str bytes)
{
    struct errinfo info = {0};
    enum err e = tls_feed(l->tls, bytes);
    if (!e && l->state == LINK_TLS) {
        e = tls_handshake(l->tls, &l->out, &info);
        flush_link(l);
        if (!e && l->r)
            login(l);
    }
    if (e == ERR_AGAIN)
        return;
    if (e && l->r)
        link_drop(l, info.code ? info.text : "TLS failed");
    char plain[16 << 10];
    long got = 0;
    while (l->r && (got = tls_read(l->tls, plain, sizeof plain, &l->out)) > 0)
        take_plain(l, (struct str){plain, (size_t)got});
    if (got < 0 && l->r)
        link_drop(l, "the TLS connection was closed");
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct link *l = handle->data;
    (void)suggested; /* libuv's guess; ours is part of the link */
    *buf = uv_buf_init(l->input, READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct link *l = stream->data;
    if (n == 0 || !l->r)
        return;
    if (n < 0)
        link_drop(l, n == UV_EOF ? "the server closed the connection" : uv_strerror((int)n));
    else if (l->tls)
        take_encrypted(l, (struct str){buf->base, (size_t)n});
    else
        take_plain(l, (struct str){buf->base, (size_t)n});
}

/* ---- connecting ---- */

static void on_login(void *arg, const struct redis_value *v)
{
    struct link *l = arg;
    if (!v || !l->r)
        return;
    if (v->type != REDIS_ERROR)
        return;
    char why[200];
    snprintf(why, sizeof why, "login: " STR_FMT, STR_ARG(v->text));
    link_drop(l, why);
}

static void on_first_pong(void *arg, const struct redis_value *v)
{
    struct link *l = arg;
    on_login(arg, v);
    if (!v || !l->r)
        return;
    struct redis *r = l->r;
    l->state = LINK_UP;
    r->pause_ms = PAUSE_MIN_MS;
    if (r->options.on_state)
        r->options.on_state(r->options.arg, true, "connected");
}

static void login(struct link *l)
{
    const struct redis_url *url = &l->r->options.url;
    char db[12];
    enum err e = ERR_OK;
    l->state = LINK_LOGIN;
    if (url->user[0])
        e = link_command(l, (struct str[]){STR("AUTH"), str_of(url->user), str_of(url->password)}, 3, 0,
                         on_login, l);
    else if (url->password[0])
        e = link_command(l, (struct str[]){STR("AUTH"), str_of(url->password)}, 2, 0, on_login, l);
    if (!e && url->db) {
        snprintf(db, sizeof db, "%u", url->db);
        e = link_command(l, (struct str[]){STR("SELECT"), str_of(db)}, 2, 0, on_login, l);
    }
    if (!e)
        e = link_command(l, (struct str[]){STR("PING")}, 1, 0, on_first_pong, l);
    if (e)
        link_drop(l, err_text(e));
}

static void begin_tls(struct link *l)
{
    struct errinfo info = {0};
    enum err e = tls_new(l->r->options.url.host, l->r->options.ca_file, &l->tls, &info);
    if (!e) {
        l->state = LINK_TLS;
        e = tls_handshake(l->tls, &l->out, &info);
    }
    if (e && e != ERR_AGAIN)
        link_drop(l, info.text);
    else
        flush_link(l);
}

static void on_connected(uv_connect_t *req, int status)
{
    struct link *l = req->data;
    if (l->r && status == 0)
        status = uv_read_start(&l->socket.stream, on_alloc, on_read);
    if (l->r && status < 0)
        link_drop(l, uv_strerror(status));
    else if (l->r && l->r->options.url.tls)
        begin_tls(l);
    else if (l->r)
        login(l);
    link_release(l);
}

static void connect_to(struct link *l, const struct sockaddr *address)
{
    uv_tcp_nodelay(&l->socket.tcp, 1);
    uv_tcp_keepalive(&l->socket.tcp, 1, KEEPALIVE_S);
    int e = uv_tcp_connect(&l->connect, &l->socket.tcp, address, on_connected);
    if (e < 0)
        link_drop(l, uv_strerror(e));
    else
        l->holds++;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct link *l = req->data;
    if (l->r && status == 0)
        connect_to(l, found->ai_addr);
    else if (l->r)
        link_drop(l, uv_strerror(status));
    uv_freeaddrinfo(found);
    link_release(l);
}

static void connect_network(struct link *l)
{
    const struct redis_url *url = &l->r->options.url;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (uv_ip4_addr(url->host, url->port, &v4) == 0) {
        connect_to(l, (const struct sockaddr *)&v4);
        return;
    }
    if (uv_ip6_addr(url->host, url->port, &v6) == 0) {
        connect_to(l, (const struct sockaddr *)&v6);
        return;
    }
    char port[8];
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    snprintf(port, sizeof port, "%u", url->port);
    l->resolve.data = l;
    int e = uv_getaddrinfo(l->r->loop, &l->resolve, on_resolved, url->host, port, &hints);
    if (e < 0)
        link_drop(l, uv_strerror(e));
    else
        l->holds++;
}

static struct link *link_new(struct redis *r)
{
    struct link *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->codec = redis_codec_new(r->options.max_reply);
    int e = -1;
    if (l->codec)
        e = r->options.url.local ? uv_pipe_init(r->loop, &l->socket.pipe, 0)
                                 : uv_tcp_init(r->loop, &l->socket.tcp);
    if (e < 0) {
        redis_codec_free(l->codec);
        free(l);
        return NULL;
    }
    l->r = r;
    l->holds = 1;
    l->socket.handle.data = l;
    l->connect.data = l;
    l->out = BUF_INIT(MAX_UNSENT);
    l->sending = BUF_INIT(MAX_UNSENT);
    return l;
}

static void start_connecting(struct redis *r)
{
    struct link *l = link_new(r);
    if (!l) {
        arm(r, uv_now(r->loop) + PAUSE_MAX_MS);
        return;
    }
    r->link = l;
    arm(r, uv_now(r->loop) + (uint64_t)r->options.connect_timeout_ms);
    if (r->options.url.local) {
        l->holds++;
        uv_pipe_connect(&l->connect, &l->socket.pipe, r->options.url.host, on_connected);
    } else {
        connect_network(l);
    }
}

/* ---- interface ---- */

enum err redis_open(uv_loop_t *loop, const struct redis_options *options, struct redis **ret_redis,
                    struct errinfo *info)
{
    struct redis *r = calloc(1, sizeof *r);
    if (!r)
        return errinfo_set(info, ERR_NOMEM, 0, "Redis connection");
    signal(SIGPIPE, SIG_IGN); /* libuv writes without MSG_NOSIGNAL: a server that went away must not end us */
    r->loop = loop;
    r->options = *options;
    r->pause_ms = PAUSE_MIN_MS;
    r->options.max_reply = options->max_reply ? options->max_reply : MAX_REPLY;
    r->options.connect_timeout_ms = options->connect_timeout_ms > 0 ? options->connect_timeout_ms : 2000;
    r->options.command_timeout_ms = options->command_timeout_ms > 0 ? options->command_timeout_ms : 5000;
    r->handles = 2;
    uv_timer_init(loop, &r->timer);
    uv_prepare_init(loop, &r->flush);
    r->timer.data = r;
    r->flush.data = r;
    uv_timer_start(&r->timer, on_timer, 0, 0); /* no callback before we return */
    *ret_redis = r;
    return ERR_OK;
}

static void on_part_closed(uv_handle_t *handle)
{
    struct redis *r = handle->data;
    if (--r->handles > 0)
        return;
    void (*closed)(void *arg) = r->closed;
    void *arg = r->closed_arg;
    free(r);
    if (closed)
        closed(arg);
}

void redis_close(struct redis *r, void (*closed)(void *arg), void *arg)
{
    r->closing = true;
    r->closed = closed;
    r->closed_arg = arg;
    if (r->link)
        link_drop(r->link, "closed");
    uv_close((uv_handle_t *)&r->timer, on_part_closed);
    uv_close((uv_handle_t *)&r->flush, on_part_closed);
}

bool redis_up(const struct redis *r)
{
    return r->link && r->link->state == LINK_UP;
}

void redis_reset(struct redis *r, const char *why)
{
    if (r->link)
        link_drop(r->link, why);
}

enum err redis_command(struct redis *r, const struct str *args, size_t count, int timeout_ms, redis_cb cb,
                       void *arg)
{
    return redis_up(r) ? link_command(r->link, args, count, timeout_ms, cb, arg) : ERR_CLOSED;
}

enum err redis_subscribe(struct redis *r, struct str channel, redis_cb cb, void *arg)
{
    return redis_command(r, (struct str[]){STR("SUBSCRIBE"), channel}, 2, 0, cb, arg);
}

enum err redis_unsubscribe(struct redis *r, struct str channel)
{
    if (!redis_up(r))
        return ERR_CLOSED;
    enum err e = put(r->link, (struct str[]){STR("UNSUBSCRIBE"), channel}, 2);
    uv_prepare_start(&r->flush, on_flush);
    return e;
}
