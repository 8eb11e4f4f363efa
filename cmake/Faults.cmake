# SPDX-License-Identifier: Apache-2.0
# millrace_faults(TARGET): in a test build, what TARGET calls of lib/base/fault.def can be made to fail (lib/base/fault.h).
file(STRINGS ${CMAKE_SOURCE_DIR}/lib/base/fault.def rows REGEX "^F\\(")
foreach(row IN LISTS rows)
  string(REGEX REPLACE "^F\\(([^,]+),.*" "-Wl,--wrap=\\1" row ${row})
  list(APPEND fault_options ${row})
endforeach()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/lib/base/fault.def)

function(millrace_faults target)
  if(MILLRACE_TEST_BUILD)
    target_link_options(${target} PRIVATE ${fault_options})
  endif()
endfunction()
