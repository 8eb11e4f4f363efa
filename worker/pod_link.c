/* SPDX-License-Identifier: Apache-2.0 */
/* The stream to and from a pod's runner (frame.h), and what it leads to. */
#include "base/log.h"
#include "worker/backend_local_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

/* ---- telling ---- */

void pod_tell(struct pod *pod, const struct pod_event *event)
{
    assert(pod->magic == POD_MAGIC);
    pod->cb(pod->arg, event);
}

void pod_tell_type(struct pod *pod, enum pod_event_type type)
{
    pod_tell(pod, &(struct pod_event){.type = type});
}

void pod_tell_lost(struct pod *pod, const char *why)
{
    if (pod->lost || pod->destroyed)
        return;
    pod->lost = true;
    pod_watch(pod);
    pod_tell(pod, &(struct pod_event){.type = POD_LOST, .text = why});
}

/* ---- the stream from the runner ---- */

static bool wants_read(const struct pod *pod)
{
    return !pod->paused && !pod->lost && !pod->destroyed;
}

/* Which frames may come in which phase, and what they lead to. */
struct frame_rule {
    unsigned phases; /* bits of enum link_phase */
    enum link_phase next;
    enum err (*take)(struct pod *pod, struct str payload);
};

static enum err take_ready(struct pod *pod, struct str payload)
{
    uint32_t version;
    if (frame_get_u32(payload, &version) != ERR_OK || version != FRAME_VERSION)
        return ERR_PROTOCOL;
    pod->ready = true;
    pod_tell_type(pod, POD_READY);
    return ERR_OK;
}

static enum err take_started(struct pod *pod, struct str payload)
{
    (void)payload;
    pod_tell_type(pod, POD_STARTED);
    return ERR_OK;
}

static enum err take_output(struct pod *pod, enum pod_stream stream, struct str payload)
{
    pod_tell(pod, &(struct pod_event){.type = POD_OUTPUT, .stream = stream, .bytes = payload});
    return ERR_OK;
}

static enum err take_stdout(struct pod *pod, struct str payload)
{
    return take_output(pod, POD_STDOUT, payload);
}

static enum err take_stderr(struct pod *pod, struct str payload)
{
    return take_output(pod, POD_STDERR, payload);
}

static enum err take_waiting(struct pod *pod, struct str payload)
{
    (void)payload;
    pod_tell_type(pod, POD_WAITING);
    return ERR_OK;
}

static enum err take_end(struct pod *pod, enum pod_event_type type, struct str payload)
{
    struct pod_event event = {.type = type};
    enum err e = frame_get_exit(payload, &event.exit);
    if (e == ERR_OK)
        pod_tell(pod, &event);
    return e;
}

static enum err take_stage(struct pod *pod, struct str payload)
{
    return take_end(pod, POD_STAGE, payload);
}

static enum err take_exit(struct pod *pod, struct str payload)
{
    return take_end(pod, POD_EXIT, payload);
}

static enum err take_refusal(struct pod *pod, struct str payload, bool dead)
{
    char text[256];
    snprintf(text, sizeof text, STR_FMT, (int)(payload.n < 200 ? payload.n : 200), payload.p);
    if (pod->ready)
        pod_tell(pod, &(struct pod_event){.type = POD_REFUSED, .ok = dead, .text = text});
    else
        pod_tell_lost(pod, text);
    return ERR_OK;
}

static enum err take_error(struct pod *pod, struct str payload)
{
    return take_refusal(pod, payload, false);
}

static enum err take_dead(struct pod *pod, struct str payload)
{
    return take_refusal(pod, payload, true);
}

static enum err take_compiled(struct pod *pod, struct str payload)
{
    pod_tell(pod, &(struct pod_event){.type = POD_COMPILED, .ok = payload.n == 0, .bytes = payload});
    return ERR_OK;
}

static enum err take_state(struct pod *pod, struct str payload)
{
    pod_tell(pod, &(struct pod_event){.type = POD_STATE, .bytes = payload});
    return ERR_OK;
}

static enum err take_file_event(struct pod *pod, enum pod_event_type type, struct str payload)
{
    struct pod_event event = {.type = type};
    enum err e = frame_get_file(payload, &event.file);
    if (e == ERR_OK)
        pod_tell(pod, &event);
    return e;
}

static enum err take_file(struct pod *pod, struct str payload)
{
    return take_file_event(pod, POD_FILE, payload);
}

static enum err take_file_refused(struct pod *pod, struct str payload)
{
    return take_file_event(pod, POD_FILE_REFUSED, payload);
}

static enum err take_file_data(struct pod *pod, struct str payload)
{
    pod_tell(pod, &(struct pod_event){.type = POD_FILE_DATA, .bytes = payload});
    return ERR_OK;
}

static enum err take_file_end(struct pod *pod, struct str payload)
{
    uint32_t whole;
    enum err e = frame_get_u32(payload, &whole);
    if (e == ERR_OK)
        pod_tell(pod, &(struct pod_event){.type = POD_FILE_END, .ok = whole == 1});
    return e;
}

static enum err take_tool_call(struct pod *pod, struct str payload)
{
    pod_tell(pod, &(struct pod_event){.type = POD_TOOL_CALL, .bytes = payload});
    return ERR_OK;
}

static enum err take_done(struct pod *pod, struct str payload)
{
    (void)payload;
    pod_tell_type(pod, POD_DONE);
    return ERR_OK;
}

