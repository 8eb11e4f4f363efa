/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/canary.h"
#include "worker/runner/canary.h"
#include "worker/runner/contained.h"
#include "worker/runner/runner_main.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int usage(void)
{
    fputs(
        "millrace-runner is PID 1 of a pod and is started by its maker: millrace-runner --fds=HEX --off=HEX "
        "[--warm=NAME], in a container millrace-runner --listen=PORT --token=SHA256 [--warm=NAME] [--needs=FILE ...]\n",
        stderr);
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

int main(int argc, char **argv)
{
    struct runner_start start = {.warm = NULL};
    if (argc > 1 && strncmp(argv[1], "--listen=", 9) == 0)
        return contained_main(argc, argv);
    if (argc == 2 && strncmp(argv[1], CANARY_OPTION, sizeof CANARY_OPTION - 1) == 0)
        return canary_main(argv[1] + sizeof CANARY_OPTION - 1);
    if (argc < 3 || !hex_after(argv[1], "--fds=", &start.fds) || !hex_after(argv[2], "--off=", &start.off))
        return usage();
    if (argc > 3 &&
        (strncmp(argv[3], "--warm=", 7) != 0 || (start.warm = launcher_named(argv[3] + 7)) == NULL))
        return usage();
    if (getpid() != 1)
        return usage();
    return runner_main(&start);
}
