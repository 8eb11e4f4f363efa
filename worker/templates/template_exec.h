/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a template. The script and the fork library are inside the program that links
   millrace-templates, and handed over as sealed memfds: there is no path to find or to overwrite. */
#ifndef MILLRACE_WORKER_TEMPLATES_TEMPLATE_EXEC_H
#define MILLRACE_WORKER_TEMPLATES_TEMPLATE_EXEC_H

#include <stddef.h>

/* Become the Python template: for a forked child that already is what the template shall be (namespaces, ids,
   no capabilities, no groups). Descriptor 3 is the control socket, 0-2 as given; all others are closed. `set`
   is a package set: "bare". Returns only on failure: a negative errno. */
int template_exec_python(const char *set);

#endif
