/* SPDX-License-Identifier: Apache-2.0 */
/* `bench`: a closed loop of requests over keep-alive connections, plain sockets on libuv, so that the generator costs
   little beside what it measures. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "io/config_load.h"
#include "schema/config.h"
#include "tools/millrace/cli.h"
#include "tools/millrace/histogram.h"
#include "json/json.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum {
    REQUEST_MAX = 64 << 20,
    READ_SIZE = 65536,
    HEAD_MAX = 16384,
    RETRY_MS = 20,
    GIVE_UP = 250,
    DEFAULT_SECONDS = 10
};

struct connection {
    struct bench *bench;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    uv_timer_t again; /* to connect again after a failure, or to ask again after a pause */
    bool open, waiting;
    int64_t sent_ns;
    char head[HEAD_MAX];
    size_t have; /* of the head */
    bool in_body, chunked;
    uint64_t body_left; /* with Content-Length */
    char tail[5];       /* the last bytes of a chunked body */
};

struct bench {
    const struct cli *cli;
    uv_loop_t loop;
    uv_timer_t deadline;
    struct addrinfo *address;
    struct buf request;
    char host[256], port[8], path[2048];
    struct connection *connections;
    size_t count;
    struct histogram latency;
    uint64_t pause_ms;
    uint64_t started, finished, warmup, limit, status[6], failed_connections, failures_in_a_row, broken;
    int64_t began_ns, ended_ns;
    bool over;
};

static void send_next(struct connection *c);
static void start_connect(struct connection *c);

/* ---- the end ---- */

static void close_if_open(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void finish(struct bench *b)
{
    if (b->over)
        return;
    b->over = true;
    b->ended_ns = clock_mono_ns();
    uv_walk(&b->loop, close_if_open, NULL);
}

static void on_deadline(uv_timer_t *timer)
{
    finish(timer->data);
}

/* ---- answers ---- */

static void on_paused(uv_timer_t *timer)
{
    struct connection *c = timer->data;
    if (c->open)
        send_next(c);
}

static void answered(struct connection *c)
{
    struct bench *b = c->bench;
    int64_t now = clock_mono_ns();
    c->waiting = false;
    c->have = 0;
    c->in_body = false;
    b->finished++;
    if (b->finished == b->warmup)
        b->began_ns = now;
    if (b->finished > b->warmup) {
        histogram_add(&b->latency, (uint64_t)(now - c->sent_ns));
        unsigned class = (unsigned)(c->head[9] - '0');
        b->status[class < 6 ? class : 0]++;
    }
    if (b->limit && b->finished >= b->warmup + b->limit)
        finish(b);
    else if (b->pause_ms)
        uv_timer_start(&c->again, on_paused, b->pause_ms, 0);
    else
        send_next(c);
}

/* The value of a header in a head, or NULL; names in any case. */
static const char *header(const char *head, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (!strncasecmp(line + 2, name, n) && line[2 + n] == ':')
            return line + 3 + n + strspn(line + 3 + n, " ");
    return NULL;
}

static bool head_complete(struct connection *c)
{
    const char *length = header(c->head, "content-length"), *coding = header(c->head, "transfer-encoding");
    c->chunked = coding && !strncasecmp(coding, "chunked", 7);
    c->body_left = length ? strtoull(length, NULL, 10) : 0;
    c->in_body = true;
    memset(c->tail, 0, sizeof c->tail);
    return !strncmp(c->head, "HTTP/1.1 ", 9) && (length || c->chunked);
}

/* Chunked bodies are not decoded: the last chunk is found by its bytes at the end of what came. */
static bool body_complete(struct connection *c, const char *data, size_t n)
{
    if (!c->chunked) {
        c->body_left -= n < c->body_left ? n : c->body_left;
        return !c->body_left;
    }
    for (size_t i = n > 5 ? n - 5 : 0; i < n; i++) {
        memmove(c->tail, c->tail + 1, 4);
        c->tail[4] = data[i];
    }
    return !memcmp(c->tail, "0\r\n\r\n", 5);
}

static void drop(struct connection *c);

static void take(struct connection *c, const char *data, size_t n)
{
    if (!c->in_body) {
        size_t room = HEAD_MAX - 1 - c->have, copied = n < room ? n : room;
        memcpy(c->head + c->have, data, copied);
        size_t before = c->have;
        c->have += copied;
        c->head[c->have] = '\0';
        char *stop = strstr(c->head, "\r\n\r\n");
        if (!stop && copied == n)
            return;
        if (!stop) {
            drop(c);
            return;
        }
        size_t used = (size_t)(stop + 4 - c->head) - before;
        stop[2] = '\0';
        if (!head_complete(c)) {
            drop(c);
            return;
        }
        data += used;
        n -= used;
    }
    if (body_complete(c, data, n))
        answered(c);
}

/* ---- connections ---- */

static void on_again(uv_timer_t *timer)
{
    start_connect(timer->data);
}

static void on_dropped(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    if (!c->bench->over)
        uv_timer_start(&c->again, on_again, RETRY_MS, 0);
}

static void drop(struct connection *c)
{
    if (uv_is_closing((uv_handle_t *)&c->tcp))
        return;
    struct bench *b = c->bench;
    b->broken += c->waiting;
    b->finished += c->waiting; /* asked and not answered: it counts against the limit, not as a latency */
    c->open = c->waiting = false;
    uv_close((uv_handle_t *)&c->tcp, on_dropped);
    if (b->failures_in_a_row > GIVE_UP * b->count || (b->limit && b->finished >= b->warmup + b->limit))
        finish(b);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    static char room[READ_SIZE]; /* used up before the next read: one thread */
    (void)handle, (void)suggested;
    *ret_buf = uv_buf_init(room, sizeof room);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = stream->data;
    if (n < 0 || (n > 0 && !c->waiting))
        drop(c);
    else if (n > 0)
        take(c, buf->base, (size_t)n);
}

static void on_written(uv_write_t *write, int status)
{
    if (status < 0)
        drop(write->data);
}

static void send_next(struct connection *c)
{
    struct bench *b = c->bench;
    uv_buf_t buf = uv_buf_init(b->request.data, (unsigned)b->request.len);
    if (b->over || (b->limit && b->started >= b->warmup + b->limit))
        return;
    b->started++;
    c->waiting = true;
    c->sent_ns = clock_mono_ns();
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written))
        drop(c);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct connection *c = connect->data;
    if (status == UV_ECANCELED)
        return;
    if (status < 0 || uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read)) {
        c->bench->failed_connections++;
        c->bench->failures_in_a_row++;
        drop(c);
        return;
    }
    c->open = true;
    c->bench->failures_in_a_row = 0;
    uv_tcp_nodelay(&c->tcp, 1);
    send_next(c);
}

