/* SPDX-License-Identifier: Apache-2.0 */
/* The glue to libwebsockets: sockets are accepted here and adopted in its raw role; it polls them on our uv
   loop and writes. Its HTTP role is not used: it merges repeated headers, reads Content-Length with atoll,
   accepts bare LF and unmasked frames, and hands out no raw head to check, so no strict reading can be put on
   top of it. */
#include "io/http/server.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/http/conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libwebsockets.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

static_assert(CONN_OUT_PRE >= LWS_PRE, "libwebsockets may write so many bytes in front of a buffer");

enum { TICK_MS = 500, ACCEPT_BURST = 64, ACCEPT_PAUSE_MS = 25, BACKLOG = 4096, SPARE_FILES = 64 };

/* One adopted socket. */
struct wire {
    struct http_server *server;
    struct lws *wsi;
    struct http_conn *conn;
    struct list doomed;
    bool in_callback, close_wanted;
};

struct http_server {
    struct conn_env env;
    uv_loop_t *loop;
    struct lws_context *context;
    struct lws_vhost *vhost;
    struct list doomed;
    int listen_fd, port;
    int reserve; /* a descriptor that is kept for a connection too many; -1: in use */
    unsigned max_connections;
    bool accepting, closing;
    bool full; /* no connection is taken until the pause is over */
    unsigned open_handles;
    uv_poll_t listener;
    uv_timer_t ticker, reaper, pause;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- the transport of a connection ---- */

static bool wire_write(void *wire, char *bytes, size_t n, bool *ret_blocked)
{
    struct wire *w = wire;
    if (w->wsi == NULL || lws_write(w->wsi, (unsigned char *)bytes, n, LWS_WRITE_RAW) < (int)n)
        return false;
    *ret_blocked = lws_partial_buffered(w->wsi) != 0;
    /* While libwebsockets holds unsent bytes it does not read, but would be woken by what it does not read.
     */
    if (*ret_blocked)
        lws_rx_flow_control(w->wsi, 0);
    return true;
}

static void wire_want_writable(void *wire)
{
    struct wire *w = wire;
    if (w->wsi != NULL)
        lws_callback_on_writable(w->wsi);
}

static void wire_read_on(void *wire, bool on)
{
    struct wire *w = wire;
    if (w->wsi != NULL)
        lws_rx_flow_control(w->wsi, on ? 1 : 0);
}

static void wire_finish_writing(void *wire)
{
    struct wire *w = wire;
    if (w->wsi != NULL)
        (void)shutdown(lws_get_socket_fd(w->wsi),
                       SHUT_WR); /* a socket that is gone already is closed by its next event */
}

/* Outside of libwebsockets' callbacks only: on_lws() is told at once. */
static void kill_wire(struct wire *w)
{
    list_remove(&w->doomed);
    lws_set_timeout(w->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

static void reap(uv_timer_t *timer)
{
    struct http_server *s = timer->data;
    list_each(w, &s->doomed, struct wire, doomed) kill_wire(w);
}

static void wire_close(void *wire)
{
    struct wire *w = wire;
    w->close_wanted = true;
    if (w->in_callback || w->wsi == NULL || w->server->closing)
        return;
    list_append(&w->server->doomed, &w->doomed);
    uv_timer_start(&w->server->reaper, reap, 0, 0);
}

static const struct conn_wire wire_ops = {
    .write = wire_write,
    .want_writable = wire_want_writable,
    .read_on = wire_read_on,
    .finish_writing = wire_finish_writing,
    .close = wire_close,
};

static void maybe_accept(struct http_server *s);

static void wire_gone(struct wire *w)
{
    struct http_server *s = w->server;
    list_remove(&w->doomed);
    w->wsi = NULL;
    conn_gone(w->conn);
    free(w);
    maybe_accept(s);
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)user;
    struct wire *w = wsi != NULL ? lws_get_opaque_user_data(wsi) : NULL;
    if (w == NULL)
        return 0;
    if (reason == LWS_CALLBACK_RAW_CLOSE) {
        lws_set_opaque_user_data(wsi, NULL);
        wire_gone(w);
        return 0;
    }
    w->in_callback = true;
    if (reason == LWS_CALLBACK_RAW_RX)
        conn_received(w->conn, (struct str){in, len});
    else if (reason == LWS_CALLBACK_RAW_WRITEABLE)
        conn_writable(w->conn);
    w->in_callback = false;
    return w->close_wanted ? -1 : 0;
}

static const struct lws_protocols protocols[] = {
    {.name = "millrace", .callback = on_lws, .per_session_data_size = 0, .rx_buffer_size = 0},
    {.name = NULL},
};

/* ---- accepting ---- */

static void peer_text(const struct sockaddr_storage *address, char out[46])
{
    out[0] = '\0';
    const void *from = NULL;
    if (address->ss_family == AF_INET)
        from = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    else if (address->ss_family == AF_INET6)
        from = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (from != NULL && inet_ntop(address->ss_family, from, out, 46) == NULL)
        out[0] = '\0';
}

/* NULL: closed. */
static struct http_conn *adopt(struct http_server *s, int fd, const struct sockaddr_storage *address)
{
    char peer[46];
    peer_text(address, peer);
    struct wire *w = calloc(1, sizeof *w);
    struct http_conn *conn = w != NULL ? conn_new(&s->env, w, peer) : NULL;
    if (conn == NULL) {
        free(w);
        close(fd);
        return NULL;
    }
    *w = (struct wire){.server = s, .conn = conn};
    list_init(&w->doomed);
    lws_sock_file_fd_type descriptor = {.sockfd = fd};
    struct lws *wsi = lws_adopt_descriptor_vhost(s->vhost, LWS_ADOPT_SOCKET, descriptor, "millrace", NULL);
    if (wsi == NULL) { /* it has closed fd */
        conn_gone(conn);
        free(w);
        return NULL;
    }
    w->wsi = wsi;
    lws_set_opaque_user_data(wsi, w);
    lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0); /* deadlines are ours */
    return conn;
}

static void stop_accepting(struct http_server *s)
{
    if (s->accepting)
        uv_poll_stop(&s->listener);
    s->accepting = false;
}

static void keep_reserve(struct http_server *s)
{
    if (s->reserve < 0)
        s->reserve = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0); /* any that is open */
}

