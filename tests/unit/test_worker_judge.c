/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "worker/judge.h"

struct row {
    enum judge_compare compare;
    const char *expected, *written;
    bool right;
};

static const struct row rows[] = {
    {JUDGE_LINES, "42\n", "42\n", true},
    {JUDGE_LINES, "42", "42\n\n\n", true},
    {JUDGE_LINES, "42\n\n", "42", true},
    {JUDGE_LINES, "1 2  \n3", "1 2\r\n3 \t", true},
    {JUDGE_LINES, "1  2\n3", "1  2\n3", true},
    {JUDGE_LINES, "1  2\n3", "1 2\n3", false},
    {JUDGE_LINES, "1 2", "1\t2", false},
    {JUDGE_LINES, "1\n\n2", "1\n \n2\n", true},
    {JUDGE_LINES, "1\n\n2", "1\n2\n", false},
    {JUDGE_LINES, "1\n2", "1\n\n2\n", false},
    {JUDGE_LINES, "\n1", "\n1", true},
    {JUDGE_LINES, "1", "\n1", false},
    {JUDGE_LINES, " 1", "1", false},
    {JUDGE_LINES, "", " \n\t\n", true},
    {JUDGE_LINES, "", "x", false},
    {JUDGE_LINES, "12", "1", false},
    {JUDGE_LINES, "1", "12", false},
    {JUDGE_LINES, "1", "1\n2", false},
    {JUDGE_LINES, "1\n", "1\n \n   \n\n", true},
    {JUDGE_TOKENS, "1 2 3", " 1\n2\t\t3\n", true},
    {JUDGE_TOKENS, "\n1  2\r\n3\n", "1 2 3", true},
    {JUDGE_TOKENS, "1 2", "12", false},
    {JUDGE_TOKENS, "12", "1 2", false},
    {JUDGE_TOKENS, "1 2", "1", false},
    {JUDGE_TOKENS, "1", "1 2", false},
    {JUDGE_TOKENS, "", "\n \n", true},
    {JUDGE_TOKENS, "", "x", false},
    {JUDGE_EXACT, "1\n", "1\n", true},
    {JUDGE_EXACT, "1\n", "1", false},
    {JUDGE_EXACT, "1", "1\n", false},
    {JUDGE_EXACT, "", "", true},
    {JUDGE_EXACT, " \n", " \n", true},
};

/* Whole, and cut at every byte: what came in which piece does not matter. */
static void every_row_at_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        struct str all = str_of(row->written);
        for (size_t cut = 0; cut <= all.n; cut++) {
            struct judge judge;
            assert_int_equal(judge_begin(&judge, row->compare, str_of(row->expected)), ERR_OK);
            judge_feed(&judge, (struct str){all.p, cut});
            judge_feed(&judge, (struct str){all.p + cut, all.n - cut});
            if (judge_right(&judge) != row->right)
                fail_msg("row %zu cut at %zu", i, cut);
            judge_free(&judge);
        }
    }
}

static void a_compilers_output_does_not_count(void **state)
{
    (void)state;
    struct judge judge;
    assert_int_equal(judge_begin(&judge, JUDGE_LINES, STR("1\n")), ERR_OK);
    judge_feed(&judge, STR("note: 1"));
    assert_false(judge_right(&judge));
    judge_restart(&judge);
    judge_feed(&judge, STR("1\n"));
    assert_true(judge_right(&judge));
    judge_free(&judge);
    judge_free(&judge);
}

static void one_that_is_off_takes_anything(void **state)
{
    (void)state;
    struct judge judge = {0};
    judge_feed(&judge, STR("x"));
    assert_true(judge_right(&judge));
    judge_free(&judge);
}

static void names(void **state)
{
    (void)state;
    enum judge_compare compare = JUDGE_EXACT;
    assert_int_equal(judge_compare_parse(STR(""), &compare), ERR_OK);
    assert_int_equal(compare, JUDGE_LINES);
    assert_int_equal(judge_compare_parse(STR("tokens"), &compare), ERR_OK);
    assert_int_equal(compare, JUDGE_TOKENS);
    assert_int_equal(judge_compare_parse(STR("Tokens"), &compare), ERR_INVALID);
    assert_int_equal(compare, JUDGE_TOKENS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_at_every_cut),
        cmocka_unit_test(a_compilers_output_does_not_count),
        cmocka_unit_test(one_that_is_off_takes_anything),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
