/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/backend_local_internal.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ---- requests to the spawner ---- */

static void on_spawner(uv_poll_t *poll, int status, int events);
static void spawner_gone(struct local *l, const char *why);

static void watch_spawner(struct local *l)
{
    int events = UV_READABLE | (l->queued > 0 ? UV_WRITABLE : 0);
    if (events == l->events || l->gone)
        return;
    l->events = events;
    uv_poll_start(&l->poll, events, on_spawner);
}

static bool send_now(struct local *l, const struct spawner_request *request)
{
    return send(l->options.fd, request, sizeof *request, MSG_DONTWAIT | MSG_NOSIGNAL) ==
           (ssize_t)sizeof *request;
}

static enum err ask(struct local *l, const struct spawner_request *request)
{
    if (l->gone)
        return ERR_CLOSED;
    if (l->queued == 0 && send_now(l, request))
        return ERR_OK;
    if (l->queued == QUEUE_MAX)
        return ERR_FULL;
    l->queue[(l->head + l->queued++) % QUEUE_MAX] = *request;
    watch_spawner(l);
    return ERR_OK;
}

static void flush_queue(struct local *l)
{
    while (l->queued > 0 && send_now(l, &l->queue[l->head])) {
        l->head = (l->head + 1) % QUEUE_MAX;
        l->queued--;
    }
    watch_spawner(l);
}

static struct spawner_request request_for(const struct pod *pod, enum spawner_request_type type)
{
    return (struct spawner_request){.magic = SPAWNER_MAGIC, .type = type, .tag = pod->tag, .pod = pod->id};
}

static enum err ask_pod(struct pod *pod, enum spawner_request_type type)
{
    struct spawner_request request = request_for(pod, type);
    return ask(pod->local, &request);
}

/* ---- the end of a pod ---- */

static void pod_closed(struct pod *pod)
{
    struct local *l = pod->local;
    list_remove(&pod->link);
    l->pod_count--;
    buf_free(&pod->in);
    buf_free(&pod->out);
    if (pod->fd >= 0)
        close(pod->fd);
    pod_tell_type(pod, POD_GONE);
    pod->magic = 0;
    free(pod);
}

static void on_poll_closed(uv_handle_t *handle)
{
    pod_closed(handle->data);
}

/* When it was both destroyed and nothing of it is left. The GONE is told from the loop, never from within a
 * call. */
static void finish_if_over(struct pod *pod)
{
    if (!pod->destroyed || !pod->ended || pod->closing)
        return;
    pod->closing = true;
    if (!pod->polling)
        uv_timer_init(pod->local->loop, &pod->timer);
    pod->handle.data = pod;
    uv_close(&pod->handle, on_poll_closed);
}

/* ---- replies of the spawner ---- */

static struct pod *pod_by(struct local *l, uint64_t tag, uint64_t id)
{
    list_each(pod, &l->pods, struct pod, link) if (tag ? pod->tag == tag : pod->id == id) return pod;
    return NULL;
}

static void on_created(struct pod *pod, const struct spawner_reply *reply, int *fd)
{
    pod->id = reply->pod;
    pod->fd = steal_fd(fd);
    if (pod->destroyed) {
        if (ask_pod(pod, SPAWNER_DESTROY) != ERR_OK)
            pod->ended = true;
        finish_if_over(pod);
        return;
    }
    if (pod->fd < 0 || uv_poll_init(pod->local->loop, &pod->poll, pod->fd) != 0) {
        pod_tell_lost(pod, "the spawner sent no socket to the runner");
        return;
    }
    pod->poll.data = pod;
    pod->polling = true;
    pod_watch(pod);
}

static void on_gone(struct pod *pod, const struct spawner_reply *reply)
{
    pod->ended = true;
    pod->have_final = true;
    pod->final_usage = reply->usage;
    /* What the runner said last may still be in the socket: its end of file tells LOST. */
    if (!pod->polling)
        pod_tell_lost(pod, reply->text);
    finish_if_over(pod);
}

/* The request that failed is known by the phase: a pod without an id was not made. */
static void on_failed(struct pod *pod, const struct spawner_reply *reply)
{
    if (pod->id == 0) {
        pod->ended = true;
        char text[SPAWNER_TEXT_MAX];
        snprintf(text, sizeof text, "%.*s", (int)sizeof reply->text - 1, reply->text);
        pod_tell_lost(pod, text);
        finish_if_over(pod);
        return;
    }
    if (pod->destroyed) {
        pod->ended = true; /* it knows no such pod */
        finish_if_over(pod);
        return;
    }
    if (pod->phase == LINK_READY)
        pod_tell_type(pod, POD_LIMITS);
    else
        pod_tell(pod,
                 &(struct pod_event){.type = POD_USAGE, .ok = pod->have_final, .usage = pod->final_usage});
}