#define IN(phase) (1u << LINK_##phase)
static const struct frame_rule rules[] = {
    [FRAME_READY] = {IN(CONNECTING), LINK_READY, take_ready},
    [FRAME_STARTED] = {IN(STARTED_ASKED), LINK_RUNNING, take_started},
    [FRAME_STDOUT] = {IN(RUNNING), LINK_RUNNING, take_stdout},
    [FRAME_STDERR] = {IN(RUNNING), LINK_RUNNING, take_stderr},
    [FRAME_WAITING] = {IN(RUNNING), LINK_RUNNING, take_waiting},
    [FRAME_COMPILED] = {IN(RUNNING), LINK_RUNNING, take_compiled},
    [FRAME_STAGE] = {IN(RUNNING), LINK_RUNNING, take_stage},
    [FRAME_EXIT] = {IN(RUNNING), LINK_EXITED, take_exit},
    [FRAME_ERROR] = {IN(CONNECTING) | IN(READY) | IN(STARTED_ASKED) | IN(RUNNING), LINK_EXITED, take_error},
    [FRAME_FILE_BEGIN] = {IN(EXITED), LINK_EXITED, take_file},
    [FRAME_FILE_DATA] = {IN(EXITED), LINK_EXITED, take_file_data},
    [FRAME_FILE_END] = {IN(EXITED), LINK_EXITED, take_file_end},
    [FRAME_FILE_REFUSED] = {IN(EXITED), LINK_EXITED, take_file_refused},
    [FRAME_STATE] = {IN(RUNNING), LINK_RUNNING, take_state},
    [FRAME_DONE] = {IN(EXITED), LINK_DONE, take_done},
    [FRAME_TOOL_CALL] = {IN(RUNNING), LINK_RUNNING, take_tool_call},
    [FRAME_DEAD] = {IN(READY) | IN(STARTED_ASKED), LINK_EXITED, take_dead},
};
#undef IN

static enum err take_frame(struct pod *pod, const struct frame *frame)
{
    if (frame->type >= sizeof rules / sizeof rules[0] || !rules[frame->type].take)
        return ERR_PROTOCOL;
    const struct frame_rule *rule = &rules[frame->type];
    if (!(rule->phases & 1u << pod->phase)) {
        log_warn("a frame out of turn", F_INT("frame", frame->type), F_INT("phase", pod->phase));
        return ERR_PROTOCOL;
    }
    /* Before the telling: its receiver may destroy the pod (which stays valid until GONE). */
    pod->phase = rule->next;
    return rule->take(pod, frame->payload);
}

static enum err take_frames(struct pod *pod)
{
    size_t done = 0;
    enum err e = ERR_OK;
    while (e == ERR_OK && wants_read(pod)) {
        struct frame frame;
        size_t used;
        e = frame_take((struct str){.p = pod->in.data + done, .n = pod->in.len - done}, &frame, &used);
        if (e != ERR_OK)
            break;
        done += used;
        e = take_frame(pod, &frame);
    }
    buf_consume(&pod->in, done);
    return e == ERR_AGAIN ? ERR_OK : e;
}

static void pod_eof(struct pod *pod)
{
    if (pod->polling)
        uv_poll_stop(&pod->poll);
    pod->events = 0;
    pod_tell_lost(pod, "the pod's runner is gone");
}

static void read_pod(struct pod *pod)
{
    for (int i = 0; i < READS_PER_WAKE && wants_read(pod); i++) {
        char *room = pod->in.len < READ_MAX ? buf_reserve(&pod->in, READ_MAX - pod->in.len) : NULL;
        if (!room) {
            pod_tell_lost(pod, "no memory for a frame of the pod");
            return;
        }
        size_t asked = READ_MAX - pod->in.len;
        ssize_t n = recv(pod->fd, room, asked, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            pod_eof(pod);
            return;
        }
        pod->in.len += (size_t)n;
        if (take_frames(pod) != ERR_OK) {
            pod_tell_lost(pod, "pod_protocol: a frame that the protocol does not allow here");
            return;
        }
        if ((size_t)n < asked)
            return;
    }
}

void pod_write(struct pod *pod)
{
    while (pod->out_done < pod->out.len) {
        ssize_t n = send(pod->fd, pod->out.data + pod->out_done, pod->out.len - pod->out_done,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break; /* full, or an end that the reading side will see */
        pod->out_done += (size_t)n;
    }
    if (pod->out_done == pod->out.len) {
        pod->out_done = 0;
        if (pod->out.cap > READ_MAX)
            buf_free(&pod->out);
        else
            buf_reset(&pod->out);
    }
    pod_watch(pod);
    if (pod->wants_room && pod->out.len == 0) {
        pod->wants_room = false;
        pod_tell_type(pod, POD_ROOM);
    }
}

static void on_pod(uv_poll_t *poll, int status, int events)
{
    struct pod *pod = poll->data;
    assert(pod->magic == POD_MAGIC);
    if (status < 0) {
        pod_eof(pod);
        return;
    }
    if (events & UV_WRITABLE)
        pod_write(pod);
    if (events & UV_READABLE)
        read_pod(pod);
}

void pod_watch(struct pod *pod)
{
    if (!pod->polling || pod->closing)
        return;
    int events =
        (wants_read(pod) ? UV_READABLE : 0) | (pod->out.len > pod->out_done && !pod->lost ? UV_WRITABLE : 0);
    if (events == pod->events)
        return;
    pod->events = events;
    if (events)
        uv_poll_start(&pod->poll, events, on_pod);
    else
        uv_poll_stop(&pod->poll);
}

void pod_take_read(struct pod *pod)
{
    if (pod->in.len > 0 && take_frames(pod) != ERR_OK)
        pod_tell_lost(pod, "pod_protocol: a frame that the protocol does not allow here");
}
