/* SPDX-License-Identifier: Apache-2.0 */
/* Ids (DECISIONS 1): 21 characters of [A-Za-z0-9_-]; ours begin and end alphanumeric. An id's hash gives its
   partition, so ids are drawn until they land in the wanted one. */
#ifndef MILLRACE_BASE_ID_H
#define MILLRACE_BASE_ID_H

#include "base/str.h"

#define ID_LEN 21

struct id {
    char text[ID_LEN + 1]; /* NUL-terminated; "" is "no id" */
};

bool id_valid(struct str s);                                   /* 21 of [A-Za-z0-9_-] */
MUST_CHECK enum err id_parse(struct str s, struct id *ret_id); /* ERR_INVALID */
/* FNV-1a 64 of the text modulo `partitions` (>= 1). Fixed for ever: stored keys depend on it. */
unsigned id_partition(struct str id, unsigned partitions);
/* A fresh random id (getrandom). Aborts if the kernel has no randomness. */
struct id id_new(void);
struct id id_new_in(unsigned partition, unsigned partitions);

#endif
