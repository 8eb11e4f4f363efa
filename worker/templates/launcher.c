/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/templates/launcher.h"

#include "worker/templates/sealed.h"

extern const char launcher_node_js[];
extern const size_t launcher_node_js_len;

int launcher_node_place(void)
{
    enum { LAUNCHER_FD = 5 };
    return sealed_place("launcher.js", launcher_node_js, launcher_node_js_len, LAUNCHER_FD);
}
