/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "base/cleanup.h"
#include "worker/runner/channel.h"
#include "worker/spawner/fdmsg.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    int worker;
    struct channel channel;
};

static int open_pair(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    int pair[2];
    assert_non_null(f);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    f->worker = pair[0];
    f->channel.fd = pair[1];
    f->channel.passed = -1;
    *state = f;
    return 0;
}

static int close_pair(void **state)
{
    struct fixture *f = *state;
    close(f->worker);
    close(f->channel.fd);
    free(f);
    return 0;
}

/* What the worker has not read yet. */
static size_t drain(const struct fixture *f)
{
    static char bytes[1 << 16];
    size_t all = 0;
    ssize_t n;
    while ((n = recv(f->worker, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        all += (size_t)n;
    return all;
}

static void what_was_queued_goes_at_the_end_of_the_turn(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(channel_queue(&f->channel, FRAME_STARTED, NULL, 0), ERR_OK);
    assert_false(channel_idle(&f->channel));
    assert_int_equal(channel_end_turn(&f->channel), ERR_OK);
    assert_true(channel_idle(&f->channel));
    assert_int_equal(drain(f), FRAME_HEADER_SIZE);
}

/* Who stopped at a full socket goes on at POLLOUT, for which the channel must not be idle by then. */
static void what_a_full_socket_left_waits_for_pollout(void **state)
{
    struct fixture *f = *state;
    while (channel_idle(&f->channel))
        assert_int_equal(channel_put_chunk(&f->channel, FRAME_FILE_DATA, CHANNEL_CHUNK_MAX), ERR_OK);
    assert_true(drain(f) > 0); /* there is room again, within the same turn */
    assert_int_equal(channel_end_turn(&f->channel), ERR_OK);
    assert_false(channel_idle(&f->channel));
    assert_int_equal(drain(f), 0);
    assert_int_equal(channel_flush(&f->channel), ERR_OK); /* POLLOUT */
    assert_true(channel_idle(&f->channel));
    assert_int_equal(channel_end_turn(&f->channel), ERR_OK);
}

static ino_t inode(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return st.st_ino;
}

static void a_descriptor_waits_for_its_frame(void **state)
{
    struct fixture *f = *state;
    signal(SIGPIPE, SIG_IGN);
    auto_buf frames = BUF_INIT(4096);
    int pipes[2][2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pipe(pipes[i]), 0);
    frame_append(&frames, FRAME_SPEC, "spec", 4);
    frame_append(&frames, FRAME_COMPILED_PASSED, NULL, 0);
    assert_int_equal(channel_take_passed(&f->channel), -1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(fdmsg_write(f->worker, frames.data, frames.len, pipes[i][0]), (ssize_t)frames.len);
    for (unsigned i = 0; i < 4; i++) {
        struct frame frame;
        size_t used;
        while (channel_next(&f->channel, &frame, &used) == ERR_AGAIN)
            assert_int_equal(channel_fill(&f->channel), ERR_OK);
        assert_int_equal(frame.type, i % 2 == 0 ? FRAME_SPEC : FRAME_COMPILED_PASSED);
        channel_drop(&f->channel, used);
    }
    auto_fd last = channel_take_passed(&f->channel);
    assert_int_equal(inode(last), inode(pipes[1][0]));
    assert_int_equal(fcntl(last, F_GETFD), FD_CLOEXEC);
    assert_int_equal(channel_take_passed(&f->channel), -1);
    close(pipes[0][0]); /* nobody reads there any more: the one that was not taken is closed */
    assert_int_equal(write(pipes[0][1], "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    for (int i = 0; i < 2; i++)
        close(pipes[i][1]);
    close(pipes[1][0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_queued_goes_at_the_end_of_the_turn, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(what_a_full_socket_left_waits_for_pollout, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(a_descriptor_waits_for_its_frame, open_pair, close_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
