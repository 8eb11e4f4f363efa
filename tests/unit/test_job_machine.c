/* SPDX-License-Identifier: Apache-2.0 */
/* The table itself; that the scripts do the same is tests/integration/job_property_test.c. */
#include "schema/job_machine.h"

#include "unit.h"

#include <string.h>

static void every_pair_has_one_row(void **state)
{
    (void)state;
    unsigned rows[JOB_STATES][JOB_COMMAND_COUNT];
    memset(rows, 0, sizeof rows);
#define X(from, command, action) rows[JOB_##from][JOB_CMD_##command]++;
#include "schema/job_machine.def"
#undef X
    for (unsigned s = 0; s < JOB_STATES; s++) {
        for (unsigned c = 0; c < JOB_COMMAND_COUNT; c++)
            assert_int_equal(rows[s][c], 1);
    }
}

static enum job_answer act(struct job *job, struct job_input in)
{
    struct job_decision d;
    job_decide(job, &in, &d);
    if (d.answer == JOB_OK)
        job_note(job, &in);
    for (size_t i = 0; i < d.count; i++)
        job_apply(job, d.events[i]);
    return d.answer;
}

static void an_old_attempt_has_no_effect(void **state)
{
    (void)state;
    static const enum event_type output[] = {EV_OUTPUT}, end[] = {EV_COMPLETED};
    struct job job = {0};
    assert_int_equal(act(&job, (struct job_input){.command = JOB_CMD_submit, .retry = true}), JOB_OK);
    struct job_input claim = {.command = JOB_CMD_claim, .entry = "1-1", .worker = "a", .pending = true};
    assert_int_equal(act(&job, claim), JOB_OK);
    struct job_input reap = {
        .command = JOB_CMD_reap, .entry = "1-1", .attempt = 1, .max_attempts = 3, .pending = true};
    assert_int_equal(act(&job, reap), JOB_OK);
    assert_int_equal(job.state, JOB_queued);
    claim.entry = "2-1";
    claim.worker = "b";
    assert_int_equal(act(&job, claim), JOB_OK);
    assert_int_equal(job.attempt, 2);
    struct job before = job;
    struct job_input old = {.command = JOB_CMD_append, .attempt = 1, .n = 1, .drafts = output, .count = 1};
    assert_int_equal(act(&job, old), JOB_FENCED);
    old.command = JOB_CMD_finish;
    old.drafts = end;
    assert_int_equal(act(&job, old), JOB_FENCED);
    assert_memory_equal(&job, &before, sizeof job);
    old.attempt = 2;
    assert_int_equal(act(&job, old), JOB_OK);
    assert_int_equal(act(&job, old), JOB_DUP);
    assert_int_equal(job.end, EV_COMPLETED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_has_one_row),
        cmocka_unit_test(an_old_attempt_has_no_effect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
