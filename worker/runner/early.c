/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a program that has told that it is over, before the kernel has taken its memory down, which takes longer than a small
   program runs. Told by the program itself, so it is worth what its exit status is worth: a program that says so and goes on
   is killed in the middle of what it does. */
#include "base/clock.h"
#include "worker/runner/runner.h"
#include "worker/spawner/defence.h"

#include <signal.h>

/* The only task that this pod ever had, and nothing of what it leaves has to be looked at when it is gone. */
static bool is_plain(struct runner *r)
{
    uint32_t tasks = 0;
    if (r->main == 0 || r->compile || r->second || r->tools != NULL || r->exit.end != PE_OWN || !r->drained ||
        !defence_on(r->off, DEFENCE_KILL_ALL) || !usage_is_counted(r))
        return false;
    usage_tasks(r, &tasks);
    return tasks == 1 && !files_any(&r->files);
}

bool early_end(struct runner *r)
{
    if (!r->over_told || r->state != RUN_RUNNING)
        return false;
    r->over_told = false;
    if (!is_plain(r))
        return false;
    /* Not -1: that looks at every process of the host. Who hides a second one (it counted once around all pids) has it until the
       pod goes, which is when the worker has this end. */
    kill(r->main, SIGKILL);
    r->exit.exit_code = r->over_status;
    r->exit.signal = 0;
    if (!r->state_run.ended) /* else its own time is known already */
        r->exit.wall_ns = (uint64_t)(clock_mono_ns() - r->started_ns);
    r->early = true;
    return true;
}
