# SPDX-License-Identifier: Apache-2.0
# cmake -DINTO=file -DFROM=file -DOUTPUT=file -P Insert.cmake: the line "# INSERT <name of FROM>" becomes FROM.
file(READ ${INTO} text)
file(READ ${FROM} part)
get_filename_component(name ${FROM} NAME)
string(FIND "${text}" "# INSERT ${name}\n" at)
if(at EQUAL -1)
  message(FATAL_ERROR "${INTO} has no line '# INSERT ${name}'")
endif()
string(REPLACE "# INSERT ${name}\n" "${part}" text "${text}")
file(WRITE ${OUTPUT} "${text}")
