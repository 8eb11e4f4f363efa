# SPDX-License-Identifier: Apache-2.0
# ccache where it is installed: a fresh clone then builds in seconds what another one has built before. Paths are made relative
# to the source, so that checkouts at different places share.
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
endif()
add_compile_options(-ffile-prefix-map=${CMAKE_SOURCE_DIR}=.)
