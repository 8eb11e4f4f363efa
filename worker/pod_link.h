/* SPDX-License-Identifier: Apache-2.0 */
/* The stream between a worker and the runner of a pod (frame.h), the same in every backend: one stream socket. A backend's
   own pod begins with this one; what the stream alone decides are members of its vtable as they stand here. */
#ifndef MILLRACE_WORKER_POD_LINK_H
#define MILLRACE_WORKER_POD_LINK_H

#include "worker/backend.h"

#include <uv.h>

enum link_phase { LINK_CONNECTING, LINK_READY, LINK_STARTED_ASKED, LINK_RUNNING, LINK_EXITED, LINK_DONE };

struct pod {
    unsigned magic;
    uv_loop_t *loop;
    pod_event_cb cb;
    void *arg;
    /* The other end is closed. True: the backend tells LOST, when it knows why. NULL: it is told at once. */
    bool (*on_eof)(struct pod *pod);
    int fd;
    union {
        uv_handle_t handle;
        uv_poll_t poll;
        uv_timer_t timer; /* only to get back to the loop, for a pod that never had a socket */
    };
    bool polling, closing, ready, at_eof;
    int events;
    enum link_phase phase;
    bool destroyed; /* destroy() was called */
    bool lost;      /* LOST was told */
    bool paused;
    bool taking;     /* the frames of `in` are being told; who is told may pause and go on */
    bool wants_room; /* place() or input() was told to wait */
    struct buf in, out;
    size_t out_done;
    int passes; /* goes with the next bytes of `out`; -1: none */
    /* Standard input that the runner has no room for yet: beside `out`, so that nothing else waits behind it. */
    struct buf input;
    size_t input_done;
    uint32_t input_window; /* bytes that it has room for */
    bool input_ended;      /* no more comes */
    bool eof_due;          /* and the runner is to be told, behind `input` */
};

void pod_init(struct pod *pod, uv_loop_t *loop, pod_event_cb cb, void *arg);
/* The stream begins, on a socket that is taken over. ERR_SYSTEM. */
MUST_CHECK enum err pod_connected(struct pod *pod, int fd);
/* After on_eof(), before it was ready: the stream begins anew on another socket, which is taken over. ERR_SYSTEM. */
MUST_CHECK enum err pod_reconnected(struct pod *pod, int fd);
/* Bytes that go before every frame (worker/knock.h). */
void pod_send_first(struct pod *pod, struct str bytes);
/* Closes the socket and goes back to the loop: `closed` then gives up the memory that the pod is in, after pod_tell_gone(). */
void pod_close(struct pod *pod, uv_close_cb closed);
void pod_tell_gone(struct pod *pod);

void pod_tell(struct pod *pod, const struct pod_event *event);
void pod_tell_type(struct pod *pod, enum pod_event_type type);
/* Once; not after the destroy. */
void pod_tell_lost(struct pod *pod, enum reason reason, const char *why);
/* Polls for what is wanted now. */
void pod_watch(struct pod *pod);

/* Members of struct pod_backend_ops. */
MUST_CHECK enum err pod_place(struct pod *pod, enum frame_type type, struct str payload);
MUST_CHECK enum err pod_run(struct pod *pod, const struct pod_run *run);
MUST_CHECK enum err pod_input(struct pod *pod, enum frame_type type, struct str bytes);
void pod_kill(struct pod *pod, enum pod_end why);
void pod_pause(struct pod *pod, bool paused);

#endif