static void on_reply(struct local *l, const struct spawner_reply *reply, int *fd)
{
    if (reply->type == SPAWNER_HELLO) {
        l->options.on_hello(l->options.arg, reply->missing, reply->rootless != 0, reply->text);
        return;
    }
    struct pod *pod = pod_by(l, reply->tag, reply->pod);
    if (!pod)
        return;
    switch ((enum spawner_reply_type)reply->type) {
    case SPAWNER_CREATED:
        on_created(pod, reply, fd);
        return;
    case SPAWNER_CHANGED:
        if (!pod->destroyed)
            pod_tell(pod, &(struct pod_event){.type = POD_LIMITS, .ok = true});
        return;
    case SPAWNER_USAGED:
        if (!pod->destroyed)
            pod_tell(pod, &(struct pod_event){.type = POD_USAGE, .ok = true, .usage = reply->usage});
        return;
    case SPAWNER_GONE:
        on_gone(pod, reply);
        return;
    case SPAWNER_FAILED:
        on_failed(pod, reply);
        return;
    case SPAWNER_HELLO:
        return;
    }
}

/* One message and the descriptor that may come with it. 0: nothing there; -1: the end. */
static int receive(struct local *l, struct spawner_reply *reply, int *ret_fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = reply, .iov_len = sizeof *reply};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(l->options.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(c), sizeof *ret_fd);
    if (n != (ssize_t)sizeof *reply || reply->magic != SPAWNER_MAGIC)
        return -1;
    reply->text[SPAWNER_TEXT_MAX - 1] = 0;
    return 1;
}

static void on_spawner(uv_poll_t *poll, int status, int events)
{
    struct local *l = poll->data;
    if (status < 0) {
        spawner_gone(l, "the socket to the spawner failed");
        return;
    }
    if (events & UV_WRITABLE)
        flush_queue(l);
    for (int i = 0; i < 64 && !l->gone; i++) {
        struct spawner_reply reply;
        auto_fd fd = -1;
        int got = receive(l, &reply, &fd);
        if (got < 0)
            spawner_gone(l, "the spawner is gone");
        if (got <= 0)
            return;
        on_reply(l, &reply, &fd);
    }
}

static void spawner_gone(struct local *l, const char *why)
{
    l->gone = true;
    uv_poll_stop(&l->poll);
    l->options.on_gone(l->options.arg, why);
    list_each(pod, &l->pods, struct pod, link)
    {
        pod->ended = true;
        pod_tell_lost(pod, why);
        finish_if_over(pod);
    }
}

/* ---- the vtable ---- */

static struct pod *local_create(struct pod_backend *backend, const char *kind,
                                const struct pod_limits *limits, pod_event_cb cb, void *arg)
{
    struct local *l = container_of(backend, struct local, base);
    if (l->gone || l->pod_count == LOCAL_PODS_MAX)
        return NULL;
    struct pod *pod = calloc(1, sizeof *pod);
    if (!pod)
        return NULL;
    *pod = (struct pod){.magic = POD_MAGIC, .local = l, .cb = cb, .arg = arg, .tag = ++l->last_tag, .fd = -1};
    buf_init(&pod->in, READ_MAX);
    buf_init(&pod->out, OUT_MAX);
    struct spawner_request request = request_for(pod, SPAWNER_CREATE);
    snprintf(request.kind, sizeof request.kind, "%s", kind);
    request.limits = *limits;
    if (ask(l, &request) != ERR_OK) {
        free(pod);
        return NULL;
    }
    list_append(&l->pods, &pod->link);
    l->pod_count++;
    return pod;
}

static enum err local_limits(struct pod *pod, const struct pod_limits *limits)
{
    struct spawner_request request = request_for(pod, SPAWNER_LIMITS);
    request.limits = *limits;
    return ask(pod->local, &request);
}

static enum err local_place(struct pod *pod, enum frame_type type, struct str payload)
{
    if (pod->phase != LINK_READY || pod->lost || pod->destroyed)
        return ERR_CLOSED;
    frame_append(&pod->out, type, payload.p, payload.n);
    if (buf_status(&pod->out) != ERR_OK)
        return ERR_CLOSED;
    pod_write(pod);
    pod->wants_room = pod->out.len - pod->out_done > PLACE_HELD_MAX;
    return pod->wants_room ? ERR_AGAIN : ERR_OK;
}

