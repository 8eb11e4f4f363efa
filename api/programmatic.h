/* SPDX-License-Identifier: Apache-2.0 */
/* A programmatic run (CONTRACT 4): a client's code with its tools becomes a program whose tools are functions. Pure. */
#ifndef MILLRACE_API_PROGRAMMATIC_H
#define MILLRACE_API_PROGRAMMATIC_H

#include "api/fault.h"
#include "json/json.h"

enum { TOOL_NAME_MAX = 256, TOOLS_MAX = 1024, TOOL_IDENTIFIER_MAX = TOOL_NAME_MAX + 8 };
enum tool_language { TOOLS_PYTHON, TOOLS_BASH };

/* The name of the function for a tool, as the clients tell it to the model. */
void tool_identifier(enum tool_language language, struct str name, char ret_identifier[TOOL_IDENTIFIER_MAX]);

/* Makes the body of the first request one of POST /exec: `lang` and `code` are the program's, other members stay. ERR_INVALID: `fault`
   says why, and the body is of no more use. `max_code`: bytes of the client's own part of the code. */
MUST_CHECK enum err programmatic_body(json_t *body, size_t max_code, struct api_fault *fault);

#endif
