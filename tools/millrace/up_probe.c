/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "tools/millrace/up.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROBE_TIMEOUT_MS = 2000, REPLY_MAX = 256, LATE_MS = 5000 };

/* ---- programs of ours: GET /ready; MinIO has another path ---- */

/* A start that takes its time says what it waits for. */
static void tell_why(struct up_child *child, struct str body)
{
    auto_json page = NULL;
    const struct up *up = child->up;
    if (up->phase != UP_STARTING || clock_mono_ns() - up->began_ns < LATE_MS * 1000000LL ||
        json_parse(body, &page, NULL) != ERR_OK)
        return;
    const char *why = json_string_value(json_object_get(page, "why"));
    if (!why || strncmp(why, child->why, sizeof child->why - 1) == 0)
        return;
    snprintf(child->why, sizeof child->why, "%s", why);
    fprintf(stderr, "up: %s %d is not ready yet: %s\n", up_part_name(child->part), child->number, child->why);
}

static void on_ready(void *arg, enum err e, const char *why, const struct http_answer *answer)
{
    (void)why;
    struct up_child *child = arg;
    child->probing = false;
    up_child_set_ready(child, !e && answer->status == 200);
    if (!e && !child->ready && child->part != UP_MINIO)
        tell_why(child, answer->body);
}

static void probe_http(struct up_child *child)
{
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", child->port,
             child->part == UP_MINIO ? "/minio/health/ready" : "/ready");
    struct http_call_options call = {.method = "GET", .url = url, .timeout_ms = PROBE_TIMEOUT_MS};
    child->probing = !http_client_send(child->up->http, &call, on_ready, child, NULL);
}

/* ---- Redis: AUTH and PING; while it loads its file it answers -LOADING ---- */

struct redis_probe {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    struct up_child *child;
    char request[UP_KEY_MAX + 32], reply[REPLY_MAX];
    size_t length;
};

static void redis_closed(uv_handle_t *handle)
{
    struct redis_probe *probe = handle->data;
    probe->child->probing = false;
    free(probe);
}

static void redis_done(struct redis_probe *probe, bool ready)
{
    if (uv_is_closing((uv_handle_t *)&probe->tcp))
        return;
    up_child_set_ready(probe->child, ready);
    uv_close((uv_handle_t *)&probe->tcp, redis_closed);
}

static void redis_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    (void)suggested;
    struct redis_probe *probe = handle->data;
    *ret_buf = uv_buf_init(probe->reply + probe->length, (unsigned)(REPLY_MAX - 1 - probe->length));
}

static void redis_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    struct redis_probe *probe = stream->data;
    if (n < 0) {
        redis_done(probe, false);
        return;
    }
    probe->length += (size_t)n;
    probe->reply[probe->length] = '\0';
    if (strstr(probe->reply, "+PONG"))
        redis_done(probe, true);
    else if (strchr(probe->reply, '-'))
        redis_done(probe, false);
}

static void redis_written(uv_write_t *write, int status)
{
    if (status < 0)
        redis_done(write->data, false);
}

static void redis_connected(uv_connect_t *connect, int status)
{
    struct redis_probe *probe = connect->data;
    uv_buf_t buf = uv_buf_init(probe->request, (unsigned)strlen(probe->request));
    if (status < 0 || uv_read_start((uv_stream_t *)&probe->tcp, redis_room, redis_read) ||
        uv_write(&probe->write, (uv_stream_t *)&probe->tcp, &buf, 1, redis_written))
        redis_done(probe, false);
}

static void probe_redis(struct up_child *child)
{
    struct redis_probe *probe = calloc(1, sizeof *probe);
    struct sockaddr_in at;
    if (!probe)
        return;
    probe->child = child;
    probe->tcp.data = probe->connect.data = probe->write.data = probe;
    snprintf(probe->request, sizeof probe->request, "AUTH %s\r\nPING\r\n", child->up->redis_key);
    uv_tcp_init(&child->up->loop, &probe->tcp);
    child->probing = true;
    if (uv_ip4_addr("127.0.0.1", child->port, &at) ||
        uv_tcp_connect(&probe->connect, &probe->tcp, (const struct sockaddr *)&at, redis_connected))
        redis_done(probe, false);
}

void up_probe(struct up_child *child)
{
    if (child->probing || !child->pid)
        return;
    if (child->part == UP_REDIS)
        probe_redis(child);
    else
        probe_http(child);
}
