/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/cli.h"
int cmd_bench(const struct cli *cli) { (void)cli; return EXIT_CANNOT; }
