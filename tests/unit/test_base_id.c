/* SPDX-License-Identifier: Apache-2.0 */
/* Ids, and the two smallest helpers: the clock and lists. */
#include "base/clock.h"
#include "base/id.h"
#include "base/list.h"
#include "unit.h"

#include <string.h>

static void valid_ids(void **state)
{
    static const struct {
        struct str s;
        bool valid;
    } rows[] = {
        {STR("abcdefghijklmnopqrstu"), true},   {STR("-_-_-_-_-_-_-_-_-_-_-"), true},
        {STR("ABCDEFGHIJ0123456789z"), true},   {STR(""), false},
        {STR("abcdefghijklmnopqrst"), false},   {STR("abcdefghijklmnopqrstuv"), false},
        {STR("abcdefghij/lmnopqrstu"), false},  {STR("abcdefghij\0lmnopqrstu"), false},
        {STR("../../../../../etc/pa"), false},  {STR("abcdefghijklmnopqrs\xc3\xa9"), false},
        {STR("abcdefghij\nlmnopqrstu"), false}, {STR("abcdefghij{mnopqrstuv"), false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct id id = {.text = "before"};
        assert_int_equal(id_valid(rows[i].s), rows[i].valid);
        assert_int_equal(id_parse(rows[i].s, &id), rows[i].valid ? ERR_OK : ERR_INVALID);
        assert_string_equal(id.text, rows[i].valid ? rows[i].s.p : "before");
    }
}

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static void new_ids_are_valid_and_differ(void **state)
{
    enum { COUNT = 2000 };
    static struct id ids[COUNT];
    bool seen[128] = {false};
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        ids[i] = id_new();
        assert_true(id_valid(str_of(ids[i].text)));
        assert_true(is_alphanumeric(ids[i].text[0]) && is_alphanumeric(ids[i].text[ID_LEN - 1]));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(ids[i].text, ids[j].text);
        for (size_t j = 0; j < ID_LEN; j++)
            seen[(unsigned char)ids[i].text[j]] = true;
    }
    unsigned letters = 0;
    for (size_t i = 0; i < sizeof seen; i++)
        letters += seen[i];
    assert_int_equal(letters, 64); /* the whole alphabet is drawn from */
}

/* Stored keys depend on it: FNV-1a 64, published test vectors "" "a" "foobar" modulo a prime. */
static void partitions_are_fixed_for_ever(void **state)
{
    (void)state;
    assert_int_equal(id_partition(STR(""), 1000003), 0xcbf29ce484222325U % 1000003);
    assert_int_equal(id_partition(STR("a"), 1000003), 0xaf63dc4c8601ec8cU % 1000003);
    assert_int_equal(id_partition(STR("foobar"), 1000003), 0x85944171f73967e8U % 1000003);
    for (unsigned p = 0; p < 8; p++) {
        struct id id = id_new_in(p, 8);
        assert_int_equal(id_partition(str_of(id.text), 8), p);
    }
    assert_int_equal(id_partition(STR("anything"), 1), 0);
}

static void clocks_run(void **state)
{
    (void)state;
    int64_t before = clock_mono_ns();
    assert_true(clock_mono_ns() >= before);
    assert_true(clock_wall_ms() > 1700000000000); /* after 2023 */
}

struct item {
    int number;
    struct list node;
};

static void lists_keep_order_and_survive_removal(void **state)
{
    struct list head;
    struct item items[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    (void)state;
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_first(&head, struct item, node));
    for (size_t i = 0; i < 4; i++)
        list_append(&head, &items[i].node);
    int next = 0;
    list_each(it, &head, struct item, node)
    {
        assert_int_equal(it->number, next++);
        if (it->number % 2 == 0)
            list_remove(&it->node);
    }
    assert_int_equal(next, 4);
    assert_int_equal(list_first(&head, struct item, node)->number, 1);
    list_remove(&items[0].node); /* once more: nothing happens */
    assert_true(list_empty(&items[0].node));
    list_remove(&items[1].node);
    list_remove(&items[3].node);
    assert_true(list_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_ids),
        cmocka_unit_test(new_ids_are_valid_and_differ),
        cmocka_unit_test(partitions_are_fixed_for_ever),
        cmocka_unit_test(clocks_run),
        cmocka_unit_test(lists_keep_order_and_survive_removal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
