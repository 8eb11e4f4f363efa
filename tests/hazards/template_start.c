/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of the templates alone: become one. `template_start SET`, descriptor 3 is the control socket.
 */
#include "worker/templates/template_exec.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    int e = argc == 2 ? template_exec_python(argv[1]) : -1;
    fprintf(stderr, "template_start: %s\n", strerror(-e));
    return 1;
}
