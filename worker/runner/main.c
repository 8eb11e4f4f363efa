/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/runner/pod_fds.h"
#include "worker/runner/runner.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* One run needs one of each; static, so that a full cgroup cannot keep them from us. */
static struct runner runner = {
    .go = -1,
    .in = -1,
    .out = {-1, -1},
    .held = BUF_INIT(FRAME_STDIN_HELD_MAX + 2 * FRAME_PAYLOAD_MAX),
    .spec_bytes = BUF_INIT(SPEC_SIZE_MAX),
};

static int usage(void)
{
    fputs("millrace-runner is PID 1 of a pod and is started by its maker: millrace-runner --fds=HEX --off=HEX "
          "[-- warm program]\n", stderr);
    return 64;
}

static bool hex_after(const char *arg, const char *key, unsigned *ret_value)
{
    size_t n = strlen(key);
    char *end = NULL;
    if (strncmp(arg, key, n) != 0 || arg[n] == '\0')
        return false;
    unsigned long v = strtoul(arg + n, &end, 16);
    if (*end != '\0' || v > UINT32_MAX)
        return false;
    *ret_value = (unsigned)v;
    return true;
}

static bool block_signals(void)
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

int main(int argc, char **argv)
{
    if (argc < 3 || !hex_after(argv[1], "--fds=", &runner.fds) || !hex_after(argv[2], "--off=", &runner.off))
        return usage();
    if (argc > 4 && strcmp(argv[3], "--") == 0)
        runner.warm = argv + 4;
    if ((runner.fds & 1U << RUNNER_FD_CONTROL) == 0 || getpid() != 1)
        return usage();
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || !block_signals())
        return 71;
    runner.channel.fd = RUNNER_FD_CONTROL;
    runner_run(&runner);
}
