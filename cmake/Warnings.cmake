# SPDX-License-Identifier: Apache-2.0
# Warnings are errors for our own code; hardening for the release build (HARDENING 1.5).
# Flags that a compiler refuses are probed, not assumed.
include(CheckCCompilerFlag)

add_compile_options(
  -Wall -Wextra -Werror -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual
  -Wwrite-strings -Wformat=2 -Wswitch-enum -Wvla -Wundef -Wimplicit-fallthrough)
add_compile_definitions(_GNU_SOURCE)

function(millrace_add_flags_if_supported)
  foreach(flag ${ARGN})
    string(MAKE_C_IDENTIFIER "HAVE${flag}" have)
    check_c_compiler_flag("${flag}" ${have})
    if(${have})
      add_compile_options(${flag})
    endif()
  endforeach()
endfunction()

if(CMAKE_BUILD_TYPE STREQUAL "Release")
  millrace_add_flags_if_supported(
    -Wtrampolines -Wbidi-chars=any -fstack-protector-strong -fstack-clash-protection
    -fcf-protection=full -ftrivial-auto-var-init=zero -fno-delete-null-pointer-checks
    -fno-strict-overflow -fno-strict-aliasing -fPIE)
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
  add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed)
endif()
