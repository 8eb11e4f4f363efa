/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/cleanup.h"
#include "worker/pod_link.h"
#include "worker/spawner/fdmsg.h"

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

/* Takes what the pod was sent: the bytes of its STDIN frames, and the types of the others. */
static size_t receive(struct scene *s, char *others, size_t size)
{
    static struct buf in = BUF_INIT(4 << 20);
    size_t bytes = 0, used, n = 0;
    struct frame f;
    for (int quiet = 0; quiet < 3;
         quiet++) { /* a turn may tell that there is room, and the next one use it */
        uv_run(&s->loop, UV_RUN_NOWAIT);
        char *room = buf_reserve(&in, 1 << 16);
        ssize_t got = recv(s->runner, room, 1 << 16, 0);
        if (got > 0)
            in.len += (size_t)got, quiet = 0;
    }
    while (frame_take(buf_str(&in), &f, &used) == ERR_OK) {
        if (f.type == FRAME_STDIN)
            bytes += f.payload.n;
        else if (n + 1 < size)
            others[n++] = (char)f.type;
        buf_consume(&in, used);
    }
    others[n] = 0;
    if (in.len == 0)
        buf_free(&in);
    return bytes;
}

static void takes(struct scene *s, uint32_t bytes)
{
    struct buf b = BUF_INIT(64);
    frame_append_u32(&b, FRAME_STDIN_TAKEN, bytes);
    says(s, &b);
    buf_free(&b);
}

static void input_waits_for_room_and_nothing_else_does(void **state)
{
    static char piece[48 << 10];
    enum { MUCH = 4 << 20 };
    struct scene s;
    char others[16];
    size_t taken = 0, sent = 0, more = 0;
    (void)state;
    begin(&s);
    run(&s);
    (void)receive(&s, others, sizeof others);
    do { /* how much at a time is what the socket takes */
        while (pod_input(&s.pod, FRAME_STDIN, (struct str){piece, sizeof piece}) == ERR_OK)
            assert_true((taken += sizeof piece) < MUCH);
        more = receive(&s, others, sizeof others);
        assert_int_equal(others[0], 0);
        sent += more;
    } while (more > 0);
    assert_int_equal(sent, FRAME_STDIN_HELD_MAX); /* all that the runner holds */
    buf_reset(&s.told);
    assert_int_equal(pod_input(&s.pod, FRAME_STDIN_EOF, (struct str){0}), ERR_OK);
    assert_int_equal(pod_input(&s.pod, FRAME_STDIN, (struct str){piece, 1}), ERR_CLOSED);
    assert_int_equal(pod_input(&s.pod, FRAME_SIGNAL, STR("\2\0\0\0")), ERR_OK);
    pod_kill(&s.pod, PE_CANCELLED);
    assert_int_equal(receive(&s, others, sizeof others), 0);
    assert_true(others[0] == FRAME_SIGNAL && others[1] == FRAME_KILL && !others[2]);
    assert_null(memchr(s.told.data, 'a' + POD_ROOM, s.told.len));
    takes(&s, FRAME_STDIN_TOLD);
    more = receive(&s, others, sizeof others);
    assert_int_equal(more, taken - FRAME_STDIN_HELD_MAX < FRAME_STDIN_TOLD ? taken - FRAME_STDIN_HELD_MAX
                                                                           : FRAME_STDIN_TOLD);
    takes(&s, FRAME_STDIN_TOLD);
    more += receive(&s, others, sizeof others);
    assert_int_equal(more, taken - FRAME_STDIN_HELD_MAX);
    assert_non_null(memchr(s.told.data, 'a' + POD_ROOM, s.told.len));
    assert_false(s.lost);
    end(&s);
}

static void whoever_was_told_to_wait_is_told_of_room(void **state)
{
    static char piece[48 << 10];
    enum { HELD_LITTLE = 128 << 10 };
    struct scene s;
    struct buf b = BUF_INIT(64);
    enum err e;
    (void)state;
    begin(&s);
    frame_append_u32(&b, FRAME_READY, FRAME_VERSION);
    says(&s, &b);
    do
        e = pod_place(&s.pod, FRAME_INPUT_DATA, (struct str){piece, sizeof piece});
    while (e == ERR_OK);
    assert_int_equal(e, ERR_AGAIN);
    while (s.pod.out.len - s.pod.out_done > HELD_LITTLE) { /* some of it goes */
        assert_true(recv(s.runner, piece, sizeof piece, 0) > 0);
        uv_run(&s.loop, UV_RUN_NOWAIT);
    }
    assert_null(memchr(s.told.data, 'a' + POD_ROOM, s.told.len));
    assert_int_equal(pod_place(&s.pod, FRAME_INPUT_DATA, STR("the rest of what is at hand")), ERR_AGAIN);
    while (recv(s.runner, piece, sizeof piece, 0) > 0)
        uv_run(&s.loop, UV_RUN_NOWAIT);
    assert_non_null(memchr(s.told.data, 'a' + POD_ROOM, s.told.len));
    assert_int_equal(pod_place(&s.pod, FRAME_INPUT_DATA, STR("more")), ERR_OK);
    buf_free(&b);
    end(&s);
}

