/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/preflight.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static uint64_t bit(enum preflight p)
{
    return 1ULL << p;
}

static void every_row_says_what_is_lost_and_how_to_mend_it(void **state)
{
    (void)state;
    for (enum preflight p = 0; p < PREFLIGHT_COUNT; p++) {
        const struct preflight_row *row = preflight_row(p);
        assert_int_equal(preflight_named(str_of(row->name)), p);
        assert_true(*row->text && *row->lost && *row->fix);
        /* They go into JSON as they are. */
        assert_null(strpbrk(row->text, "\"\\"));
        assert_null(strpbrk(row->lost, "\"\\"));
        assert_null(strpbrk(row->fix, "\"\\"));
    }
    assert_int_equal(preflight_named(STR("nothing")), PREFLIGHT_COUNT);
}

static void what_is_missing_is_refused_by_its_weight(void **state)
{
    (void)state;
    assert_true(preflight_passes(0, 0));
    for (enum preflight p = 0; p < PREFLIGHT_COUNT; p++) {
        enum preflight_weight weight = preflight_row(p)->weight;
        assert_int_equal(preflight_passes(bit(p), 0), weight == PREFLIGHT_TOLD);
        assert_int_equal(preflight_passes(bit(p), bit(p)), weight != PREFLIGHT_FATAL);
        assert_int_equal(preflight_acceptable(preflight_row(p)->name),
                         weight == PREFLIGHT_REFUSED ? bit(p) : 0);
        assert_int_equal(preflight_gaps(bit(p), ~0ULL), weight == PREFLIGHT_REFUSED ? bit(p) : 0);
        assert_int_equal(preflight_gaps(bit(p), 0), 0);
    }
    assert_int_equal(preflight_acceptable("nothing"), 0);
}

static void gaps_are_written(void **state)
{
    (void)state;
    auto_buf none = BUF_INIT(1024), some = BUF_INIT(1024), missing = BUF_INIT(4096);
    preflight_write_names(0, "\"", &none);
    assert_int_equal(none.len, 0);
    preflight_write_names(bit(PREFLIGHT_SWAP_LIMIT) | bit(PREFLIGHT_LANDLOCK), "\"", &some);
    assert_string_equal(buf_cstr(&some), "\"swap_limit\",\"landlock\"");
    preflight_write_missing(bit(PREFLIGHT_LANDLOCK) | bit(PREFLIGHT_CLONE3), ~0ULL, &missing);
    assert_non_null(strstr(buf_cstr(&missing), "[{\"name\":\"landlock\",\"what\":\"Landlock"));
    assert_non_null(strstr(buf_cstr(&missing), "\"accepted\":true},{\"name\":\"clone3\""));
    assert_string_equal(buf_cstr(&missing) + missing.len - 19, ",\"accepted\":false}]");
}

static void the_table_says_the_fix_below_what_is_missing(void **state)
{
    (void)state;
    struct preflight_facts facts = {.missing = bit(PREFLIGHT_LANDLOCK) | bit(PREFLIGHT_SWAP_LIMIT),
                                    .host = "Linux 6.1",
                                    .found = {[PREFLIGHT_LANDLOCK] = "ABI 0"}};
    auto_buf table = BUF_INIT(1 << 16);
    preflight_write_table(&facts, bit(PREFLIGHT_SWAP_LIMIT), &table);
    const char *text = buf_cstr(&table);
    assert_int_equal(buf_status(&table), ERR_OK);
    assert_non_null(strstr(text, "host               Linux 6.1\n"));
    assert_non_null(
        strstr(text, "landlock           MISSING; accept with --accept-missing=landlock: ABI 0  ("));
    assert_non_null(strstr(text, "swap_limit         missing, accepted  ("));
    assert_non_null(strstr(text, "to mend it: swapoff -a"));
    assert_null(strstr(text, preflight_row(PREFLIGHT_OPENAT2)->lost));
}

static void what_was_read_is_judged(void **state)
{
    (void)state;
    assert_true(preflight_core_is_file("core"));
    assert_false(preflight_core_is_file("|/usr/share/apport/apport %p"));
    assert_false(preflight_core_is_file(""));
    assert_false(preflight_core_is_file(NULL));

    assert_true(preflight_io_uring_is_off("2", true));
    assert_true(preflight_io_uring_is_off("1", true));
    assert_false(preflight_io_uring_is_off("0", true));
    assert_false(preflight_io_uring_is_off(NULL, true));
    assert_true(preflight_io_uring_is_off(NULL, false));
}

static void free_pids_and_memory_are_read(void **state)
{
    (void)state;
    uint64_t n = 0;
    assert_true(preflight_free_pids("0.20 0.18 0.12 1/80 11206", "32768\n", &n));
    assert_int_equal(n, 32688);
    assert_true(preflight_free_pids("0.20 0.18 0.12 1/80 11206", "64", &n));
    assert_int_equal(n, 0);
    static const char *const bad[][2] = {
        {"", "1"},           {"0.20 0.18 0.12 180 1", "9"}, {"0.20", "9"},
        {"1 1 1 1/2 3", ""}, {"1 1 1 1/x 3", "9"},          {"1 1 1 1/-2 3", "9"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(preflight_free_pids(bad[i][0], bad[i][1], &n));

    assert_true(preflight_available_mib("MemTotal:  99 kB\nMemAvailable:   524288 kB\nBuffers: 1 kB\n", &n));
    assert_int_equal(n, 512);
    assert_false(preflight_available_mib("MemTotal:  99 kB\n", &n));
    assert_false(preflight_available_mib("MemAvailable: lots\n", &n));
    assert_false(preflight_available_mib("", &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_says_what_is_lost_and_how_to_mend_it),
        cmocka_unit_test(what_is_missing_is_refused_by_its_weight),
        cmocka_unit_test(gaps_are_written),
        cmocka_unit_test(the_table_says_the_fix_below_what_is_missing),
        cmocka_unit_test(what_was_read_is_judged),
        cmocka_unit_test(free_pids_and_memory_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
