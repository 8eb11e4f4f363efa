/* SPDX-License-Identifier: Apache-2.0 */
/* Execution profiles (CONTRACT 5.1): what a client expects of this service, and what it is. Pure. */
#ifndef MILLRACE_API_PROFILE_H
#define MILLRACE_API_PROFILE_H

#include "base/buf.h"
#include "schema/config.h"

enum profile_fit { PROFILE_FITS, PROFILE_UNKNOWN, PROFILE_OTHER };

/* `expected`: the header X-CodeAPI-Expected-Profile, {NULL, 0} when absent, of which there were `count`. */
enum profile_fit profile_check(enum config_execution_profile mine, struct str expected, unsigned count);
/* What the answer says that we are: "default" or "stateful". */
const char *profile_name(enum config_execution_profile mine, struct str expected);

#endif
