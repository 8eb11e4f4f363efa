/* SPDX-License-Identifier: Apache-2.0 */
#include "api/sse_text.h"

void sse_write(const struct event *event, struct buf *out)
{
    buf_printf(out, "id: %s\ndata: ", event->id);
    event_write_json(event, out); /* one line: JSON escapes line ends */
    buf_append_cstr(out, "\n\n");
}

bool sse_wanted(struct str accept)
{
    struct str rest = accept;
    while (rest.p != NULL) {
        struct str item = str_split(&rest, ',');
        if (str_eq_nocase(str_trim(str_split(&item, ';')), STR("text/event-stream")))
            return true;
    }
    return false;
}