static enum err local_run(struct pod *pod, const struct pod_run *run)
{
    if (pod->phase != LINK_READY || pod->lost)
        return ERR_CLOSED;
    size_t before = run->stdin_bytes.n < POD_STDIN_FIRST ? run->stdin_bytes.n : POD_STDIN_FIRST;
    if (run->collect.n > 0)
        frame_append(&pod->out, FRAME_COLLECT, run->collect.p, run->collect.n);
    frame_append(&pod->out, FRAME_SPEC, run->spec.p, run->spec.n);
    if (run->compiled.n > 0)
        frame_append(&pod->out, FRAME_COMPILED_IN, run->compiled.p, run->compiled.n);
    if (run->state.n > 0)
        frame_append(&pod->out, FRAME_STATE_IN, run->state.p, run->state.n);
    if (before > 0)
        frame_append(&pod->out, FRAME_STDIN, run->stdin_bytes.p, before);
    frame_append(&pod->out, FRAME_START, NULL, 0);
    if (before < run->stdin_bytes.n)
        frame_append(&pod->out, FRAME_STDIN, run->stdin_bytes.p + before, run->stdin_bytes.n - before);
    if (run->stdin_eof && before < run->stdin_bytes.n)
        frame_append(&pod->out, FRAME_STDIN_EOF, NULL, 0);
    if (buf_status(&pod->out) != ERR_OK)
        return buf_status(&pod->out);
    pod->phase = LINK_STARTED_ASKED;
    pod_write(pod);
    return ERR_OK;
}

static enum err local_input(struct pod *pod, enum frame_type type, struct str bytes)
{
    if ((pod->phase != LINK_RUNNING && pod->phase != LINK_STARTED_ASKED) || pod->lost || pod->destroyed)
        return ERR_CLOSED;
    size_t most = type == FRAME_TOOL_RESULT ? TOOL_RESULTS_HELD_MAX : INPUT_HELD_MAX;
    if (pod->out.len - pod->out_done + bytes.n > most)
        return ERR_FULL;
    frame_append(&pod->out, type, bytes.p, bytes.n);
    if (buf_status(&pod->out) != ERR_OK)
        return buf_status(&pod->out);
    pod_write(pod);
    return ERR_OK;
}

static void local_kill(struct pod *pod, enum pod_end why)
{
    if (pod->lost || pod->destroyed || !pod->polling)
        return;
    frame_append_u32(&pod->out, FRAME_KILL, (uint32_t)why);
    pod_write(pod);
}

static enum err local_usage(struct pod *pod)
{
    return ask_pod(pod, SPAWNER_USAGE);
}

static void local_pause(struct pod *pod, bool paused)
{
    if (pod->paused == paused)
        return;
    pod->paused = paused;
    pod_watch(pod);
    if (!paused)
        pod_take_read(pod);
}

static void local_destroy(struct pod *pod)
{
    assert(!pod->destroyed);
    pod->destroyed = true;
    pod_watch(pod);
    if (!pod->ended && pod->id != 0 && ask_pod(pod, SPAWNER_DESTROY) != ERR_OK)
        pod->ended = true;
    if (pod->local->gone)
        pod->ended = true;
    finish_if_over(pod);
}

static const struct pod_backend_ops local_ops = {
    .name = "local",
    .create = local_create,
    .limits = local_limits,
    .place = local_place,
    .run = local_run,
    .input = local_input,
    .kill = local_kill,
    .usage = local_usage,
    .pause = local_pause,
    .destroy = local_destroy,
};

/* ---- opening ---- */

enum err local_open(uv_loop_t *loop, const struct local_options *options, struct pod_backend **ret_backend,
                    struct errinfo *info)
{
    struct local *l = calloc(1, sizeof *l);
    struct spawner_request *queue = calloc(QUEUE_MAX, sizeof *queue);
    if (!l || !queue) {
        free(l);
        free(queue);
        return errinfo_set(info, ERR_NOMEM, 0, "no memory for the local backend");
    }
    *l = (struct local){.base = {.ops = &local_ops}, .options = *options, .loop = loop, .queue = queue};
    list_init(&l->pods);
    int r = uv_poll_init(loop, &l->poll, options->fd);
    if (r != 0) {
        free(queue);
        free(l);
        return errinfo_set(info, ERR_SYSTEM, -r, "descriptor %d is no socket to a spawner", options->fd);
    }
    l->poll.data = l;
    watch_spawner(l);
    *ret_backend = &l->base;
    return ERR_OK;
}

static void on_local_closed(uv_handle_t *handle)
{
    struct local *l = handle->data;
    close(l->options.fd);
    free(l->queue);
    free(l);
}

void local_close(struct pod_backend *backend)
{
    struct local *l = container_of(backend, struct local, base);
    assert(l->pod_count == 0);
    l->gone = true;
    uv_close((uv_handle_t *)&l->poll, on_local_closed);
}
