/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a template and a warm node. The scripts and the fork library are inside the program that links
   millrace-templates, and handed over as sealed memfds: there is no path to find or to overwrite. */
#ifndef MILLRACE_WORKER_TEMPLATES_TEMPLATE_EXEC_H
#define MILLRACE_WORKER_TEMPLATES_TEMPLATE_EXEC_H

#include <stddef.h>

/* Become the Python template: for a forked child that already is what the template shall be (namespaces, ids,
   no capabilities, no groups). Descriptor 3 is the control socket, 0-2 as given; all others are closed. `set`
   is a package set: "bare". Returns only on failure: a negative errno. */
int template_exec_python(const char *set);

/* A warm node, in two steps, for a child of the runner. Its descriptor 3 is the go socket, and neither that
   nor descriptor 4 may be close-on-exec in the end. First put the launcher at descriptor 4 (0 or a negative
   errno), before seccomp; then, locked down, `launcher_node_exec(source_dir)`, which returns only on failure.
   The environment is a fixed one until the program's own is known. */
int launcher_node_place(void);
int launcher_node_exec(const char *source_dir);

#endif
