/* SPDX-License-Identifier: Apache-2.0 */
/* A warm node (node/launcher.js), for the runner, which has the script inside it. */
#ifndef MILLRACE_WORKER_TEMPLATES_LAUNCHER_H
#define MILLRACE_WORKER_TEMPLATES_LAUNCHER_H

/* How a warm node is started: the launcher is its descriptor 5, the go socket its descriptor 3, neither
 * close-on-exec. */
#define LAUNCHER_NODE_ARGV "/usr/bin/node", "--preserve-symlinks-main", "/proc/self/fd/5"

/* Put the launcher at descriptor 5. 0 or a negative errno. */
int launcher_node_place(void);

#endif
