/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "worker/coalesce.h"

#include <stdlib.h>
#include <string.h>

enum { MS = 1000000 };

static struct coalescer c;
static struct coalesce_batch batch;
static struct event_draft drafts[COALESCE_EVENTS_MAX];

static int setup(void **state)
{
    (void)state;
    coalesce_init(&c);
    coalesce_batch_init(&batch);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    coalesce_free(&c);
    coalesce_batch_free(&batch);
    return 0;
}

static void add(enum pod_stream stream, const char *text, int64_t now)
{
    assert_int_equal(coalesce_add(&c, stream, str_of(text), now), ERR_OK);
}

static size_t take(int64_t now)
{
    coalesce_batch_reset(&batch);
    coalesce_take(&c, &batch, now);
    return coalesce_drafts(&batch, drafts);
}

static void assert_draft(size_t i, const char *data, const char *bytes)
{
    assert_int_equal(drafts[i].type, EV_OUTPUT);
    assert_true(str_eq(drafts[i].data, str_of(data)));
    assert_true(str_eq(drafts[i].bytes, str_of(bytes)));
}

static void first_output_waits_two_ms_then_twenty_between(void **state)
{
    (void)state;
    assert_int_equal(coalesce_wait_ns(&c, 100 * MS), -1);
    add(POD_STDOUT, "a", 100 * MS);
    assert_int_equal(coalesce_wait_ns(&c, 100 * MS), 2 * MS);
    assert_int_equal(coalesce_wait_ns(&c, 102 * MS), 0);
    assert_int_equal(take(102 * MS), 1);
    assert_int_equal(coalesce_wait_ns(&c, 102 * MS), -1);
    add(POD_STDOUT, "b", 103 * MS);
    assert_int_equal(coalesce_wait_ns(&c, 103 * MS), 19 * MS);
    assert_int_equal(take(122 * MS), 1);
    /* After a silence a chunk need not wait for the next slot. */
    add(POD_STDOUT, "c", 500 * MS);
    assert_int_equal(coalesce_wait_ns(&c, 500 * MS), 2 * MS);
}

static void output_that_is_read_at_the_end_waits_longer(void **state)
{
    (void)state;
    c.at_end = true;
    add(POD_STDOUT, "a", 100 * MS);
    assert_int_equal(coalesce_wait_ns(&c, 102 * MS), 98 * MS);
    assert_int_equal(coalesce_wait_ns(&c, 200 * MS), 0);
    assert_int_equal(take(210 * MS), 1);
    add(POD_STDOUT, "b", 211 * MS);
    assert_int_equal(coalesce_wait_ns(&c, 211 * MS), 100 * MS);
}

static void much_output_that_is_read_at_the_end_goes_at_once(void **state)
{
    (void)state;
    static char big[COALESCE_EVENT_MAX + 1];
    memset(big, 'x', COALESCE_EVENT_MAX);
    c.at_end = true;
    add(POD_STDOUT, big, MS);
    assert_int_equal(coalesce_wait_ns(&c, MS), 0);
}

static void sixteen_kib_go_at_once_after_the_first(void **state)
{
    (void)state;
    add(POD_STDOUT, "a", MS);
    take(3 * MS);
    char *big = calloc(1, COALESCE_EVENT_MAX + 1);
    memset(big, 'x', COALESCE_EVENT_MAX);
    big[COALESCE_EVENT_MAX - 1] = 0;
    add(POD_STDOUT, big, 4 * MS);
    assert_true(coalesce_wait_ns(&c, 4 * MS) > 0);
    add(POD_STDOUT, "x", 4 * MS);
    assert_int_equal(coalesce_wait_ns(&c, 4 * MS), 0);
    free(big);
}

