/* SPDX-License-Identifier: Apache-2.0 */
/* A log as a record: comes back as it was, in any pieces; nothing that was changed, cut or swapped is taken; the golden
   record of version 1 is read for ever. */
#include "queue/log_record.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { EVENTS = 5 };
static const char head[] = "{\"job\":\"AAAAAAAAAAAAAAAAAAAAA\",\"tenant\":\"default\"}";

static struct record_entry entry_of(unsigned n, const char *text)
{
    static char ids[EVENTS + 1][16], seqs[EVENTS + 1][8];
    snprintf(ids[n], sizeof ids[n], "170000000%u-0", n);
    snprintf(seqs[n], sizeof seqs[n], "%u", n);
    return (struct record_entry){.id = str_of(ids[n]),
                                 .fields = {STR("v"), STR("1"), STR("t"), STR("output"), STR("a"), STR("1"),
                                            STR("s"), str_of(seqs[n]), STR("m"), STR("1700000000000"),
                                            STR("b"), str_of(text)},
                                 .pairs = 6};
}

static const char *const texts[EVENTS] = {"", "a", "two\n", "\xff\xfe", "the last"};

static void write_record(struct buf *out, struct record_hash *ret_hash)
{
    struct record_writer w;
    record_begin(&w, out, STR(head));
    record_add_request(&w, STR("{\"code\":"));
    record_add_request(&w, STR("\"1\"}"));
    for (unsigned i = 0; i < EVENTS; i++) {
        struct record_entry e = entry_of(i + 1, texts[i]);
        assert_int_equal(record_add_entry(&w, &e), ERR_OK);
    }
    record_finish(&w, ret_hash);
    assert_int_equal(buf_status(out), ERR_OK);
}

struct told {
    unsigned heads, events;
    enum record_step end;
    struct record_hash hash;
};

/* Feeds in pieces of `piece` bytes; what is told must be a beginning of what was written. */
static struct told read_record(struct str bytes, size_t piece)
{
    struct record_reader r;
    struct told told = {.end = RECORD_MORE};
    record_reader_init(&r);
    while (bytes.n && told.end == RECORD_MORE) {
        size_t n = bytes.n < piece ? bytes.n : piece;
        struct record_entry entry;
        struct event event;
        struct id job = {""};
        record_feed(&r, (struct str){bytes.p, n});
        bytes = (struct str){bytes.p + n, bytes.n - n};
        enum record_step step;
        while ((step = record_next(&r, &entry)) == RECORD_TOLD || step == RECORD_EVENT) {
            if (step == RECORD_TOLD) {
                assert_true(str_eq(r.head, STR(head)));
                told.heads++;
                continue;
            }
            assert_in_range(told.events, 0, EVENTS - 1);
            assert_int_equal(record_event(&entry, job, &event), ERR_OK);
            assert_int_equal(event.seq, told.events + 1);
            assert_true(str_eq(event.bytes, str_of(texts[told.events])));
            told.events++;
        }
        told.end = step;
    }
    if (told.end == RECORD_BAD)
        assert_non_null(r.why);
    told.hash = r.hash;
    record_reader_free(&r);
    return told;
}

static void test_comes_back_in_any_pieces(void **state)
{
    (void)state;
    auto_buf record = BUF_INIT(1 << 20);
    struct record_hash hash;
    write_record(&record, &hash);
    for (size_t piece = 1; piece <= record.len; piece++) {
        struct told told = read_record(buf_str(&record), piece);
        assert_int_equal(told.end, RECORD_DONE);
        assert_int_equal(told.heads, 1);
        assert_int_equal(told.events, EVENTS);
        assert_memory_equal(told.hash.bytes, hash.bytes, sizeof hash.bytes);
    }
}

static void test_every_truncation_is_seen(void **state)
{
    (void)state;
    auto_buf record = BUF_INIT(1 << 20);
    struct record_hash hash;
    write_record(&record, &hash);
    for (size_t n = 0; n < record.len; n++)
        assert_int_equal(read_record((struct str){record.data, n}, 7).end, RECORD_MORE);
    buf_append_char(&record, 'x');
    assert_int_equal(read_record(buf_str(&record), record.len).end, RECORD_BAD);
}

