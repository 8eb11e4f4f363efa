/* SPDX-License-Identifier: Apache-2.0 */
/* A backend that does nothing by itself: the test says what each pod tells. One to a test program. */
#ifndef MILLRACE_TESTS_FAKE_BACKEND_H
#define MILLRACE_TESTS_FAKE_BACKEND_H

#include "worker/backend.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAKE_PODS_MAX = 64 };

struct pod {
    char kind[SPAWNER_KIND_MAX];
    pod_event_cb cb;
    void *arg;
    struct pod_limits limits;
    bool alive, destroyed, ran, paused;
    struct buf spec, input, placed;
    bool stdin_eof, input_full;
    int eofs, kills, usages, signal;
    enum pod_end killed;
};

static struct {
    struct pod_backend base;
    struct pod pods[FAKE_PODS_MAX];
    size_t count; /* ever made */
    size_t refuse_create;
    enum err run_error;
} fake;

static struct pod *fake_create(struct pod_backend *backend, const char *kind, const struct pod_limits *limits,
                               pod_event_cb cb, void *arg)
{
    (void)backend;
    if (fake.refuse_create > 0 || fake.count == FAKE_PODS_MAX)
        return NULL;
    struct pod *pod = &fake.pods[fake.count++];
    *pod = (struct pod){.cb = cb, .arg = arg, .limits = *limits, .alive = true};
    snprintf(pod->kind, sizeof pod->kind, "%s", kind);
    buf_init(&pod->spec, 1 << 20);
    buf_init(&pod->input, 1 << 20);
    buf_init(&pod->placed, 1 << 20);
    return pod;
}

static enum err fake_limits(struct pod *pod, const struct pod_limits *limits)
{
    pod->limits = *limits;
    return ERR_OK;
}

static enum err fake_place(struct pod *pod, enum frame_type type, struct str payload)
{
    (void)type;
    buf_append_str(&pod->placed, payload);
    return ERR_OK;
}

static enum err fake_run(struct pod *pod, const struct pod_run *run)
{
    if (fake.run_error != ERR_OK)
        return fake.run_error;
    pod->ran = true;
    buf_append_str(&pod->spec, run->spec);
    buf_append_str(&pod->input, run->stdin_bytes);
    pod->stdin_eof = run->stdin_eof;
    return ERR_OK;
}

static enum err fake_input(struct pod *pod, enum frame_type type, struct str bytes)
{
    if (type == FRAME_STDIN && pod->input_full)
        return ERR_FULL;
    if (type == FRAME_STDIN)
        buf_append_str(&pod->input, bytes);
    else if (type == FRAME_STDIN_EOF)
        pod->eofs++;
    else
        pod->signal = bytes.p[0];
    return ERR_OK;
}

static void fake_kill(struct pod *pod, enum pod_end why)
{
    pod->kills++;
    pod->killed = why;
}

static enum err fake_usage(struct pod *pod)
{
    pod->usages++;
    return ERR_OK;
}

static void fake_pause(struct pod *pod, bool paused)
{
    pod->paused = paused;
}

static void fake_destroy(struct pod *pod)
{
    assert(!pod->destroyed);
    pod->destroyed = true;
}

static const struct pod_backend_ops fake_ops = {
    .name = "fake",
    .create = fake_create,
    .limits = fake_limits,
    .place = fake_place,
    .run = fake_run,
    .input = fake_input,
    .kill = fake_kill,
    .usage = fake_usage,
    .pause = fake_pause,
    .destroy = fake_destroy,
};

static inline void fake_reset(void)
{
    for (size_t i = 0; i < fake.count; i++) {
        buf_free(&fake.pods[i].spec);
        buf_free(&fake.pods[i].input);
        buf_free(&fake.pods[i].placed);
    }
    memset(&fake, 0, sizeof fake);
    fake.base.ops = &fake_ops;
}

static inline void fake_tell(struct pod *pod, struct pod_event event)
{
    assert(pod->alive);
    if (event.type == POD_GONE)
        pod->alive = false;
    pod->cb(pod->arg, &event);
}

static inline void fake_says(struct pod *pod, enum pod_event_type type)
{
    fake_tell(pod, (struct pod_event){.type = type, .reason = REASON_POD_LOST, .text = "the test says so"});
}

/* Every pod that was destroyed is gone. */
static inline void fake_reap(void)
{
    for (size_t i = 0; i < fake.count; i++)
        if (fake.pods[i].alive && fake.pods[i].destroyed)
            fake_says(&fake.pods[i], POD_GONE);
}

#endif