static void on_pause_over(uv_timer_t *timer)
{
    struct http_server *s = timer->data;
    s->full = false;
    maybe_accept(s);
}

/* A peer that vanished without a FIN is found after a minute. None of these changes what is answered. */
static void set_socket_options(int fd)
{
    int one = 1, idle_s = 30, every_s = 10, count = 3;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

/* Takes a connection; `ret_conn` is NULL when it could not be kept. */
static enum err take_connection(struct http_server *s, struct http_conn **ret_conn)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int fd = accept4(s->listen_fd, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM ? ERR_FULL
                                                                                         : ERR_AGAIN;
    set_socket_options(fd);
    *ret_conn = adopt(s, fd, &address);
    return ERR_OK;
}

/* Who comes when nobody more can be taken is told so, with the descriptor that was kept for it, one at a time; the others wait,
   and we do not spin on a readable listener. */
static void turn_away(struct http_server *s, const char *why)
{
    struct http_conn *conn = NULL;
    log_limited(LOG_WARN, "a connection is turned away", F_STR("cause", why));
    if (s->reserve >= 0) {
        close(s->reserve);
        s->reserve = -1;
        if (take_connection(s, &conn) == ERR_OK && conn != NULL) {
            conn_refuse(conn, 503, "too many connections are open");
            conn_process(conn);
        }
    }
    stop_accepting(s);
    s->full = true;
    uv_timer_start(&s->pause, on_pause_over, ACCEPT_PAUSE_MS, 0);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct http_server *s = poll->data;
    keep_reserve(s); /* comes before any connection */
    for (int i = 0; i < ACCEPT_BURST; i++) {
        struct http_conn *conn = NULL;
        if (s->env.stats.connections >= s->max_connections) {
            turn_away(s, "max_connections");
            return;
        }
        enum err e = take_connection(s, &conn);
        if (e == ERR_FULL)
            turn_away(s, strerror(errno));
        if (e != ERR_OK)
            return;
    }
}

static void maybe_accept(struct http_server *s)
{
    if (s->accepting || s->closing || s->env.draining || s->listen_fd < 0 || s->full)
        return;
    s->accepting = uv_poll_start(&s->listener, UV_READABLE, on_listener) == 0;
}

static enum err bind_one(const struct addrinfo *ai, int *ret_fd)
{
    auto_fd fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1, zero = 0;
    if (fd < 0)
        return ERR_SYSTEM;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0)
        return ERR_SYSTEM;
    if (ai->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero,
                         sizeof zero); /* both families where that is possible */
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0)
        return ERR_SYSTEM;
    *ret_fd = steal_fd(&fd);
    return ERR_OK;
}

