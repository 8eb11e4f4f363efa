/* SPDX-License-Identifier: Apache-2.0 */
/* What decodes, encodes to the same text; what encodes, decodes to the same bytes. */
#include "base/base64.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {.p = (const char *)data, .n = size};
    auto_buf bytes = BUF_INIT(SIZE_MAX / 2);
    auto_buf text = BUF_INIT(SIZE_MAX / 2);
    auto_buf back = BUF_INIT(SIZE_MAX / 2);
    if (base64_decode(&bytes, in) == ERR_OK) {
        base64_encode(&text, buf_str(&bytes));
        MUST(str_eq(buf_str(&text), in));
    }
    buf_reset(&text);
    base64_encode(&text, in);
    MUST(base64_decode(&back, buf_str(&text)) == ERR_OK);
    MUST(str_eq(buf_str(&back), in));
    return 0;
}