static void streams_keep_their_order_and_join(void **state)
{
    (void)state;
    add(POD_STDOUT, "one ", MS);
    add(POD_STDOUT, "two", MS);
    add(POD_STDERR, "three", MS);
    add(POD_STDOUT, "four", MS);
    assert_int_equal(take(3 * MS), 3);
    assert_draft(0, "{\"stream\":\"stdout\"}", "one two");
    assert_draft(1, "{\"stream\":\"stderr\"}", "three");
    assert_draft(2, "{\"stream\":\"stdout\"}", "four");
}

static void characters_are_not_cut_between_events(void **state)
{
    (void)state;
    add(POD_STDOUT, "a\xe2\x82", MS);
    add(POD_STDERR, "e", MS);
    assert_int_equal(take(3 * MS), 2);
    assert_draft(0, "{\"stream\":\"stdout\"}", "a");
    add(POD_STDOUT, "\xac!", 4 * MS);
    assert_int_equal(take(30 * MS), 1);
    assert_draft(0, "{\"stream\":\"stdout\"}", "\xe2\x82\xac!");
    assert_int_equal(c.total[POD_STDOUT], 5);
}

static void the_end_lets_cut_characters_go(void **state)
{
    (void)state;
    add(POD_STDOUT, "\xe2\x82", MS);
    assert_true(coalesce_empty(&c));
    assert_int_equal(coalesce_end(&c), ERR_OK);
    assert_int_equal(take(3 * MS), 1);
    assert_draft(0, "{\"stream\":\"stdout\"}", "\xe2\x82");
}

static void large_output_is_split_at_characters(void **state)
{
    (void)state;
    enum { N = 60000 };
    char *text = malloc(N);
    for (size_t i = 0; i < N; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3);
    assert_int_equal(coalesce_add(&c, POD_STDOUT, (struct str){text, N}, MS), ERR_OK);
    size_t n = take(3 * MS), total = 0;
    assert_int_equal(n, 4);
    for (size_t i = 0; i < n; i++) {
        assert_true(drafts[i].bytes.n <= COALESCE_EVENT_MAX);
        assert_true(utf8_valid(drafts[i].bytes));
        total += drafts[i].bytes.n;
    }
    assert_int_equal(total, N);
    free(text);
}

/* Frames as large and as mixed as they come: whatever was not full before must fit. */
static void what_is_not_full_takes_one_more_frame(void **state)
{
    (void)state;
    char *frame = malloc(FRAME_PAYLOAD_MAX);
    for (unsigned seed = 1; seed < 200; seed++) {
        srand(seed);
        coalesce_free(&c);
        coalesce_init(&c);
        for (int i = 0; !coalesce_full(&c); i++) { /* the last one is the one more */
            size_t n = seed % 2 ? 1 + (size_t)rand() % FRAME_PAYLOAD_MAX : 1 + (size_t)rand() % 8;
            memset(frame, seed % 3 ? 0xe2 : 'x', n);
            assert_int_equal(coalesce_add(&c, i % 2 ? POD_STDOUT : POD_STDERR, (struct str){frame, n}, 1),
                             ERR_OK);
        }
        assert_int_equal(coalesce_end(&c), ERR_OK);
        uint64_t total = 0;
        size_t count = take(1);
        for (size_t i = 0; i < count; i++)
            total += drafts[i].bytes.n;
        assert_int_equal(total, c.total[0] + c.total[1]);
    }
    free(frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(first_output_waits_two_ms_then_twenty_between, setup, teardown),
        cmocka_unit_test_setup_teardown(output_that_is_read_at_the_end_waits_longer, setup, teardown),
        cmocka_unit_test_setup_teardown(much_output_that_is_read_at_the_end_goes_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(sixteen_kib_go_at_once_after_the_first, setup, teardown),
        cmocka_unit_test_setup_teardown(streams_keep_their_order_and_join, setup, teardown),
        cmocka_unit_test_setup_teardown(characters_are_not_cut_between_events, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_lets_cut_characters_go, setup, teardown),
        cmocka_unit_test_setup_teardown(large_output_is_split_at_characters, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_full_takes_one_more_frame, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