static int port_of(int fd)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        return 0;
    if (address.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)&address)->sin6_port);
    return ntohs(((const struct sockaddr_in *)(const void *)&address)->sin_port);
}

/* Numeric addresses and names from /etc/hosts; at start only, so a look-up may block. */
static enum err open_listener(struct http_server *s, struct errinfo *info)
{
    const struct http_server_options *o = &s->env.options;
    char port[8];
    snprintf(port, sizeof port, "%d", o->port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    const char *where = o->address != NULL ? o->address : "all addresses";
    int failed = getaddrinfo(o->address, port, &hints, &list);
    if (failed != 0)
        return errinfo_set(info, ERR_INVALID, 0, "cannot listen at %s: %s", where, gai_strerror(failed));
    enum err e = ERR_SYSTEM;
    errno = EADDRNOTAVAIL;
    /* The family that takes both comes first when no address was given. */
    for (int pass = 0; pass < 2 && e != ERR_OK; pass++)
        for (struct addrinfo *ai = list; ai != NULL && e != ERR_OK; ai = ai->ai_next)
            if ((ai->ai_family == AF_INET6) == (pass == 0) || o->address != NULL)
                e = bind_one(ai, &s->listen_fd);
    int cause = errno;
    freeaddrinfo(list);
    if (e != ERR_OK)
        return errinfo_set(info, e, cause, "cannot listen at %s port %d: %s", where, o->port,
                           strerror(cause));
    s->port = port_of(s->listen_fd);
    return ERR_OK;
}

/* ---- life ---- */

static void on_tick(uv_timer_t *timer)
{
    struct http_server *s = timer->data;
    int64_t now = clock_mono_ns();
    list_each(c, &s->env.conns, struct http_conn, node) conn_tick(c, now);
}

static void set_defaults(struct http_server *s)
{
    struct http_server_options *o = &s->env.options;
    o->max_body = o->max_body != 0 ? o->max_body : 64 * 1024;
    o->head_timeout_ms = o->head_timeout_ms != 0 ? o->head_timeout_ms : 10 * 1000;
    o->body_timeout_ms = o->body_timeout_ms != 0 ? o->body_timeout_ms : 10 * 1000;
    o->idle_timeout_ms = o->idle_timeout_ms != 0 ? o->idle_timeout_ms : 75 * 1000;
    o->write_timeout_ms = o->write_timeout_ms != 0 ? o->write_timeout_ms : 30 * 1000;
    struct rlimit files = {.rlim_cur = 1024};
    (void)getrlimit(RLIMIT_NOFILE, &files); /* cannot fail with valid arguments */
    unsigned limit = files.rlim_cur > 1000000 ? 1000000U : (unsigned)files.rlim_cur;
    unsigned most = limit > 2 * SPARE_FILES ? limit - SPARE_FILES : limit / 2;
    s->max_connections = o->max_connections != 0 && o->max_connections < most ? o->max_connections : most;
}

static void log_line(int level, const char *line)
{
    char text[256];
    size_t n = strcspn(line, "\n");
    snprintf(text, sizeof text, "%.*s", (int)n, line);
    log_limited(level == LLL_ERR ? LOG_ERROR : LOG_WARN, "libwebsockets", F_STR("says", text));
}

static enum err open_context(struct http_server *s, struct errinfo *info)
{
    lws_set_log_level(LLL_ERR, log_line);
    void *loops[1] = {s->loop};
    struct lws_context_creation_info ci = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .gid = -1,
        .uid = -1,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_UV_NO_SIGSEGV_SIGFPE_SPIN,
        .foreign_loops = loops,
        .pt_serv_buf_size = 32 * 1024,
        .alpn = "http/1.1",
        .vhost_name = "millrace",
    };
    s->context = lws_create_context(&ci);
    if (s->context == NULL)
        return errinfo_set(info, ERR_SYSTEM, 0,
                           "libwebsockets could not start (is its libuv plug-in installed?)");
    s->vhost = lws_create_vhost(s->context, &ci);
    if (s->vhost == NULL)
        return errinfo_set(info, ERR_SYSTEM, 0, "libwebsockets could not make its virtual host");
    return ERR_OK;
}