static void start_connect(struct connection *c)
{
    uv_tcp_init(&c->bench->loop, &c->tcp);
    c->tcp.data = c->connect.data = c->write.data = c;
    c->have = 0;
    c->in_body = false;
    if (uv_tcp_connect(&c->connect, &c->tcp, c->bench->address->ai_addr, on_connected))
        drop(c);
}

/* ---- what is asked ---- */

static enum err parse_url(struct bench *b, const char *url, struct errinfo *info)
{
    const char *host = url + 7;
    size_t n = strncmp(url, "http://", 7) ? 0 : strcspn(host, "/?");
    const char *colon = memchr(host, ':', n);
    size_t name = colon ? (size_t)(colon - host) : n;
    if (!name || name >= sizeof b->host || n - name > 6 || strlen(host + n) >= sizeof b->path)
        return errinfo_set(info, ERR_INVALID, 0, "the URL must be http://host[:port][/path]");
    snprintf(b->host, sizeof b->host, "%.*s", (int)name, host);
    snprintf(b->port, sizeof b->port, "%.*s", colon ? (int)(n - name - 1) : 2, colon ? colon + 1 : "80");
    snprintf(b->path, sizeof b->path, "%s%s", host[n] == '/' ? "" : "/", host + n);
    return ERR_OK;
}

static enum err read_body(const char *path, struct buf *out, struct errinfo *info)
{
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;
    char *room = NULL;
    while (fd >= 0 && (room = buf_reserve(out, READ_SIZE)) && (n = read(fd, room, READ_SIZE)) > 0)
        out->len += (size_t)n;
    if (fd < 0 || !room || n < 0)
        return errinfo_set(info, ERR_IO, 0, "cannot read %.200s", path);
    return ERR_OK;
}

/* The key goes only where the command line would send it anyhow. */
static void append_key(struct bench *b, const char *url)
{
    struct config config = {0};
    struct config_request request = {0};
    struct errinfo info;
    if (!config_load(&config_client_table, &config.base, &request, &info) && config.client_api_key &&
        config.client_api_key[0] && str_starts(str_of(url), str_of(config.client_url)))
        buf_printf(&b->request, "x-api-key: %s\r\n", config.client_api_key);
    config_release(&config.base);
}

static enum err build_request(struct bench *b, struct errinfo *info)
{
    auto_buf body = BUF_INIT(REQUEST_MAX);
    enum err e = b->cli->body ? read_body(b->cli->body, &body, info) : ERR_OK;
    if (e)
        return e;
    buf_printf(&b->request, "%s %s HTTP/1.1\r\nHost: %s:%s\r\n", b->cli->body ? "POST" : "GET", b->path,
               b->host, b->port);
    append_key(b, b->cli->args[0]);
    for (size_t i = 0; i < b->cli->headers.count; i++)
        buf_printf(&b->request, "%s\r\n", b->cli->headers.items[i]);
    if (b->cli->body)
        buf_printf(&b->request, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.len);
    buf_append_cstr(&b->request, "\r\n");
    buf_append_str(&b->request, buf_str(&body));
    return buf_status(&b->request);
}

