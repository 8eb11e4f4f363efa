/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod may send: frames are views into the input, one behind the other, and encode to the bytes that they were. */
#include "fuzz.h"
#include "worker/frame.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = {.p = (const char *)data, .n = size};
    struct frame f;
    size_t used = 0;
    while (frame_take(rest, &f, &used) == ERR_OK) {
        MUST(used == FRAME_HEADER_SIZE + f.payload.n && used <= rest.n);
        MUST(f.payload.n <= FRAME_PAYLOAD_MAX && f.payload.p == rest.p + FRAME_HEADER_SIZE);
        auto_buf again = BUF_INIT(FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX);
        frame_append(&again, (enum frame_type)f.type, f.payload.p, f.payload.n);
        MUST(again.len == used && memcmp(again.data, rest.p, used) == 0);
        struct frame_exit e;
        uint8_t bytes[FRAME_EXIT_SIZE];
        if (frame_get_exit(f.payload, &e) == ERR_OK) {
            frame_put_exit(bytes, &e);
            MUST(memcmp(bytes, f.payload.p, sizeof bytes) == 0);
        }
        rest = (struct str){.p = rest.p + used, .n = rest.n - used};
    }
    return 0;
}
