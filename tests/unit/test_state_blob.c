/* SPDX-License-Identifier: Apache-2.0 */
#include "io/lz4.h"
#include "io/state_blob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX = 1 << 20 };

static struct str bytes(size_t n, unsigned kinds)
{
    static char text[2 * MAX];
    unsigned seed = 7;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525U + 1013904223U;
        text[i] = (char)((seed >> 16) % kinds);
    }
    return (struct str){text, n};
}

static void pack(struct str raw, struct buf *ret_blob, struct sha256 *ret_hash)
{
    struct state_packer *packer = state_pack_begin(MAX);
    assert_non_null(packer);
    while (raw.n > 0) {
        size_t piece = raw.n < 300 ? raw.n : 300;
        assert_int_equal(state_pack_add(packer, (struct str){raw.p, piece}), ERR_OK);
        raw = (struct str){raw.p + piece, raw.n - piece};
    }
    assert_int_equal(state_pack_end(packer, ret_blob, ret_hash), ERR_OK);
}

static void what_is_packed_comes_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 511, 512, 513, 4096, 70000, MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (unsigned kinds = 4; kinds <= 256; kinds += 252) {
            auto_buf blob = BUF_INIT(0), raw = BUF_INIT(MAX);
            struct sha256 hash;
            pack(bytes(sizes[i], kinds), &blob, &hash);
            assert_int_equal(blob.data[0], sizes[i] <= 512 ? STATE_RAW : STATE_LZ4);
            assert_int_equal(state_unpack(buf_str(&blob), &raw), ERR_OK);
            assert_true(str_eq(buf_str(&raw), bytes(sizes[i], kinds)));
        }
    }
}

static void more_than_the_bound_is_refused_both_ways(void **state)
{
    (void)state;
    struct state_packer *packer = state_pack_begin(100);
    assert_int_equal(state_pack_add(packer, bytes(100, 256)), ERR_OK);
    assert_int_equal(state_pack_add(packer, bytes(1, 256)), ERR_FULL);
    state_pack_drop(packer);
    auto_buf blob = BUF_INIT(0);
    struct sha256 hash;
    pack(bytes(MAX, 4), &blob, &hash);
    assert_int_equal(state_check(buf_str(&blob), MAX), ERR_OK);
    assert_int_equal(state_check(buf_str(&blob), MAX - 1), ERR_FULL);
    assert_int_equal(state_check(buf_str(&blob), 10), ERR_FULL);
}

static void a_bomb_is_refused_at_its_bound(void **state)
{
    (void)state;
    auto_buf frame = BUF_INIT(16 << 20);
    struct lz4_writer *writer = NULL;
    static const char zeros[1 << 20];
    buf_append_char(&frame, STATE_LZ4);
    assert_int_equal(lz4_begin(&writer, &frame), ERR_OK);
    for (int i = 0; i < 256; i++)
        assert_int_equal(lz4_add(writer, (struct str){zeros, sizeof zeros}, &frame), ERR_OK);
    assert_int_equal(lz4_end(writer, &frame), ERR_OK);
    assert_true(frame.len < 4 << 20);
    assert_int_equal(state_check(buf_str(&frame), 50 << 20), ERR_FULL);
}

