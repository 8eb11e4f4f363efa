/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/pod_link.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "worker/spawner/fdmsg.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_MAX = FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX,
    READS_PER_WAKE = 4,   /* so that one loud pod leaves the loop to others */
    OUT_MAX = 608 << 20,  /* spec 16 MiB, state 512 MiB, tool results, frames */
    INPUT_MAX = 66 << 20, /* what the request brought; nothing is taken behind that */
    INPUT_HELD_MAX = 256 << 10,
    INPUT_FED_MAX = 128 << 10,  /* of it in `out` */
    OTHERS_HELD_MAX = 64 << 20, /* signals and results of tools */
    PLACE_HELD_MAX = 256 << 10, /* of input files; then the reader of the store waits */
    POD_MAGIC = 0x706f6421,
};

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

void pod_tell_lost(struct pod *pod, enum reason reason, const char *why)
{
    if (pod->lost || pod->destroyed)
        return;
    pod->lost = true;
    pod_watch(pod);
    pod_tell(pod, &(struct pod_event){.type = POD_LOST, .reason = reason, .text = why});
}

/* ---- the stream from the runner ---- */

static bool wants_read(const struct pod *pod)
{
    return !pod->paused && !pod->lost && !pod->destroyed && !pod->at_eof;
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
        pod_tell_lost(pod, REASON_POD_LOST, text);
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

static void pod_write(struct pod *pod);

static enum err take_stdin_taken(struct pod *pod, struct str payload)
{
    uint32_t bytes;
    if (frame_get_u32(payload, &bytes) != ERR_OK || bytes > FRAME_STDIN_HELD_MAX - pod->input_window)
        return ERR_PROTOCOL;
    pod->input_window += bytes;
    pod_write(pod);
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
    [FRAME_STDIN_TAKEN] = {IN(RUNNING), LINK_RUNNING, take_stdin_taken},
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
    pod->taking = true;
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
    pod->taking = false;
    return e == ERR_AGAIN ? ERR_OK : e;
}

static void pod_eof(struct pod *pod)
{
    if (pod->polling)
        uv_poll_stop(&pod->poll);
    pod->events = 0;
    pod->at_eof = true;
    if (!pod->on_eof || !pod->on_eof(pod))
        pod_tell_lost(pod, REASON_POD_LOST, "the pod's runner is gone");
}

static void read_pod(struct pod *pod)
{
    for (int i = 0; i < READS_PER_WAKE && wants_read(pod); i++) {
        char *room = pod->in.len < READ_MAX ? buf_reserve(&pod->in, READ_MAX - pod->in.len) : NULL;
        if (!room) {
            pod_tell_lost(pod, REASON_INTERNAL, "no memory for a frame of the pod");
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
            pod_tell_lost(pod, REASON_POD_PROTOCOL,
                          "pod_protocol: a frame that the protocol does not allow here");
            return;
        }
        if ((size_t)n < asked)
            return;
    }
}

static size_t input_left(const struct pod *pod)
{
    return pod->input.len - pod->input_done;
}

/* As much of the input as the runner has room for, a little at a time; its end behind the last of it. */
static void feed_input(struct pod *pod)
{
    while (pod->input_window > 0 && input_left(pod) > 0 && pod->out.len - pod->out_done < INPUT_FED_MAX) {
        size_t n = input_left(pod) < FRAME_PAYLOAD_MAX ? input_left(pod) : FRAME_PAYLOAD_MAX;
        n = n < pod->input_window ? n : pod->input_window;
        frame_append(&pod->out, FRAME_STDIN, pod->input.data + pod->input_done, n);
        pod->input_done += n;
        pod->input_window -= (uint32_t)n;
    }
    if (input_left(pod) > 0)
        return;
    buf_free(&pod->input);
    pod->input_done = 0;
    if (pod->eof_due)
        frame_append(&pod->out, FRAME_STDIN_EOF, NULL, 0);
    pod->eof_due = false;
}

static void drop_passed(struct pod *pod)
{
    if (pod->passes >= 0)
        close(pod->passes);
    pod->passes = -1;
}

/* True: all of it went. */
static bool send_out(struct pod *pod)
{
    while (pod->out_done < pod->out.len) {
        ssize_t n =
            fdmsg_write(pod->fd, pod->out.data + pod->out_done, pod->out.len - pod->out_done, pod->passes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN && pod->passes >= 0)
            shutdown(pod->fd, SHUT_RDWR); /* the bytes could go without it, and must not */
        if (n < 0)
            break; /* full, or an end that the reading side will see */
        drop_passed(pod);
        pod->out_done += (size_t)n;
    }
    if (pod->out_done < pod->out.len)
        return false;
    pod->out_done = 0;
    if (pod->out.cap > READ_MAX)
        buf_free(&pod->out);
    else
        buf_reset(&pod->out);
    return true;
}

static void pod_write(struct pod *pod)
{
    do
        feed_input(pod);
    while (send_out(pod) && pod->input_window > 0 && input_left(pod) > 0);
    pod_watch(pod);
    if (pod->wants_room && pod->out.len == 0 && input_left(pod) == 0) {
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
    int events = (wants_read(pod) ? UV_READABLE : 0) |
                 (pod->out.len > pod->out_done && !pod->lost && !pod->at_eof ? UV_WRITABLE : 0);
    if (events == pod->events)
        return;
    pod->events = events;
    if (events)
        uv_poll_start(&pod->poll, events, on_pod);
    else
        uv_poll_stop(&pod->poll);
}

/* What was read before the pod was paused. Whoever was told of one of these frames goes on with the next ones behind it. */
static void take_read(struct pod *pod)
{
    if (pod->in.len > 0 && !pod->taking && take_frames(pod) != ERR_OK)
        pod_tell_lost(pod, REASON_POD_PROTOCOL,
                      "pod_protocol: a frame that the protocol does not allow here");
}

/* ---- what a backend's vtable takes from here ---- */

enum err pod_place(struct pod *pod, enum frame_type type, struct str payload)
{
    if (pod->phase != LINK_READY || pod->lost || pod->destroyed)
        return ERR_CLOSED;
    frame_append(&pod->out, type, payload.p, payload.n);
    if (buf_status(&pod->out) != ERR_OK)
        return ERR_CLOSED;
    pod_write(pod);
    if (pod->out.len - pod->out_done > PLACE_HELD_MAX)
        pod->wants_room = true; /* until ROOM is told: whoever heard of it waits for that */
    return pod->wants_room ? ERR_AGAIN : ERR_OK;
}

/* The descriptor waits beside `out`, for the runner keeps what comes early. */
static enum err add_program(struct pod *pod, const struct pod_program *program)
{
    if (program->fd < 0) {
        frame_append(&pod->out, FRAME_COMPILED_IN, program->bytes.p, program->bytes.n);
        return ERR_OK;
    }
    pod->passes = fcntl(program->fd, F_DUPFD_CLOEXEC, 0);
    frame_append(&pod->out, FRAME_COMPILED_PASSED, NULL, 0);
    return pod->passes >= 0 ? ERR_OK : ERR_FULL;
}

enum err pod_run(struct pod *pod, const struct pod_run *run)
{
    if (pod->phase != LINK_READY || pod->lost)
        return ERR_CLOSED;
    size_t before = run->stdin_bytes.n < POD_STDIN_FIRST ? run->stdin_bytes.n : POD_STDIN_FIRST;
    if (run->collect.n > 0)
        frame_append(&pod->out, FRAME_COLLECT, run->collect.p, run->collect.n);
    frame_append(&pod->out, FRAME_SPEC, run->spec.p, run->spec.n);
    if (run->compiled && add_program(pod, run->compiled) != ERR_OK)
        return ERR_FULL;
    if (run->state.n > 0)
        frame_append(&pod->out, FRAME_STATE_IN, run->state.p, run->state.n);
    if (before > 0)
        frame_append(&pod->out, FRAME_STDIN, run->stdin_bytes.p, before);
    frame_append(&pod->out, FRAME_START, NULL, 0);
    if (before < run->stdin_bytes.n)
        buf_append(&pod->input, run->stdin_bytes.p + before, run->stdin_bytes.n - before);
    if (buf_status(&pod->out) != ERR_OK || buf_status(&pod->input) != ERR_OK)
        return ERR_FULL;
    pod->input_window -= (uint32_t)before;
    pod->input_ended = pod->eof_due =
        run->stdin_eof && before < run->stdin_bytes.n; /* else the spec says so */
    pod->phase = LINK_STARTED_ASKED;
    pod_write(pod);
    return ERR_OK;
}

static enum err hold_input(struct pod *pod, struct str bytes)
{
    if (pod->input_ended)
        return ERR_CLOSED;
    if (input_left(pod) > 0 && input_left(pod) + bytes.n > INPUT_HELD_MAX) {
        pod->wants_room = true;
        return ERR_FULL;
    }
    buf_consume(&pod->input, pod->input_done);
    pod->input_done = 0;
    buf_append_str(&pod->input, bytes);
    return buf_status(&pod->input);
}

static enum err end_input(struct pod *pod)
{
    if (pod->input_ended)
        return ERR_CLOSED;
    pod->input_ended = pod->eof_due = true;
    return ERR_OK;
}

static enum err send_frame(struct pod *pod, enum frame_type type, struct str bytes)
{
    if (pod->out.len - pod->out_done + bytes.n > OTHERS_HELD_MAX)
        return ERR_FULL;
    frame_append(&pod->out, type, bytes.p, bytes.n);
    return buf_status(&pod->out);
}

enum err pod_input(struct pod *pod, enum frame_type type, struct str bytes)
{
    if ((pod->phase != LINK_RUNNING && pod->phase != LINK_STARTED_ASKED) || pod->lost || pod->destroyed)
        return ERR_CLOSED;
    enum err e = type == FRAME_STDIN       ? hold_input(pod, bytes)
                 : type == FRAME_STDIN_EOF ? end_input(pod)
                                           : send_frame(pod, type, bytes);
    if (e == ERR_OK)
        pod_write(pod);
    return e;
}

void pod_kill(struct pod *pod, enum pod_end why)
{
    if (pod->lost || pod->destroyed || !pod->polling)
        return;
    frame_append_u32(&pod->out, FRAME_KILL, (uint32_t)why);
    pod_write(pod);
}

void pod_pause(struct pod *pod, bool paused)
{
    if (pod->paused == paused)
        return;
    pod->paused = paused;
    pod_watch(pod);
    if (!paused)
        take_read(pod);
}

/* ---- beginning and end ---- */

void pod_init(struct pod *pod, uv_loop_t *loop, pod_event_cb cb, void *arg)
{
    *pod = (struct pod){.magic = POD_MAGIC, .loop = loop, .cb = cb, .arg = arg, .fd = -1, .passes = -1};
    buf_init(&pod->in, READ_MAX);
    buf_init(&pod->out, OUT_MAX);
    buf_init(&pod->input, INPUT_MAX);
    pod->input_window = FRAME_STDIN_HELD_MAX;
}

enum err pod_connected(struct pod *pod, int fd)
{
    pod->fd = fd;
    if (fd < 0 || uv_poll_init(pod->loop, &pod->poll, fd) != 0)
        return ERR_SYSTEM;
    pod->poll.data = pod;
    pod->polling = true;
    pod_watch(pod);
    return ERR_OK;
}

/* Under the number of the one before, whose poll has been stopped: libuv knows a handle by it. */
enum err pod_reconnected(struct pod *pod, int fd)
{
    auto_fd own = fd;
    assert(pod->at_eof && !pod->ready && pod->polling);
    if (own < 0 || dup3(own, pod->fd, O_CLOEXEC) < 0)
        return ERR_SYSTEM;
    buf_reset(&pod->in);
    buf_reset(&pod->out);
    pod->out_done = 0;
    pod->at_eof = false;
    pod_watch(pod);
    return ERR_OK;
}

void pod_send_first(struct pod *pod, struct str bytes)
{
    buf_append_str(&pod->out, bytes);
    pod_write(pod);
}

void pod_close(struct pod *pod, uv_close_cb closed)
{
    pod->closing = true;
    if (!pod->polling)
        uv_timer_init(pod->loop, &pod->timer);
    pod->handle.data = pod;
    uv_close(&pod->handle, closed);
}

void pod_tell_gone(struct pod *pod)
{
    buf_free(&pod->in);
    buf_free(&pod->out);
    buf_free(&pod->input);
    drop_passed(pod);
    if (pod->fd >= 0)
        close(pod->fd);
    pod_tell_type(pod, POD_GONE);
    pod->magic = 0;
}
