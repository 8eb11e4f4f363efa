/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/session_machine.h"

#include "unit.h"

static enum session_answer act(struct session *s, enum session_command command, uint64_t base)
{
    struct session_input in = {.command = command, .base = base};
    struct session_decision d;
    session_decide(s, &in, &d);
    if (d.answer == SESSION_OK)
        session_apply(s, d.event);
    return d.answer;
}

static void versions_are_a_chain(void **state)
{
    (void)state;
    struct session s = {0};
    assert_int_equal(act(&s, SESSION_CMD_commit, 0), SESSION_MISSING);
    assert_int_equal(act(&s, SESSION_CMD_create, 0), SESSION_OK);
    assert_int_equal(act(&s, SESSION_CMD_create, 0), SESSION_DUP);
    assert_int_equal(act(&s, SESSION_CMD_commit, 0), SESSION_OK);
    assert_int_equal(act(&s, SESSION_CMD_commit, 0), SESSION_CONFLICT); /* the loser of two runs */
    assert_int_equal(act(&s, SESSION_CMD_commit, 1), SESSION_OK);
    assert_int_equal(act(&s, SESSION_CMD_rewind, 2), SESSION_CONFLICT);
    assert_int_equal(act(&s, SESSION_CMD_rewind, 1), SESSION_OK);
    assert_int_equal(s.version, 3);
}

static void an_old_archive_never_overwrites_newer_state(void **state)
{
    (void)state;
    struct session s = {.state = SESSION_live, .version = 2};
    assert_int_equal(act(&s, SESSION_CMD_archive, 1), SESSION_CONFLICT);
    assert_int_equal(act(&s, SESSION_CMD_archive, 2), SESSION_OK);
    assert_int_equal(s.state, SESSION_cold);
    assert_int_equal(act(&s, SESSION_CMD_restore, 1), SESSION_CONFLICT);
    assert_int_equal(act(&s, SESSION_CMD_restore, 2), SESSION_OK);
    assert_int_equal(act(&s, SESSION_CMD_archive, 2), SESSION_OK);
    assert_int_equal(act(&s, SESSION_CMD_commit, 2), SESSION_OK);
    assert_int_equal(s.state, SESSION_live);
}

static void a_delete_wins_for_good(void **state)
{
    (void)state;
    struct session s = {.state = SESSION_cold, .version = 2, .files = 1};
    assert_int_equal(act(&s, SESSION_CMD_remove, 0), SESSION_OK);
    for (enum session_command c = 0; c < SESSION_COMMAND_COUNT; c++)
        assert_int_not_equal(act(&s, c, 2), SESSION_OK);
    assert_int_equal(s.state, SESSION_gone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_a_chain),
        cmocka_unit_test(an_old_archive_never_overwrites_newer_state),
        cmocka_unit_test(a_delete_wins_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
