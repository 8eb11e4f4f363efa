/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "worker/runner/channel.h"

#include <stdlib.h>
#include <sys/socket.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_queued_goes_at_the_end_of_the_turn, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(what_a_full_socket_left_waits_for_pollout, open_pair, close_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
