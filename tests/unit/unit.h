/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka and the headers it forgets to include. */
#ifndef MILLRACE_TESTS_UNIT_H
#define MILLRACE_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