static void what_is_no_blob_is_refused(void **state)
{
    (void)state;
    static const struct str bad[] = {{NULL, 0}, {"\1", 1}, {"\2", 1}, {"\3x", 2}, {"\0x", 2}, {"\2xyz", 4}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(state_check(bad[i], MAX), ERR_PROTOCOL);
    auto_buf blob = BUF_INIT(0);
    struct sha256 hash;
    pack(bytes(5000, 4), &blob, &hash);
    blob.max = blob.len + 10;
    buf_append_char(&blob, 'x');
    assert_int_equal(state_check(buf_str(&blob), MAX), ERR_PROTOCOL);
}

static struct state_keys two_keys(void)
{
    struct state_keys keys = {0};
    assert_int_equal(state_keys_add(&keys, STR("k2"), STR("a new secret")), ERR_OK);
    assert_int_equal(state_keys_add(&keys, STR("k1"), STR("an old secret")), ERR_OK);
    return keys;
}

static const struct state_scope scope = {
    .tenant = {"default", 7}, .session = {"abcdefghijklmnopqrstu", 21}, .version = 3};

/* A stored state of 4 KiB, as what is read back from a store: it is used, or it is refused. */
static enum err use(const struct state_keys *keys, struct str sealed, struct str blob, struct buf *raw)
{
    struct state_seal seal;
    enum err e = state_seal_parse(sealed, &seal);
    if (e == ERR_OK)
        e = state_seal_check(keys, &scope, &seal);
    if (e == ERR_OK)
        e = state_seal_blob(&seal, blob);
    return e == ERR_OK ? state_unpack(blob, raw) : e;
}

static void every_cut_and_every_changed_bit_is_refused(void **state)
{
    (void)state;
    struct state_keys keys = two_keys();
    auto_buf blob = BUF_INIT(0), text = BUF_INIT(STATE_SEAL_TEXT_MAX);
    struct sha256 hash;
    pack(bytes(4096, 256), &blob, &hash);
    struct state_seal seal = state_seal_make(&keys, &scope, &hash, blob.len);
    state_seal_write(&seal, &text);
    auto_buf raw = BUF_INIT(MAX);
    assert_int_equal(use(&keys, buf_str(&text), buf_str(&blob), &raw), ERR_OK);
    for (size_t n = 0; n < blob.len; n++)
        assert_int_not_equal(use(&keys, buf_str(&text), (struct str){blob.data, n}, &raw), ERR_OK);
    for (size_t n = 0; n < text.len; n++)
        assert_int_not_equal(use(&keys, (struct str){text.data, n}, buf_str(&blob), &raw), ERR_OK);
    struct buf *parts[] = {&blob, &text};
    for (size_t p = 0; p < 2; p++)
        for (size_t bit = 0; bit < 8 * parts[p]->len; bit++) {
            parts[p]->data[bit / 8] ^= (char)(1 << bit % 8);
            assert_int_not_equal(use(&keys, buf_str(&text), buf_str(&blob), &raw), ERR_OK);
            parts[p]->data[bit / 8] ^= (char)(1 << bit % 8);
        }
}

static void a_seal_is_good_for_its_scope_only(void **state)
{
    (void)state;
    struct state_keys keys = two_keys();
    struct sha256 hash = sha256_of(STR("\1x"));
    struct state_seal seal = state_seal_make(&keys, &scope, &hash, 2);
    assert_string_equal(seal.key_id, "k2");
    struct state_scope other = scope;
    other.version = 4;
    assert_int_equal(state_seal_check(&keys, &other, &seal), ERR_DENIED);
    other = scope;
    other.tenant = STR("defaul");
    assert_int_equal(state_seal_check(&keys, &other, &seal), ERR_DENIED);
    other = scope;
    other.session = STR("abcdefghijklmnopqrstv");
    assert_int_equal(state_seal_check(&keys, &other, &seal), ERR_DENIED);
    assert_int_equal(state_seal_check(&keys, &scope, &seal), ERR_OK);
}

static void an_old_key_verifies_and_a_lost_one_does_not(void **state)
{
    (void)state;
    struct state_keys keys = two_keys(), old = {0}, lost = {0};
    assert_int_equal(state_keys_add(&old, STR("k1"), STR("an old secret")), ERR_OK);
    assert_int_equal(state_keys_add(&lost, STR("k1"), STR("another secret")), ERR_OK);
    struct sha256 hash = sha256_of(STR("\1x"));
    struct state_seal seal = state_seal_make(&old, &scope, &hash, 2);
    assert_int_equal(state_seal_check(&keys, &scope, &seal), ERR_OK);
    assert_int_equal(state_seal_check(&lost, &scope, &seal), ERR_DENIED);
    assert_int_equal(state_keys_add(&keys, STR("k1"), STR("x")), ERR_EXISTS);
    assert_int_equal(state_keys_add(&keys, STR("k 3"), STR("x")), ERR_INVALID);
    assert_int_equal(state_keys_add(&keys, STR("k3"), STR("")), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_comes_back),
        cmocka_unit_test(more_than_the_bound_is_refused_both_ways),
        cmocka_unit_test(a_bomb_is_refused_at_its_bound),
        cmocka_unit_test(what_is_no_blob_is_refused),
        cmocka_unit_test(every_cut_and_every_changed_bit_is_refused),
        cmocka_unit_test(a_seal_is_good_for_its_scope_only),
        cmocka_unit_test(an_old_key_verifies_and_a_lost_one_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
