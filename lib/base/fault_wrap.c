/* SPDX-License-Identifier: Apache-2.0 */
/* The wrappers of fault.h, for programs that are linked with them. All arguments are passed on as registers hold them, which is
   right for integers and pointers on x86-64 and arm64, variable arguments included: at most seven (syscall). */
#include "base/fault.h"

#ifdef MILLRACE_TEST_BUILD
/* NOLINTBEGIN(bugprone-reserved-identifier): the names are the linker's */
#define ARGUMENTS long a, long b, long c, long d, long e, long f, long g
#define F(name, failure)                                                                                     \
    long __real_##name(ARGUMENTS);                                                                           \
    long __wrap_##name(ARGUMENTS);                                                                           \
    long __wrap_##name(ARGUMENTS)                                                                            \
    {                                                                                                        \
        return fault_strikes(#name, __builtin_return_address(0)) ? (failure)                                 \
                                                                 : __real_##name(a, b, c, d, e, f, g);       \
    }
#include "base/fault.def"
#undef F
/* NOLINTEND(bugprone-reserved-identifier) */
#endif
