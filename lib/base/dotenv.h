/* SPDX-License-Identifier: Apache-2.0 */
/* .env files: NAME=value a line. Blank lines and # comments; `export ` before the name; 'literal' and "with
   \n \t \r \\ \" \$" quotes, closed on their line; without quotes the value ends before " #" and is trimmed.
   Nothing is expanded: $ is a dollar. A name given twice is an error. */
#ifndef MILLRACE_BASE_DOTENV_H
#define MILLRACE_BASE_DOTENV_H

#include "base/buf.h"

/* Called for each line that sets something; `value` is valid until it returns. */
typedef void (*dotenv_cb)(void *arg, unsigned line, struct str name, struct str value);

/* ERR_INVALID with the line and the reason; what came before it was told. */
MUST_CHECK enum err dotenv_parse(struct str text, dotenv_cb cb, void *arg, struct errinfo *info);

#endif
