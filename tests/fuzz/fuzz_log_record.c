/* SPDX-License-Identifier: Apache-2.0 */
/* What comes out of an object store: no crash, no more room than a block needs, and what was told once is told again
   whatever the pieces are. */
#include "fuzz.h"
#include "queue/log_record.h"

#include <string.h>

struct told {
    unsigned heads, events;
    size_t bytes;
    enum record_step end;
};

static struct told read_all(struct str bytes, size_t piece)
{
    struct record_reader r;
    struct told told = {.end = RECORD_MORE};
    record_reader_init(&r);
    while (bytes.n && told.end == RECORD_MORE) {
        size_t n = bytes.n < piece ? bytes.n : piece;
        struct record_entry entry;
        struct event event;
        struct id job = {""};
        record_feed(&r, (struct str){bytes.p, n});
        bytes = (struct str){bytes.p + n, bytes.n - n};
        while ((told.end = record_next(&r, &entry)) == RECORD_TOLD || told.end == RECORD_EVENT) {
            told.heads += told.end == RECORD_TOLD;
            told.events += told.end == RECORD_EVENT;
            if (told.end == RECORD_EVENT && record_event(&entry, job, &event) == ERR_OK)
                told.bytes += event.bytes.n;
        }
        MUST(told.end != RECORD_BAD || r.why);
    }
    record_reader_free(&r);
    return told;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = {.p = (const char *)data, .n = size};
    struct told whole = read_all(bytes, size ? size : 1), pieces = read_all(bytes, 13);
    MUST(whole.heads == pieces.heads && whole.events == pieces.events && whole.bytes == pieces.bytes);
    MUST(whole.heads <= 1);
    return 0;
}
