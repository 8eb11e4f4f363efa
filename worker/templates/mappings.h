/* SPDX-License-Identifier: Apache-2.0 */
/* Few mappings, and those of the text shared with their entries: a fork copies a template's mappings one by one, and a child's end
   gives them back one by one. Of a library that the loader mapped in five pieces two are left, the text and the data, as linkers made
   them before they kept code and constants apart. What that gives up protects a process from its own programmer; the programs
   of these processes may do with their memory what they like. Nothing here is needed for a template to work. */
#ifndef MILLRACE_WORKER_TEMPLATES_MAPPINGS_H
#define MILLRACE_WORKER_TEMPLATES_MAPPINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mapping {
    uintptr_t from, to;
    unsigned long offset, file; /* file: its inode; 0: none */
    char access[5];             /* "r-xp" */
    bool common;                /* of the interpreter or the C library: what every program runs */
};

/* Our own, in order. NULL: they cannot be read. */
struct mapping *mappings_read(size_t *ret_n);
void mappings_free(struct mapping *all);

/* After the last library was loaded, before the first fork. */
void mappings_settle(void);

#endif