static void a_runner_that_took_more_than_it_got_is_lost(void **state)
{
    struct scene s;
    (void)state;
    begin(&s);
    run(&s);
    takes(&s, 1);
    assert_true(s.lost);
    end(&s);
}

/* The descriptor that comes with what the pod was sent, all of which is read; the types of the frames. */
static int receive_passed(struct scene *s, char *types, size_t size)
{
    auto_buf in = BUF_INIT(4 << 20);
    int passed = -1;
    size_t n = 0, used;
    struct frame f;
    do {
        char *room = buf_reserve(&in, 1 << 16);
        int now = -1;
        ssize_t got = fdmsg_read(s->runner, room, 1 << 16, &now);
        in.len += got > 0 ? (size_t)got : 0;
        assert_true(now < 0 || passed < 0);
        passed = now >= 0 ? now : passed;
        uv_run(&s->loop, UV_RUN_NOWAIT);
    } while (in.len == 0 || in.data[in.len - 4] != FRAME_START);
    for (size_t at = 0; frame_take((struct str){in.data + at, in.len - at}, &f, &used) == ERR_OK; at += used)
        if (f.type != FRAME_INPUT_DATA && n + 1 < size)
            types[n++] = (char)f.type;
    types[n] = 0;
    return passed;
}

/* Also behind files that the socket has no room for. */
static void a_program_goes_as_a_descriptor(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        static char piece[48 << 10];
        struct scene s;
        auto_buf b = BUF_INIT(64);
        int pipes[2];
        char types[8], byte;
        begin(&s);
        frame_append_u32(&b, FRAME_READY, FRAME_VERSION);
        says(&s, &b);
        while (full && pod_place(&s.pod, FRAME_INPUT_DATA, (struct str){piece, sizeof piece}) == ERR_OK)
            ;
        assert_int_equal(pipe(pipes), 0);
        const struct pod_program program = {.fd = pipes[0]};
        assert_int_equal(pod_run(&s.pod, &(struct pod_run){.spec = STR("spec"), .compiled = &program}),
                         ERR_OK);
        close(pipes[0]); /* the pod's is its own */
        auto_fd passed = receive_passed(&s, types, sizeof types);
        const char wanted[] = {FRAME_SPEC, FRAME_COMPILED_PASSED, FRAME_START, 0};
        assert_string_equal(types, wanted);
        assert_int_equal(write(pipes[1], "x", 1), 1);
        assert_int_equal(read(passed, &byte, 1), 1);
        assert_int_equal(s.pod.passes, -1);
        close(pipes[1]);
        end(&s);
    }
}

/* Its pod is lost, and no program is run that is not there. */
static void a_descriptor_that_cannot_go_ends_the_stream(void **state)
{
    struct scene s;
    auto_buf b = BUF_INIT(64);
    char types[64];
    (void)state;
    begin(&s);
    frame_append_u32(&b, FRAME_READY, FRAME_VERSION);
    says(&s, &b);
    s.pod.passes = 1 << 30; /* none */
    assert_int_equal(pod_input(&s.pod, FRAME_SIGNAL, STR("")), ERR_CLOSED);
    assert_int_equal(pod_place(&s.pod, FRAME_INPUT_DATA, STR("x")), ERR_OK);
    for (int i = 0; i < 100 && !s.lost; i++)
        uv_run(&s.loop, UV_RUN_NOWAIT);
    assert_true(s.lost);
    assert_int_equal(recv(s.runner, types, sizeof types, 0), 0);
    s.pod.passes = -1;
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_told_in_order),
        cmocka_unit_test(whoever_pauses_and_goes_on_in_one_event_gets_each_frame_once),
        cmocka_unit_test(a_paused_pod_tells_the_rest_later),
        cmocka_unit_test(input_waits_for_room_and_nothing_else_does),
        cmocka_unit_test(whoever_was_told_to_wait_is_told_of_room),
        cmocka_unit_test(a_runner_that_took_more_than_it_got_is_lost),
        cmocka_unit_test(a_program_goes_as_a_descriptor),
        cmocka_unit_test(a_descriptor_that_cannot_go_ends_the_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
