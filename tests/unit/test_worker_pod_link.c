/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "worker/pod_link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct scene {
    uv_loop_t loop;
    struct pod pod;
    int runner; /* the other end */
    struct buf told, output;
    bool lost, gone, pauses;
};

static void on_event(void *arg, const struct pod_event *event)
{
    struct scene *s = arg;
    buf_append_char(&s->told, (char)('a' + event->type));
    s->lost = s->lost || event->type == POD_LOST;
    s->gone = s->gone || event->type == POD_GONE;
    if (event->type != POD_OUTPUT)
        return;
    buf_append_str(&s->output, event->bytes);
    if (s->pauses) { /* as a job whose output is full and is then taken by the log, all in one event */
        pod_pause(&s->pod, true);
        pod_pause(&s->pod, false);
    }
}

static void begin(struct scene *s)
{
    int pair[2];
    *s = (struct scene){.told = BUF_INIT(1024), .output = BUF_INIT(1024)};
    assert_int_equal(uv_loop_init(&s->loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    s->runner = pair[1];
    pod_init(&s->pod, &s->loop, on_event, s);
    assert_int_equal(pod_connected(&s->pod, pair[0]), ERR_OK);
}

static void on_closed(uv_handle_t *handle)
{
    pod_tell_gone(handle->data);
}

static void end(struct scene *s)
{
    s->pod.destroyed = true;
    pod_close(&s->pod, on_closed);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_true(s->gone);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    close(s->runner);
    buf_free(&s->told);
    buf_free(&s->output);
}

static void says(struct scene *s, const struct buf *frames)
{
    assert_int_equal(send(s->runner, frames->data, frames->len, 0), (ssize_t)frames->len);
    while (uv_run(&s->loop, UV_RUN_NOWAIT) != 0 && s->pod.in.len > 0 && !s->lost)
        ;
}

static void run(struct scene *s)
{
    struct buf b = BUF_INIT(4096);
    frame_append_u32(&b, FRAME_READY, FRAME_VERSION);
    says(s, &b);
    assert_int_equal(pod_run(&s->pod, &(struct pod_run){.spec = STR("")}), ERR_OK);
    buf_reset(&b);
    frame_append(&b, FRAME_STARTED, NULL, 0);
    frame_append(&b, FRAME_STDOUT, "one ", 4);
    frame_append(&b, FRAME_STDOUT, "two ", 4);
    frame_append(&b, FRAME_STDOUT, "three", 5);
    says(s, &b);
    buf_free(&b);
}

static void frames_are_told_in_order(void **state)
{
    struct scene s;
    (void)state;
    begin(&s);
    run(&s);
    assert_true(str_eq(buf_str(&s.output), STR("one two three")));
    assert_false(s.lost);
    end(&s);
}

static void whoever_pauses_and_goes_on_in_one_event_gets_each_frame_once(void **state)
{
    struct scene s;
    (void)state;
    begin(&s);
    s.pauses = true;
    run(&s);
    assert_true(str_eq(buf_str(&s.output), STR("one two three")));
    assert_false(s.lost);
    end(&s);
}

static void a_paused_pod_tells_the_rest_later(void **state)
{
    struct scene s;
    (void)state;
    begin(&s);
    pod_pause(&s.pod, true);
    struct buf b = BUF_INIT(64);
    frame_append_u32(&b, FRAME_READY, FRAME_VERSION);
    assert_int_equal(send(s.runner, b.data, b.len, 0), (ssize_t)b.len);
    uv_run(&s.loop, UV_RUN_NOWAIT);
    assert_int_equal(s.told.len, 0);
    pod_pause(&s.pod, false);
    while (s.told.len == 0)
        uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(s.told.data[0], 'a' + POD_READY);
    buf_free(&b);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_told_in_order),
        cmocka_unit_test(whoever_pauses_and_goes_on_in_one_event_gets_each_frame_once),
        cmocka_unit_test(a_paused_pod_tells_the_rest_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