static enum err resolve(struct bench *b, struct errinfo *info)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int code = getaddrinfo(b->host, b->port, &hints, &b->address);
    return code ? errinfo_set(info, ERR_NOT_FOUND, 0, "%s: %s", b->host, gai_strerror(code)) : ERR_OK;
}

/* ---- the report ---- */

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static int report(const struct bench *b)
{
    const struct histogram *h = &b->latency;
    double seconds = (double)(b->ended_ns - b->began_ns) / 1e9;
    uint64_t bad =
        b->status[0] + b->status[3] + b->status[4] + b->status[5] + b->broken + b->failed_connections;
    auto_json all = json_pack(
        "{s:s, s:I, s:I, s:f, s:f, s:I, s:{s:f, s:f, s:f, s:f, s:f, s:f}, s:{s:I, s:I, s:I, s:I}, s:I, s:I}",
        "url", b->cli->args[0], "clients", (json_int_t)b->count, "requests", (json_int_t)h->count, "seconds",
        seconds, "requests_per_second", seconds > 0 ? (double)h->count / seconds : 0.0, "errors",
        (json_int_t)bad, "latency_ms", "p50", ms(histogram_quantile(h, 0.5)), "p90",
        ms(histogram_quantile(h, 0.9)), "p99", ms(histogram_quantile(h, 0.99)), "p999",
        ms(histogram_quantile(h, 0.999)), "max", ms(h->most_ns), "mean", histogram_mean(h) / 1e6, "status",
        "2xx", (json_int_t)b->status[2], "3xx", (json_int_t)b->status[3], "4xx", (json_int_t)b->status[4],
        "5xx", (json_int_t)b->status[5], "broken_requests", (json_int_t)b->broken, "failed_connections",
        (json_int_t)b->failed_connections);
    auto_buf text = BUF_INIT(65536);
    if (b->cli->json && !json_write(all, &text)) {
        puts(buf_cstr(&text));
    } else {
        printf("%llu requests in %.2f s, %zu clients: %.1f/s\n", (unsigned long long)h->count, seconds,
               b->count, seconds > 0 ? (double)h->count / seconds : 0.0);
        printf("latency ms   p50 %.3f   p90 %.3f   p99 %.3f   p99.9 %.3f   max %.3f   mean %.3f\n",
               ms(histogram_quantile(h, 0.5)), ms(histogram_quantile(h, 0.9)),
               ms(histogram_quantile(h, 0.99)), ms(histogram_quantile(h, 0.999)), ms(h->most_ns),
               histogram_mean(h) / 1e6);
        printf("status       2xx %llu   3xx %llu   4xx %llu   5xx %llu   broken %llu   not connected %llu\n",
               (unsigned long long)b->status[2], (unsigned long long)b->status[3],
               (unsigned long long)b->status[4], (unsigned long long)b->status[5],
               (unsigned long long)b->broken, (unsigned long long)b->failed_connections);
    }
    return bad || !h->count;
}

static enum err start(struct bench *b, struct errinfo *info)
{
    int64_t seconds = b->cli->seconds.given ? b->cli->seconds.value : b->limit ? 86400 : DEFAULT_SECONDS;
    b->connections = calloc(b->count, sizeof *b->connections);
    if (!b->connections || uv_loop_init(&b->loop))
        return errinfo_set(info, ERR_NOMEM, 0, "out of memory");
    uv_timer_init(&b->loop, &b->deadline);
    b->deadline.data = b;
    uv_timer_start(&b->deadline, on_deadline, (uint64_t)seconds * 1000, 0);
    b->began_ns = clock_mono_ns();
    for (size_t i = 0; i < b->count; i++) {
        struct connection *c = &b->connections[i];
        c->bench = b;
        c->again.data = c;
        uv_timer_init(&b->loop, &c->again);
        start_connect(c);
    }
    return ERR_OK;
}

int cmd_bench(const struct cli *cli)
{
    struct errinfo info = {0};
    struct bench *b = calloc(1, sizeof *b);
    if (!b)
        return EXIT_CANNOT;
    b->cli = cli;
    b->count = (size_t)cli_int_or(cli->clients, 1);
    b->limit = (uint64_t)cli_int_or(cli->requests, 0);
    b->warmup = (uint64_t)cli_int_or(cli->warmup, 0);
    b->pause_ms = (uint64_t)cli_int_or(cli->pause, 0);
    buf_init(&b->request, REQUEST_MAX + HEAD_MAX);
    enum err e = parse_url(b, cli->args[0], &info);
    e = e ? e : build_request(b, &info);
    e = e ? e : resolve(b, &info);
    e = e ? e : start(b, &info);
    int code = EXIT_CANNOT;
    if (e) {
        fprintf(stderr, "millrace: %s\n", info.text);
    } else {
        uv_run(&b->loop, UV_RUN_DEFAULT);
        code = report(b);
        uv_loop_close(&b->loop);
    }
    if (b->address)
        freeaddrinfo(b->address);
    buf_free(&b->request);
    free(b->connections);
    free(b);
    return code;
}
