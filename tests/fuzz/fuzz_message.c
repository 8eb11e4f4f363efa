/* SPDX-License-Identifier: Apache-2.0 */
/* A message of the store is taken whole or refused; what it carries lies inside it. */
#include "fuzz.h"
#include "queue/consumer.h"
#include "queue/state.h"

static bool inside(struct str part, const uint8_t *data, size_t size)
{
    const char *from = (const char *)data;
    return part.n == 0 || (part.p >= from && part.p + part.n <= from + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct message m;
    struct str payload = {.p = (const char *)data, .n = size};
    struct handed h;
    if (handed_parse(payload, &h) == ERR_OK) {
        MUST(id_valid(str_of(h.job.text)) && inside(h.class_name, data, size) && inside(h.entry, data, size));
        for (size_t i = 0; i < h.answer.count; i++)
            MUST(inside(h.values[i].text, data, size));
        struct state_view view;
        if (state_given(&h.answer, &view))
            MUST(inside(view.blob, data, size) && (!view.found || inside(view.of.seal, data, size)));
    }
    if (message_parse(payload, &m) != ERR_OK)
        return 0;
    MUST(id_valid(str_of(m.job.text)) && m.count <= MESSAGE_EVENTS);
    for (size_t i = 0; i < m.count; i++) {
        uint64_t ms, n;
        MUST(m.events[i].type < EV_COUNT && event_id_parse(str_of(m.events[i].id), &ms, &n) == ERR_OK);
        MUST(inside(m.events[i].data, data, size) && inside(m.events[i].bytes, data, size));
    }
    return 0;
}
