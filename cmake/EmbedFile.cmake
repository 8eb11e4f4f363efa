# SPDX-License-Identifier: Apache-2.0
file(READ ${INPUT} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
file(WRITE ${OUTPUT}
  "#include <stddef.h>\nextern const char ${SYMBOL}[];\nextern const size_t ${SYMBOL}_len;\n"
  "const char ${SYMBOL}[] = {${bytes}0};\nconst size_t ${SYMBOL}_len = sizeof ${SYMBOL} - 1;\n")
