/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by backend_local.c (the spawner's side of a pod) and pod_link.c (its runner's side). */
#ifndef MILLRACE_WORKER_BACKEND_LOCAL_INTERNAL_H
#define MILLRACE_WORKER_BACKEND_LOCAL_INTERNAL_H

#include "base/list.h"
#include "worker/backend_local.h"

enum {
    QUEUE_MAX = 4 * LOCAL_PODS_MAX, /* requests that wait for room in the socket: 4 kinds of request a pod */
    READ_MAX = FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX,
    READS_PER_WAKE = 4,  /* so that one loud pod leaves the loop to others */
    OUT_MAX = 608 << 20, /* spec 16 MiB, stdin 64 MiB, state 512 MiB, frames */
    INPUT_HELD_MAX = 16 << 20,
    TOOL_RESULTS_HELD_MAX = 64 << 20,
    PLACE_HELD_MAX = 256 << 10, /* of input files; then the reader of the store waits */
    POD_MAGIC = 0x706f6421,
};

enum link_phase { LINK_CONNECTING, LINK_READY, LINK_STARTED_ASKED, LINK_RUNNING, LINK_EXITED, LINK_DONE };

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

struct pod {
    unsigned magic;
    struct local *local;
    struct list link;
    pod_event_cb cb;
    void *arg;
    uint64_t tag; /* of its requests */
    uint64_t id;  /* the spawner's; 0: not made yet */
    int fd;
    union {
        uv_handle_t handle;
        uv_poll_t poll;
        uv_timer_t timer; /* only to get back to the loop, for a pod that never had a socket */
    };
    bool polling, closing, ready;
    int events;
    enum link_phase phase;
    bool destroyed; /* destroy() was called */
    bool ended;     /* the spawner has nothing of it any more */
    bool lost;      /* LOST was told */
    bool paused;
    bool wants_room; /* place() was told to wait */
    bool have_final;
    struct pod_usage final_usage;
    struct buf in, out;
    size_t out_done;
};

/* pod_link.c: the stream to and from the runner. */
void pod_tell(struct pod *pod, const struct pod_event *event);
void pod_tell_type(struct pod *pod, enum pod_event_type type);
/* Once; not after the destroy. */
void pod_tell_lost(struct pod *pod, const char *why);
/* Polls for what is wanted now. */
void pod_watch(struct pod *pod);
/* Sends what waits in `out`, as far as it goes. */
void pod_write(struct pod *pod);
/* Tells what was read already, unless the pod is paused. */
void pod_take_read(struct pod *pod);

#endif
