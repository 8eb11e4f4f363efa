/* SPDX-License-Identifier: Apache-2.0 */
/* The same answer, body and length whole and byte by byte. */
#include "fuzz.h"
#include "io/http/chunked.h"

static enum err decode(struct str in, size_t step, struct buf *out, size_t *ret_taken)
{
    struct chunked c = {0};
    enum err e = ERR_AGAIN;
    size_t at = 0;
    while (e == ERR_AGAIN && at < in.n) {
        size_t used = 0, piece = step < in.n - at ? step : in.n - at;
        e = chunked_decode(&c, (struct str){.p = in.p + at, .n = piece}, out, &used);
        MUST(used <= piece && (e != ERR_AGAIN || used == piece));
        at += used;
    }
    *ret_taken = at;
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {.p = (const char *)data, .n = size};
    auto_buf whole = BUF_INIT(1 << 20);
    auto_buf bytes = BUF_INIT(1 << 20);
    size_t taken_whole = 0, taken_bytes = 0;
    enum err first = decode(in, SIZE_MAX, &whole, &taken_whole), second = decode(in, 1, &bytes, &taken_bytes);
    MUST(first == second);
    if (first == ERR_OK)
        MUST(taken_whole == taken_bytes && str_eq(buf_str(&whole), buf_str(&bytes)));
    return 0;
}
