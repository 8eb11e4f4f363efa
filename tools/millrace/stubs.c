/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/cli.h"
#define S(f) int f(const struct cli *cli) { (void)cli; return EXIT_CANNOT; }
S(cmd_run) S(cmd_submit) S(cmd_tail) S(cmd_cancel) S(cmd_jobs) S(cmd_bench) S(cmd_config)
