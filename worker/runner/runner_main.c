/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/runner/runner_main.h"

#include "worker/runner/pod_fds.h"
#include "worker/runner/runner.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

/* One run needs one of each; static, so that a full cgroup cannot keep them from us. */
static struct runner runner = {
    .channel = {.passed = -1},
    .go = -1,
    .in = -1,
    .artifact = -1,
    .loadavg = -1,
    .out = {-1, -1},
    .held = BUF_INIT(FRAME_STDIN_HELD_MAX + 2 * FRAME_PAYLOAD_MAX),
    .spec_bytes = BUF_INIT(SPEC_SIZE_MAX),
};

struct runner *runner_context(void)
{
    return &runner;
}

bool runner_block_signals(void)
{
    sigset_t all, child;
    sigfillset(&all);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    if (sigprocmask(SIG_SETMASK, &all, NULL) != 0)
        return false;
    runner.signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    return runner.signals >= 0;
}

int runner_main(const struct runner_start *start)
{
    if ((start->fds & 1U << RUNNER_FD_CONTROL) == 0)
        return 64;
    /* A template may only join the namespaces of a process that can be looked at; so with one, when its program is there. */
    bool joined = (start->fds & 1U << RUNNER_FD_GO) != 0;
    if (prctl(PR_SET_DUMPABLE, joined ? 1 : 0, 0, 0, 0) != 0 || !runner_block_signals())
        return 71;
    runner.fds = start->fds;
    runner.off = runner.files.off = start->off;
    runner.warm = start->warm;
    runner.memory = start->memory;
    runner.channel.fd = RUNNER_FD_CONTROL;
    runner_begin(&runner);
    runner_run(&runner);
}