/* A bit of a length may leave the reader waiting for more; nothing wrong is ever told (read_record looks). */
static void test_every_changed_bit_is_seen(void **state)
{
    (void)state;
    auto_buf record = BUF_INIT(1 << 20);
    struct record_hash hash;
    write_record(&record, &hash);
    for (size_t bit = 0; bit < 8 * record.len; bit++) {
        record.data[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_not_equal(read_record(buf_str(&record), record.len).end, RECORD_DONE);
        record.data[bit / 8] ^= (char)(1 << bit % 8);
    }
}

static void test_blocks_cannot_be_dropped_or_swapped(void **state)
{
    (void)state;
    auto_buf record = BUF_INIT(1 << 20), swapped = BUF_INIT(1 << 20);
    struct record_hash hash;
    write_record(&record, &hash);
    size_t first = RECORD_HEADER + sizeof head - 1, request = RECORD_HEADER + 8, second = RECORD_HEADER + 4;
    buf_append(&swapped, record.data, first);
    buf_append(&swapped, record.data + first + request, record.len - first - request);
    assert_int_equal(read_record(buf_str(&swapped), 64).end, RECORD_BAD);
    buf_reset(&swapped);
    buf_append(&swapped, record.data, first);
    buf_append(&swapped, record.data + first + request, second);
    buf_append(&swapped, record.data + first, request);
    buf_append(&swapped, record.data + first + request + second, record.len - first - request - second);
    assert_int_equal(read_record(buf_str(&swapped), 64).end, RECORD_BAD);
}

static void test_large_entries_and_many_blocks(void **state)
{
    (void)state;
    auto_buf record = BUF_INIT(64 << 20), large = BUF_INIT(RECORD_BLOCK_MAX + 1);
    struct record_writer w;
    struct record_hash hash;
    memset(buf_reserve(&large, RECORD_BLOCK_MAX), 'x', RECORD_BLOCK_MAX);
    large.len = RECORD_BLOCK_MAX;
    record_begin(&w, &record, STR("{}"));
    struct record_entry e = {.id = STR("1-0"), .fields = {STR("b"), buf_str(&large)}, .pairs = 1};
    assert_int_equal(record_add_entry(&w, &e), ERR_FULL);
    e.fields[1].n = RECORD_BLOCK_MAX - 100;
    assert_int_equal(record_add_entry(&w, &e), ERR_OK);
    for (int i = 0; i < 100000; i++) {
        e.fields[1].n = 1;
        assert_int_equal(record_add_entry(&w, &e), ERR_OK);
    }
    record_finish(&w, &hash);
    assert_int_equal(buf_status(&record), ERR_OK);
    struct record_reader r;
    unsigned events = 0;
    record_reader_init(&r);
    enum record_step step = RECORD_MORE;
    for (size_t at = 0; at < record.len && step == RECORD_MORE; at += 65536) {
        record_feed(&r, (struct str){record.data + at, record.len - at < 65536 ? record.len - at : 65536});
        while ((step = record_next(&r, &e)) == RECORD_TOLD || step == RECORD_EVENT)
            events += step == RECORD_EVENT;
    }
    assert_int_equal(step, RECORD_DONE);
    assert_int_equal(events, 100001);
    record_reader_free(&r);
}

/* Blocks of a type that this build does not know are passed over, without recursion. */
static void test_unknown_blocks_are_skipped(void **state)
{
    (void)state;
    auto_buf record = BUF_INIT(16 << 20);
    struct record_writer w;
    struct record_hash hash;
    record_begin(&w, &record, STR(head));
    for (int i = 0; i < 200000; i++)
        record_add_request(&w, STR(""));
    record_finish(&w, &hash);
    struct told told = read_record(buf_str(&record), record.len);
    assert_int_equal(told.end, RECORD_DONE);
    assert_int_equal(told.heads, 1);
}

static void test_the_golden_record(void **state)
{
    (void)state;
    auto_buf golden = BUF_INIT(1 << 20), now = BUF_INIT(1 << 20);
    FILE *f = fopen(GOLDEN_DIR "/v1.record", "rb");
    assert_non_null(f);
    golden.len = fread(buf_reserve(&golden, 1 << 16), 1, 1 << 16, f);
    fclose(f);
    struct told told = read_record(buf_str(&golden), 100);
    assert_int_equal(told.end, RECORD_DONE);
    assert_int_equal(told.events, EVENTS);
    struct record_hash hash;
    write_record(&now, &hash);
    assert_true(str_eq(buf_str(&golden), buf_str(&now)));
}

static void test_hash_texts(void **state)
{
    (void)state;
    struct record_hash hash, again;
    char hex[RECORD_HASH_HEX + 1];
    for (unsigned i = 0; i < RECORD_HASH_LEN; i++)
        hash.bytes[i] = (unsigned char)(17 * i);
    record_hash_hex(&hash, hex);
    assert_int_equal(record_hash_parse(str_of(hex), &again), ERR_OK);
    assert_memory_equal(hash.bytes, again.bytes, sizeof hash.bytes);
    assert_int_equal(record_hash_parse(STR("00"), &again), ERR_INVALID);
    hex[3] = 'G';
    assert_int_equal(record_hash_parse(str_of(hex), &again), ERR_INVALID);
}

int main(int argc, char **argv)
{
    if (argc == 2) { /* writes the golden record: once, for a new version */
        auto_buf record = BUF_INIT(1 << 20);
        struct record_hash hash;
        write_record(&record, &hash);
        FILE *f = fopen(argv[1], "wb");
        return !f || fwrite(record.data, 1, record.len, f) != record.len || fclose(f);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comes_back_in_any_pieces),
        cmocka_unit_test(test_every_truncation_is_seen),
        cmocka_unit_test(test_every_changed_bit_is_seen),
        cmocka_unit_test(test_blocks_cannot_be_dropped_or_swapped),
        cmocka_unit_test(test_large_entries_and_many_blocks),
        cmocka_unit_test(test_unknown_blocks_are_skipped),
        cmocka_unit_test(test_the_golden_record),
        cmocka_unit_test(test_hash_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