static void open_handles(struct http_server *s)
{
    uv_timer_init(s->loop, &s->ticker);
    uv_timer_init(s->loop, &s->reaper);
    uv_timer_init(s->loop, &s->pause);
    uv_poll_init(s->loop, &s->listener, s->listen_fd);
    s->ticker.data = s->reaper.data = s->pause.data = s->listener.data = s;
    s->open_handles = 4;
    uv_timer_start(&s->ticker, on_tick, TICK_MS, TICK_MS);
}

enum err http_server_open(uv_loop_t *loop, const struct http_server_options *options,
                          struct http_server **ret_server, struct errinfo *info)
{
    assert(options->on_request != NULL);
    struct http_server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return errinfo_set(info, ERR_NOMEM, 0, "out of memory");
    s->env = (struct conn_env){.options = *options, .ops = &wire_ops};
    s->loop = loop;
    s->listen_fd = s->reserve = -1;
    list_init(&s->env.conns);
    list_init(&s->doomed);
    set_defaults(s);
    enum err e = open_listener(s, info);
    if (e == ERR_OK)
        e = open_context(s, info);
    if (e != ERR_OK) {
        if (s->listen_fd >= 0)
            close(s->listen_fd);
        free(s); /* a context that was made without its vhost is kept: the program is about to end */
        return e;
    }
    keep_reserve(s);
    open_handles(s);
    maybe_accept(s);
    *ret_server = s;
    return ERR_OK;
}

int http_server_port(const struct http_server *s)
{
    return s->port;
}

static void close_listener(struct http_server *s)
{
    stop_accepting(s);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    if (s->reserve >= 0)
        close(s->reserve);
    s->listen_fd = s->reserve = -1;
}

void http_server_drain(struct http_server *s)
{
    if (s->env.draining)
        return;
    s->env.draining = true;
    close_listener(s);
    list_each(c, &s->env.conns, struct http_conn, node) conn_drain(c);
}

unsigned http_server_connections(const struct http_server *s)
{
    return s->env.stats.connections;
}

void http_server_stats(const struct http_server *s, struct http_server_stats *ret_stats)
{
    *ret_stats = s->env.stats;
}

/* The context is destroyed last: libwebsockets only begins to close, and needs the loop to end. */
static void on_handle_closed(uv_handle_t *handle)
{
    struct http_server *s = handle->data;
    if (--s->open_handles > 0)
        return;
    struct lws_context *context = s->context;
    lws_context_destroy(context); /* closes what is left: wire_gone() for each */
    if (s->closed != NULL)
        s->closed(s->closed_arg);
    free(s);
}

void http_server_close(struct http_server *s, void (*closed)(void *arg), void *arg)
{
    if (s->closing)
        return;
    close_listener(s);
    s->closing = true;
    s->closed = closed;
    s->closed_arg = arg;
    /* The context leaks what is open when it is destroyed; what is closed now is freed in the next turn. */
    list_each(c, &s->env.conns, struct http_conn, node) kill_wire(c->wire);
    uv_close((uv_handle_t *)&s->listener, on_handle_closed);
    uv_close((uv_handle_t *)&s->ticker, on_handle_closed);
    uv_close((uv_handle_t *)&s->reaper, on_handle_closed);
    uv_close((uv_handle_t *)&s->pause, on_handle_closed);
}
