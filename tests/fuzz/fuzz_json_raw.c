/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes: views stay inside. What json_parse() accepts: every item is a document, and there are as many as it says. */
#include "fuzz.h"
#include "json/json.h"
#include "json/raw.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {.p = (const char *)data, .n = size}, rest = text, item;
    size_t count = 0;
    while (json_raw_next(&rest, &item)) {
        MUST(item.p >= text.p && item.p + item.n <= text.p + size);
        count++;
    }
    struct str member = json_raw_member(text, "a");
    MUST(member.p == NULL || (member.p >= text.p && member.p + member.n <= text.p + size));
    auto_json whole = NULL;
    if (json_parse(text, &whole, NULL) != ERR_OK)
        return 0;
    if (json_is_array(whole)) {
        MUST(count == json_array_size(whole));
        rest = text;
        while (json_raw_next(&rest, &item)) {
            auto_json one = NULL;
            MUST(json_parse(item, &one, NULL) == ERR_OK);
        }
    }
    if (json_is_object(whole) && member.p != NULL) {
        auto_json one = NULL;
        MUST(json_parse(member, &one, NULL) == ERR_OK && json_equal(one, json_object_get(whole, "a")));
    }
    return 0;
}
