/* SPDX-License-Identifier: Apache-2.0 */
/* The text of parts of a document, as it was written: numbers keep their digits. Only for text that json_parse() has accepted
   (anything else gives some view inside of it). A key that is written with escapes is not found. */
#ifndef MILLRACE_JSON_RAW_H
#define MILLRACE_JSON_RAW_H

#include "base/str.h"

/* The value of a member of `object`, without white space around it; {NULL, 0}: it has none, or is no object. */
struct str json_raw_member(struct str object, const char *name);
/* Takes the items of a list one by one: start with its text; false at the end. */
bool json_raw_next(struct str *rest, struct str *ret_item);

#endif
