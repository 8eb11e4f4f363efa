/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/backend_local.h"

#include "base/cleanup.h"
#include "base/list.h"
#include "worker/pod_link.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    QUEUE_MAX = 4 * LOCAL_PODS_MAX
}; /* requests that wait for room in the socket: 4 kinds of request a pod */

struct local {
    struct pod_backend base;
    struct local_options options;
    uv_loop_t *loop;
    uv_poll_t poll;
    struct list pods;
    unsigned pod_count;
    uint64_t last_tag;
    struct spawner_request *queue; /* ring */
    size_t head, queued;
    int events;
    bool gone;
};

struct local_pod {
    struct pod pod;
    struct local *local;
    struct list link;
    uint64_t tag; /* of its requests */
    uint64_t id;  /* the spawner's; 0: not made yet */
    bool ended;   /* the spawner has nothing of it any more */
    bool have_final;
    struct pod_usage final_usage;
};

static struct local_pod *local_of(struct pod *pod)
{
    return container_of(pod, struct local_pod, pod);
}

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

static struct spawner_request request_for(const struct local_pod *lp, enum spawner_request_type type)
{
    return (struct spawner_request){.magic = SPAWNER_MAGIC, .type = type, .tag = lp->tag, .pod = lp->id};
}

static enum err ask_pod(struct local_pod *lp, enum spawner_request_type type)
{
    struct spawner_request request = request_for(lp, type);
    return ask(lp->local, &request);
}

/* ---- the end of a pod ---- */

static void on_closed(uv_handle_t *handle)
{
    struct local_pod *lp = local_of(handle->data);
    list_remove(&lp->link);
    lp->local->pod_count--;
    pod_tell_gone(&lp->pod);
    free(lp);
}

/* When it was both destroyed and nothing of it is left. The GONE is told from the loop, never from within a
 * call. */
static void finish_if_over(struct local_pod *lp)
{
    if (lp->pod.destroyed && lp->ended && !lp->pod.closing)
        pod_close(&lp->pod, on_closed);
}

/* ---- replies of the spawner ---- */

static struct local_pod *pod_by(struct local *l, uint64_t tag, uint64_t id)
{
    list_each(lp, &l->pods, struct local_pod, link) if (tag ? lp->tag == tag : lp->id == id) return lp;
    return NULL;
}

static void on_created(struct local_pod *lp, const struct spawner_reply *reply, int *fd)
{
    lp->id = reply->pod;
    if (lp->pod.destroyed) {
        if (ask_pod(lp, SPAWNER_DESTROY) != ERR_OK)
            lp->ended = true;
        finish_if_over(lp);
        return;
    }
    if (pod_connected(&lp->pod, steal_fd(fd)) != ERR_OK)
        pod_tell_lost(&lp->pod, REASON_POD_LOST,
                      "the worker may open no more descriptors: it cannot take the pod's socket");
}

static void on_gone(struct local_pod *lp, const struct spawner_reply *reply)
{
    lp->ended = true;
    lp->have_final = true;
    lp->final_usage = reply->usage;
    /* What the runner said last may still be in the socket: its end of file tells LOST. */
    if (!lp->pod.polling)
        pod_tell_lost(&lp->pod, REASON_POD_LOST, reply->text);
    finish_if_over(lp);
}

/* The request that failed is known by the phase: a pod without an id was not made. */
static void on_failed(struct local_pod *lp, const struct spawner_reply *reply)
{
    if (lp->id == 0) {
        lp->ended = true;
        char text[SPAWNER_TEXT_MAX];
        snprintf(text, sizeof text, "%.*s", (int)sizeof reply->text - 1, reply->text);
        pod_tell_lost(&lp->pod, REASON_POD_LOST, text);
        finish_if_over(lp);
        return;
    }
    if (lp->pod.destroyed) {
        lp->ended = true; /* it knows no such pod */
        finish_if_over(lp);
        return;
    }
    if (lp->pod.phase == LINK_READY)
        pod_tell_type(&lp->pod, POD_LIMITS);
    else
        pod_tell(&lp->pod,
                 &(struct pod_event){.type = POD_USAGE, .ok = lp->have_final, .usage = lp->final_usage});
}

static void on_reply(struct local *l, const struct spawner_reply *reply, int *fd)
{
    if (reply->type == SPAWNER_HELLO) {
        l->options.on_hello(l->options.arg, reply->missing, reply->accepted, reply->rootless != 0);
        return;
    }
    struct local_pod *lp = pod_by(l, reply->tag, reply->pod);
    if (!lp)
        return;
    switch ((enum spawner_reply_type)reply->type) {
    case SPAWNER_CREATED:
        on_created(lp, reply, fd);
        return;
    case SPAWNER_CHANGED:
        if (!lp->pod.destroyed)
            pod_tell(&lp->pod, &(struct pod_event){.type = POD_LIMITS, .ok = true});
        return;
    case SPAWNER_USAGED:
        if (!lp->pod.destroyed)
            pod_tell(&lp->pod, &(struct pod_event){.type = POD_USAGE, .ok = true, .usage = reply->usage});
        return;
    case SPAWNER_GONE:
        on_gone(lp, reply);
        return;
    case SPAWNER_FAILED:
        on_failed(lp, reply);
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
    list_each(lp, &l->pods, struct local_pod, link)
    {
        lp->ended = true;
        pod_tell_lost(&lp->pod, REASON_POD_LOST, why);
        finish_if_over(lp);
    }
}

/* ---- the vtable ---- */

static struct pod *local_create(struct pod_backend *backend, const char *kind,
                                const struct pod_limits *limits, pod_event_cb cb, void *arg)
{
    struct local *l = container_of(backend, struct local, base);
    if (l->gone || l->pod_count == LOCAL_PODS_MAX)
        return NULL;
    struct local_pod *lp = calloc(1, sizeof *lp);
    if (!lp)
        return NULL;
    pod_init(&lp->pod, l->loop, cb, arg);
    lp->local = l;
    lp->tag = ++l->last_tag;
    struct spawner_request request = request_for(lp, SPAWNER_CREATE);
    snprintf(request.kind, sizeof request.kind, "%s", kind);
    request.limits = *limits;
    if (ask(l, &request) != ERR_OK) {
        free(lp);
        return NULL;
    }
    list_append(&l->pods, &lp->link);
    l->pod_count++;
    return &lp->pod;
}

static enum err local_limits(struct pod *pod, const struct pod_limits *limits)
{
    struct local_pod *lp = local_of(pod);
    struct spawner_request request = request_for(lp, SPAWNER_LIMITS);
    request.limits = *limits;
    return ask(lp->local, &request);
}

static enum err local_usage(struct pod *pod)
{
    return ask_pod(local_of(pod), SPAWNER_USAGE);
}

static void local_destroy(struct pod *pod)
{
    struct local_pod *lp = local_of(pod);
    assert(!pod->destroyed);
    pod->destroyed = true;
    pod_watch(&lp->pod);
    if (!lp->ended && lp->id != 0 && ask_pod(lp, SPAWNER_DESTROY) != ERR_OK)
        lp->ended = true;
    if (lp->local->gone)
        lp->ended = true;
    finish_if_over(lp);
}

static const struct pod_backend_ops local_ops = {
    .name = "local",
    .create = local_create,
    .limits = local_limits,
    .place = pod_place,
    .run = pod_run,
    .input = pod_input,
    .kill = pod_kill,
    .usage = local_usage,
    .pause = pod_pause,
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
