/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte is where the rest is cut in two. What is joined is the same bytes, never half a character
   while more may come; what is sanitized is UTF-8, and unchanged when it was. */
#include "base/utf8.h"
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct str all = {.p = (const char *)data + 1, .n = size - 1};
    size_t cut = data[0] < all.n ? data[0] : all.n;
    struct utf8_carry carry = {0};
    auto_buf joined = BUF_INIT(SIZE_MAX / 2);
    auto_buf clean = BUF_INIT(SIZE_MAX / 2);
    utf8_join(&carry, (struct str){.p = all.p, .n = cut}, &joined);
    MUST(!utf8_valid(all) || utf8_valid(buf_str(&joined)));
    utf8_join(&carry, (struct str){.p = all.p + cut, .n = all.n - cut}, &joined);
    buf_append(&joined, carry.bytes, carry.n);
    MUST(str_eq(buf_str(&joined), all));
    utf8_sanitize(&clean, all);
    MUST(buf_status(&clean) == ERR_OK && utf8_valid(buf_str(&clean)));
    MUST(!utf8_valid(all) || str_eq(buf_str(&clean), all));
    return 0;
}
