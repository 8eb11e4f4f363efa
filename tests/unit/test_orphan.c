/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/orphan.h"

#include "unit.h"

#define ID_A "AorphanA0000000000Z00"
#define ID_B "BorphanB0000000000Z00"
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static bool text_is(struct str s, const char *text)
{
    return str_eq(s, str_of(text));
}

static void every_kind_of_object_has_one_place_that_names_it(void **state)
{
    (void)state;
    struct orphan_key key;
    assert_true(orphan_key_parse(STR("archive.logs/p03/" ID_A), 8, &key));
    assert_true(key.partition == 3 && key.session.n == 0 && key.file.n == 0 && text_is(key.name, ID_A));
    assert_true(orphan_key_parse(STR("te.2fnant/" ID_A "/" HASH "-" ID_B), 1, &key));
    assert_true(text_is(key.session, ID_A) && text_is(key.file, ID_B) &&
                text_is(key.name, "te.2fnant/" ID_A "/" HASH "-" ID_B));
    assert_true(orphan_key_parse(STR("archive.state/" ID_A "/" HASH "-" ID_B), 1, &key));
    assert_true(text_is(key.session, ID_A) && key.file.n == 0);
    assert_true(orphan_key_parse(STR("tenant/" ID_A "/state-" ID_B ".1"), 8, &key));
    assert_true(key.partition == id_partition(STR(ID_A), 8) && key.file.n == 0);
}

static void what_is_not_ours_is_nobodys_to_delete(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",
        "x",
        "/",
        "archive.logs/" ID_A,
        "archive.logs/p8/" ID_A,
        "archive.logs/p08/" ID_A,
        "archive.logs/p-1/" ID_A,
        "archive.logs/p00/" ID_A "/x",
        "archive.logs/p00/short",
        "sweep.owner/" ID_A,
        "tenant/" ID_A,
        "tenant/" ID_A "/",
        "tenant/" ID_A "/x",
        "tenant/short/" HASH "-" ID_B,
        "tenant/" ID_A "/" HASH,
        "tenant/" ID_A "/" HASH "-" ID_B "x",
        "tenant/" ID_A "/" HASH "." ID_B,
        "tenant/" ID_A "/G123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef-" ID_B,
        "a/tenant/" ID_A "/" HASH "-" ID_B,
    };
    struct orphan_key key;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_false(orphan_key_parse(str_of(names[i]), 8, &key));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_object_has_one_place_that_names_it),
        cmocka_unit_test(what_is_not_ours_is_nobodys_to_delete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
